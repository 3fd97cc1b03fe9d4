"""One database at a glance: what is said of a journal, and what somebody has to do about it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fix_memory_node import ORIGIN, MemoryNode
from pgkeep.airflow.overview import Fact, at_a_glance, judged
from pgkeep.drill import Drill
from pgkeep.errors import Corrupted, Overdue
from pgkeep.freshness import Concern, Facts
from pgkeep.journal import Head, Journal
from pgkeep.model import Cid, Instant
from pgkeep.testing import MemoryTarget
from unit.test_freshness import facts
from unit.test_retention import judged as judged_by_drills
from unit.test_retention import verdict

START = datetime(2026, 1, 2, tzinfo=UTC)


class World(MemoryNode):
    """A node, and a clock that stands a while after its newest moment."""

    audited: Instant | None = Instant("2026-01-02T03:04:05.000000Z")

    def facts(self, *, later: timedelta = timedelta(minutes=5)) -> dict[str, Fact]:
        newest = max((entry.backup.cut.time for entry in self.journal.entries), default="2026-01-02T03:04:05.000000Z")
        now = datetime.fromisoformat(newest) + later
        return by_topic(known(self.journal, now=now, audited=self.audited))

    def drill(self) -> None:
        Drill(
            source=self.source,
            sealer=self.sealer,
            vault=self.vault,
            target=MemoryTarget(),
            journals=self.journals,
            origin=ORIGIN,
        ).run()


def known(journal: Journal, *, now: datetime, audited: Instant | None) -> Facts:
    return replace(facts(journal, hour=0), head=Head(journal=journal, cid=Cid("it")), now=now, audited=audited)


def by_topic(known: Facts) -> dict[str, Fact]:
    return {fact.topic: fact for fact in at_a_glance(known)}


@pytest.fixture
def world() -> World:
    return World()


def test_before_the_first_backup_there_is_one_thing_to_do(world: World) -> None:
    (only,) = world.facts().values()
    assert (only.topic, only.said) == ("newest", "nothing")
    assert only.next_step.startswith("make one:")


def test_what_was_proven_and_audited_needs_nobody(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.hourly()
    world.drill()
    found = world.facts()
    assert list(found) == ["newest", "proven", "audit", "copies"]
    assert not [fact for fact in found.values() if fact.next_step]
    assert found["newest"].said.endswith(", 5 min ago")
    assert "from entry 2, and the changes up to entry 3" in found["newest"].more
    assert found["proven"].said.startswith("entry 2, ")
    assert found["copies"].said == "3 of 3"


def test_what_nobody_has_proven_or_audited(world: World) -> None:
    world.full()
    world.audited = None
    found = world.facts()
    assert found["proven"].said == "nothing"
    assert "pgkeep drill shop" in found["proven"].next_step
    assert found["audit"].said == "never"
    assert "pgkeep audit shop" in found["audit"].next_step


def test_a_drill_that_failed_is_the_thing_to_do(world: World) -> None:
    world.full()
    world.drill()
    entry = world.full()
    dump = entry.backup.part("dump")
    assert dump
    for peer in world.vault.peers:
        peer.objects[dump.cid] = peer.objects[dump.cid][:-1] + b"!"
    with pytest.raises(Corrupted):
        world.drill()
    found = world.facts()["proven"]
    assert found.said.startswith("entry 2,"), "the one before is still proven"
    assert f"the drill of entry {entry.sequence} failed" in found.next_step


def test_what_is_wrong_with_an_audit_is_said_at_the_audit() -> None:
    lost = Concern(topic="damaged", kind=Corrupted, what="one is lost", next_step="look")
    late = Concern(topic="audit", kind=Overdue, what="it is late", next_step="see why")
    keys = Concern(topic="keys", kind=Overdue, what="one expires", next_step="extend it")
    (fact,), more = judged([Fact(topic="audit", said="2 d ago")], [lost, late, keys])
    assert fact.next_step == "one is lost. Next: look; it is late. Next: see why"
    assert more == ("one expires. Next: extend it",)
    assert judged([Fact(topic="newest", said="nothing")], [lost])[1] == ("one is lost. Next: look",)


def test_a_full_backup_that_is_recorded_late_is_not_the_newest(world: World) -> None:
    world.full()
    world.source.commit(10)
    late = world.run.full()
    world.source.commit(10)
    newest = world.full()
    number = world.run.finish(late).sequence
    assert number > newest.sequence
    drilled = judged_by_drills(world.journal, newest.sequence, number)
    now = datetime.fromisoformat(newest.backup.cut.time)
    found = by_topic(known(drilled, now=now, audited=world.audited))
    assert found["proven"].said.startswith(f"entry {newest.sequence},")
    refuted = replace(drilled, verdicts=(verdict(number, failure="it differs"), verdict(newest.sequence)))
    found = by_topic(known(refuted, now=START, audited=world.audited))
    assert found["proven"].next_step == "", "what was proven since is newer"


def test_a_gap_without_its_full_backup_is_the_thing_to_do(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.hourly()
    world.capture.doubt = "something that cannot be carried"
    world.source.commit(10)
    world.run.hourly()  # the gap is recorded, its full backup is not
    found = world.facts()["newest"]
    assert "the changes up to entry 3" in found.more
    assert "entry 4 is later, but nothing leads to it" in found.next_step


def test_a_clock_that_is_behind_is_said(world: World) -> None:
    world.full()
    assert world.facts(later=-timedelta(hours=1))["newest"].said.endswith("1 h AHEAD of this clock")
