"""The watch as a step, over the doubles: what it tells, what it leaves to others, and what is tried again."""

from types import SimpleNamespace
from typing import cast

import pytest
from airflow.sdk import Context

from in_airflow import steps
from in_airflow.steps import dump
from in_airflow.world import World
from pgkeep import records
from pgkeep.airflow.watch import WatchOperator
from pgkeep.errors import Corrupted
from pgkeep.freshness import Seen
from pgkeep.meter import unwatched

pytestmark = pytest.mark.usefixtures("airflow_database")


@pytest.fixture
def kept(world: World) -> World:
    """One backup; the doubles' source shows a moment long ago."""
    world.settings["newest_hours"] = 1e6
    steps.record(world, steps.replicated(world, dump(world)))
    return world


def watch(world: World, *, attempt: int = 1) -> Seen:
    """That try of five."""
    step = WatchOperator(task_id="watch", database="shop", sites=world.site, retries=4)
    ti = SimpleNamespace(dag_id="pgkeep_shop_watch", run_id="scheduled__1", try_number=attempt, max_tries=4)
    return records.decode(Seen, step.execute(cast(Context, {"ti": ti})))


def test_what_an_audit_left_damaged_is_told_by_the_audit_alone(kept: World) -> None:
    (entry,) = kept.journals.head().journal.entries
    kept.vault.peers[2].worn = True
    kept.vault.peers[2].lose(entry.backup.parts[0].cid)
    with pytest.raises(Corrupted):
        kept.site("shop").audit(share=1.0, patience=0.0, watch=unwatched).run().require_well()
    assert watch(kept).entry == 1
