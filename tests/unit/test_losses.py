"""What an audit has found lost leads nowhere: what can be restored is what is left, and the next hour begins anew."""

import logging
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_memory_node import MemoryNode
from pgkeep import chain, restore
from pgkeep.errors import Corrupted, NotRestorable, Unavailable
from pgkeep.freshness import newest, sight
from pgkeep.losses import bereft, plan_whole, surviving
from pgkeep.model import Cid, Entry
from pgkeep.plan import Point, plan, reachable
from pgkeep.testing import MemoryTarget


class World(MemoryNode):
    """A node whose peers lose things, as its audit finds at once."""

    def lose(self, entry: Entry) -> None:
        cid = entry.backup.parts[0].cid
        for peer in self.vault.peers if cid not in self.lost else ():
            peer.lose(cid)
        lost = (*self.lost, cid)
        self.run = replace(self.run, lost=lambda: lost)

    @property
    def lost(self) -> Collection[Cid]:
        return self.run.lost()

    def change(self) -> Entry:
        self.source.commit(10)
        return self.hourly()

    def rows(self, point: Point) -> int:
        target = MemoryTarget()
        restore.restore(plan_whole(self.journal, point, self.lost), self.sealer, self.vault, target)
        assert target.database
        return target.database.totals.rows


@pytest.fixture
def world() -> World:
    """A full backup, two hours of changes, a full backup at the end of an hour, and an hour more."""
    found = World()
    found.full()
    found.change()
    found.change()
    found.source.commit(10)
    found.full()
    found.change()
    assert [e.backup.kind for e in found.journal.entries] == [
        "gap",
        "full",
        "changes",
        "changes",
        "changes",
        "full",
        "changes",
    ]
    return found


def test_what_is_whole_leads_around_a_lost_full_backup(world: World, caplog: pytest.LogCaptureFixture) -> None:
    all_rows = world.rows(Point())
    last = chain.fulls(world.journal)[-1]
    world.lose(last)
    assert world.rows(Point()) == world.rows(Point(entry=last.sequence)) + 10 == all_rows
    assert f"no whole copy of entry {last.sequence}: the way back goes around it" in caplog.text
    assert newest(surviving(world.journal, world.lost)) == plan_whole(world.journal, Point(), world.lost)


def test_the_newest_moment_is_before_lost_changes(world: World) -> None:
    lost = world.change()
    later = world.change()
    world.lose(lost)
    with pytest.raises(Corrupted):
        restore.restore(plan(world.journal, Point()), world.sealer, world.vault, MemoryTarget())
    head = world.journals.head()
    seen = sight(head, lost=world.lost)
    assert seen.entry == 7
    assert sight(head).entry == later.sequence
    assert plan_whole(world.journal, Point(), world.lost).last.sequence == 7


def test_the_next_hour_makes_a_full_backup_where_nothing_whole_leads_on(world: World) -> None:
    for full in chain.fulls(world.journal):
        world.lose(full)
    world.change()
    assert [entry.backup.kind for entry in world.journal.entries[-2:]] == ["changes", "full"]
    assert world.rows(Point()) == 3 + 5 * 10
    world.change()
    assert world.journal.entries[-1].backup.kind == "changes", "and one is enough"


def test_the_sources_disk_is_spared_before_anybody_is_asked_what_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all peers away the source must not stop for its backup."""
    spared: list[bool] = []
    monkeypatch.setattr(world.capture, "spare_disk", lambda: spared.append(True))
    for peer in world.vault.peers:
        peer.up = False

    def ask() -> Collection[Cid]:
        return [*world.journals.search.listing().where]

    world.run = replace(world.run, lost=ask)
    with pytest.raises(Unavailable):
        world.hourly()
    assert spared == [True]


def test_what_is_lost_altogether_is_tried_all_the_same(world: World, caplog: pytest.LogCaptureFixture) -> None:
    first = chain.fulls(world.journal)[0]
    world.lose(first)
    with pytest.raises(Corrupted):
        world.rows(Point(entry=first.sequence))
    assert f"no whole copy of entry {first.sequence}, and no way leads around it: it is tried" in caplog.text
    assert bereft(world.journal, world.lost) == (first,)


def test_what_was_lost_before_and_is_named_no_more_is_no_news(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert surviving(world.journal, {Cid("bafygone")}) == world.journal
    assert plan_whole(world.journal, Point(), {Cid("bafygone")}) == plan(world.journal, Point())
    assert not caplog.records


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["hour", "full"]), min_size=1, max_size=5), st.data())
def test_every_moment_that_is_left_comes_back_and_no_other(story: list[str], data: st.DataObject) -> None:
    world = World()
    shown = {}
    world.full()
    for step in story:
        world.source.commit(10)
        entry = world.full() if step == "full" else world.hourly()
        shown[entry.sequence] = world.rows(Point(entry=entry.sequence))
    for entry in data.draw(st.lists(st.sampled_from([e for e in world.journal.entries if e.backup.parts]), max_size=4)):
        world.lose(entry)
    left = surviving(world.journal, world.lost)
    moments = reachable(left)
    for entry in world.journal.entries:
        if entry.sequence not in shown:
            continue
        if entry.backup.cut.time in moments:
            way = plan_whole(world.journal, Point(time=entry.backup.cut.time), world.lost)
            assert not {part.cid for step in (way.base, *way.steps) for part in step.backup.parts} & {*world.lost}
            assert world.rows(Point(time=entry.backup.cut.time)) == shown[entry.sequence]
        else:
            with pytest.raises((Corrupted, NotRestorable)):
                world.rows(Point(time=entry.backup.cut.time))
