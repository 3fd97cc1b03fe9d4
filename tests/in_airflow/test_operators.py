"""The steps over the doubles: the way through, what travels, what is waited for and what is given up."""

import json
import time
from typing import Any, cast

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from in_airflow import steps
from in_airflow.steps import check, context, dump, replicate, run
from in_airflow.world import World
from pgkeep import records
from pgkeep.airflow import assets
from pgkeep.airflow.operators import BackupStep
from pgkeep.airflow.triggers import ReplicationTrigger
from pgkeep.errors import Unavailable
from pgkeep.model import Entry, Replicated, Sealed, Stored


def sealed(world: World) -> dict[str, Any]:
    return check(world, dump(world))


def deferred(call: Any, *args: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        call(*args)
    return caught.value


def test_the_way_through(world: World) -> None:
    stored = dump(world)
    ready = steps.replicated(world, stored)
    entry = steps.record(world, ready)
    assert steps.record(world, ready) == entry, "recorded twice is recorded once"
    outlet = assets.backups("shop", "full")
    events = steps.release(world, entry, outlet)
    (journaled,) = world.journals.head().journal.entries
    assert records.decode(Entry, entry) == journaled
    assert world.source.released == [1]
    assert events[outlet].extra == assets.summary(journaled)
    assert json.loads(json.dumps(assets.summary(journaled)))["cids"]["dump"] == stored["backup"]["parts"][0]["cid"]


def test_an_entry_says_which_try_made_it(world: World) -> None:
    backup = records.decode(Stored, dump(world)).backup
    assert backup.origin.by == "airflow:pgkeep_shop_full/manual__1/2"
    assert backup.origin.host


@pytest.mark.parametrize("record", [Sealed, Replicated, Entry])
def test_no_step_takes_the_record_of_another(world: World, record: type) -> None:
    wrong = {**dump(world), records.KIND: record.__name__}
    with pytest.raises(AirflowFailException, match="not a Stored"):
        check(world, wrong)


def test_a_dump_that_dies_is_tried_again_and_leaves_nothing(world: World) -> None:
    world.source.dies_after = 100
    before = set(world.vault.peers[0].pins)
    with pytest.raises(Unavailable):
        dump(world)
    assert set(world.vault.peers[0].pins) == before


def test_an_expired_key_fails_at_once(world: World) -> None:
    world.sealer.expired = frozenset({world.sealer.recipients[0]})
    with pytest.raises(AirflowFailException, match="Next: extend it"):
        dump(world)


def test_a_missing_peer_is_waited_for_without_a_worker(world: World) -> None:
    record, peer = sealed(world), world.vault.peers[2]
    peer.up = False
    step = replicate(world, record)
    waiting = deferred(step.execute, context())
    assert isinstance(waiting.trigger, ReplicationTrigger)
    assert waiting.trigger.serialize()[1]["sealed"] == record
    assert 3500 < waiting.trigger.deadline - time.time() <= 3600
    peer.up = True
    event = {"deadline": waiting.trigger.deadline, "pause": 30.0, "refused": ""}
    replicated = records.decode(Replicated, getattr(step, waiting.method_name)(context(), event))
    assert all(len(copies) == 3 for copies in replicated.holders.values())


def test_still_missing_means_waiting_on_until_the_same_deadline(world: World) -> None:
    step = replicate(world, sealed(world))
    world.vault.peers[1].up = False
    event = {"deadline": time.time() + 100.0, "pause": 60.0, "refused": ""}
    trigger = cast(ReplicationTrigger, deferred(step.go_on, context(), event).trigger)
    assert (trigger.deadline, trigger.pause) == (event["deadline"], 60.0)


def test_everybody_silent_is_waited_for_as_well(world: World) -> None:
    step = replicate(world, sealed(world))
    for peer in world.vault.peers:
        peer.up = False
    assert isinstance(deferred(step.execute, context()).trigger, ReplicationTrigger)


def test_after_the_deadline_it_fails_with_who_holds_what_and_a_cleared_task_goes_on(world: World) -> None:
    step, carol = replicate(world, sealed(world)), world.vault.peers[2]
    run(step)
    good, carol.objects = carol.objects, dict.fromkeys(carol.objects, b"other bytes")
    over = {"deadline": time.time() - 1.0, "pause": 60.0, "refused": ""}
    with pytest.raises(AirflowFailException) as failed:
        step.go_on(context(), over)
    assert "carol: does not give it whole" in str(failed.value)
    assert "alice: read back" in str(failed.value)
    carol.objects = good
    assert records.decode(Replicated, run(step)).copies == 3


def test_a_triggerer_that_cannot_look_is_said_and_the_worker_looks(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    event = {"deadline": time.time() + 100.0, "pause": 60.0, "refused": "PGKEEP_CONFIG is not set"}
    assert replicate(world, sealed(world)).go_on(context(), event)[records.KIND] == "Replicated"
    assert "PGKEEP_CONFIG is not set" in caplog.text


def test_the_log_says_which_peers_hold_what(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(replicate(world, sealed(world)))
    assert "all of it: alice (read back), bob (read back), carol (read back)" in caplog.messages[-1]


def test_a_database_may_be_called_like_a_template(world: World) -> None:
    assert all("database" not in step.template_fields for step in BackupStep.__subclasses__())
