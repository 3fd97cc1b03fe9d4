"""The watch as a step, over the doubles: what it tells, what it leaves to others, and what is tried again."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from in_airflow import steps
from in_airflow.steps import dump
from in_airflow.world import World
from pgkeep import records
from pgkeep.airflow.journal_memory import SEEN
from pgkeep.airflow.variables import store
from pgkeep.airflow.watch import WatchOperator
from pgkeep.errors import Corrupted, NotReplicated
from pgkeep.freshness import Seen
from pgkeep.meter import unwatched

pytestmark = pytest.mark.usefixtures("airflow_database")


@pytest.fixture
def kept(world: World) -> Iterator[World]:
    """One backup; the doubles' source shows a moment long ago. What was seen of another journal is forgotten."""
    store().delete(f"{SEEN}shop")
    world.settings["newest_hours"] = 1e6
    steps.record(world, steps.replicated(world, dump(world)))
    yield world
    store().delete(f"{SEEN}shop")


def watch(world: World, *, attempt: int = 1) -> Seen:
    """That try of five."""
    step = WatchOperator(task_id="watch", database="shop", sites=world.site, retries=4)
    ti = SimpleNamespace(dag_id="pgkeep_shop_watch", run_id="scheduled__1", try_number=attempt, max_tries=4)
    return records.decode(Seen, step.execute(cast(Context, {"ti": ti})))


def test_what_an_audit_left_damaged_is_told_by_the_audit_alone(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    (entry,) = kept.journals.head().journal.entries
    kept.vault.peers[2].worn = True
    kept.vault.peers[2].lose(entry.backup.parts[0].cid)
    with pytest.raises(Corrupted):
        kept.site("shop").audit(share=1.0, patience=0.0, watch=unwatched).run().require_well()
    assert watch(kept).entry == 1
    assert "its copy at carol is damaged, and could not be repaired (told by the audit's own run)" in caplog.text


def test_a_peer_that_is_away_for_a_minute_is_not_told_beside_other_trouble(kept: World) -> None:
    kept.settings["newest_hours"] = 1.0
    kept.vault.peers[2].up = False
    for attempt in (1, 4):
        with pytest.raises(NotReplicated, match=r"the newest moment .* has 2 copies instead of 3"):
            watch(kept, attempt=attempt)
    with pytest.raises(AirflowFailException, match=r"the newest moment .* has 2 copies instead of 3"):
        watch(kept, attempt=5)
    kept.vault.peers[2].up = True
    with pytest.raises(AirflowFailException) as caught:
        watch(kept, attempt=2)
    assert "copies" not in str(caught.value)


def test_copies_that_stay_missing_are_told_in_the_end(kept: World) -> None:
    kept.vault.peers[2].up = False
    for attempt in (1, 5):
        with pytest.raises(NotReplicated):
            watch(kept, attempt=attempt)
