"""Drills and retention as tasks, over the doubles: what they hand on, what they log, and what they fail at."""

from dataclasses import replace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from in_airflow.steps import collect, context, record, replicated, run
from in_airflow.world import World
from pgkeep import records
from pgkeep.airflow.proving import DrillOperator, RetireOperator
from pgkeep.errors import Unavailable
from pgkeep.model import Verdict
from pgkeep.testing import NODE, MemoryCapture


@pytest.fixture
def kept(world: World) -> World:
    """A database with three full backups, each after an hour of changes."""
    world.capture = MemoryCapture(world.source)
    for _ in range(3):
        world.source.commit(10)
        record(world, replicated(world, collect(world)))
        world.capture.slot = None
    return world


def drill(world: World) -> DrillOperator:
    return DrillOperator(task_id="drill", database="shop", sites=world.site)


def retire(world: World) -> RetireOperator:
    return RetireOperator(task_id="retire", database="shop", sites=world.site)


def test_a_drill_hands_on_its_verdict(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    verdict = records.decode(Verdict, run(drill(kept)))
    assert kept.journals.head().journal.verdicts == (verdict,)
    assert verdict.origin.by == "airflow:pgkeep_shop_full/manual__1/2"
    assert "shop: entry 6 is proven, read from" in caplog.text


def test_a_bad_verdict_fails_at_once_and_is_in_the_journal(kept: World) -> None:
    kept.scratch.loses_rows = 1
    with pytest.raises(AirflowFailException, match="came back different"):
        drill(kept).execute(context())
    assert not kept.journals.head().journal.verdicts[-1].proven


def test_a_worker_without_the_key_fails_at_once(kept: World) -> None:
    kept.sealer.holds = frozenset({NODE})
    with pytest.raises(AirflowFailException, match="no private key"):
        drill(kept).execute(context())


def test_without_a_scratch_server_it_says_what_to_write(kept: World) -> None:
    site = replace(kept.site("shop"), scratch=None)
    step = DrillOperator(task_id="drill", database="shop", sites=lambda _: site)
    with pytest.raises(AirflowFailException, match=r"shop restore\. Next: write .* pgkeep drill shop --into URL"):
        step.execute(context())


def test_peers_that_do_not_answer_are_asked_again(kept: World) -> None:
    for peer in kept.vault.peers:
        peer.up = False
    with pytest.raises(Unavailable):
        drill(kept).execute(context())


def test_nothing_goes_before_a_drill(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert retire(kept).execute(context()) == []
    assert "only 0 of 1 full backups are proven" in caplog.text


def test_the_plan_and_its_reasons_are_in_the_log(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(drill(kept))
    assert retire(kept).execute(context()) == [1, 2, 3, 4]
    assert [entry.sequence for entry in kept.journals.head().journal.entries] == [5, 6]
    assert "no rule keeps it" in caplog.text
    assert "4 entries (" in caplog.text


def test_a_peer_that_takes_no_pin_away_is_a_warning(
    kept: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgkeep.retirement.PATIENCE", 0.0)
    run(drill(kept))
    kept.vault.peers[2].keeps = True
    retire(kept).execute(context())
    (warned,) = [line for line in caplog.records if line.levelname == "WARNING" and "not let go of yet" in line.message]
    assert "still pinned at carol" in warned.message
