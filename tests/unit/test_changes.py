"""How changes are carried on, over the doubles: every window once, gaps said, full backups at the links' ends."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_memory_node import MemoryNode
from pgkeep import backup, chain, restore
from pgkeep.errors import ConfigError, Corrupted, JournalMovedOn, NotReplicated, NotRestorable, Unavailable
from pgkeep.model import Covered, Entry, Instant, Stored
from pgkeep.plan import Point, plan
from pgkeep.testing import MemoryFresh, MemoryTarget, sample_position


class World(MemoryNode):
    """A node, and what its journal brings back."""

    @property
    def kinds(self) -> list[str]:
        return [entry.backup.kind for entry in self.journal.entries]

    def rows(self, point: Point) -> int:
        """The rows that come back there."""
        target = MemoryTarget()
        restore.restore(plan(self.journal, point), self.sealer, self.vault, target)
        assert target.database
        return target.database.totals.rows


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_run_begins_the_chain_and_makes_a_full_backup(world: World) -> None:
    assert world.hourly().backup.kind == "full"
    assert world.kinds == ["gap", "full"]
    first, full = world.journal.entries
    assert first.backup.cut == full.backup.cut
    assert chain.link_of(first).since is None
    assert world.rows(Point()) == 3


def test_a_full_backup_looks_again_if_its_moment_was_spoilt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "PAUSES", (0.0, 0.0))
    world.source.disturbances = 1
    world.full()
    world.source.commit(10)
    world.source.disturbances = 2
    world.full()
    assert world.kinds == ["gap", "full", "changes", "full"]
    assert world.rows(Point()) == 13


def test_only_the_chains_end_keeps_where_the_source_stood(world: World) -> None:
    world.full()
    world.source.commit(10)
    late = world.hourly()
    world.full()
    kept = [entry.backup.link.position is not None for entry in world.journal.entries if entry.backup.link]
    assert kept == [False, False, True]
    assert world.journal.recorded(late.backup) is not None, "and yet it is known as what it was"


def test_changes_bring_the_database_to_any_transaction(world: World) -> None:
    world.full()
    xids = [world.source.commit(10), world.source.commit(100)]
    world.hourly()
    world.source.commit(1000)
    world.hourly()
    assert world.kinds == ["gap", "full", "changes", "changes"]
    assert world.rows(Point()) == 1113
    assert [world.rows(Point(xid=xid)) for xid in xids] == [13, 113]
    # The second and the third were committed at the very moment of a cut, which shows them.
    assert [world.rows(Point(time=done.time)) for done in world.source.history] == [3, 113, 1113]


def test_within_an_entry_that_carries_tables_whole_both_its_ends_are_named(world: World) -> None:
    world.full()
    xid = world.source.commit(10)
    entry = world.hourly()
    way = plan(world.journal, Point(xid=xid))
    (step,) = way.steps
    stale = replace(step, backup=replace(step.backup, link=replace(chain.link_of(step), stale=("public.stage",))))
    with pytest.raises(NotRestorable, match="cannot be brought to that very moment") as error:
        restore.require_exact(replace(way, steps=(stale,)), stale=False)
    before = world.journal.entry(2).backup.cut.time
    assert error.value.next_step == (
        f"accept them as of {before} with `stale`, or restore all of it to that moment: `entry 2`, "
        f"or to {entry.backup.cut.time}: `entry 3`"
    )


def test_changes_that_a_target_refuses_are_named_with_the_ways_around_them(world: World) -> None:
    world.full()
    world.source.commit(10)
    first = world.hourly()
    world.source.commit(10)
    world.hourly()
    target = MemoryTarget(refuses="psql ended with exit code 3: line 14: type box3d does not exist")
    way = plan(world.journal, Point())
    with pytest.raises(NotRestorable, match="the changes of entry 3 cannot be applied: psql ended") as error:
        restore.restore(way, world.sealer, world.vault, target)
    part = first.backup.part("changes")
    assert part
    assert f"the moment before these changes, {way.base.backup.cut.time}" in error.value.next_step
    assert "`entry N` for its own moment, `pgkeep restore shop --base N`" in error.value.next_step
    assert f"pgkeep fetch {part.cid}" in error.value.next_step
    assert target.database is None
    with pytest.raises(NotRestorable, match="the changes of entry 4") as error:
        restore.apply(way.steps[1], way, MemoryFresh(target, world.source.holding), world.sealer, world.vault)
    assert f"these changes, {first.backup.cut.time}" in error.value.next_step


def test_a_quiet_hour_stores_nothing(world: World) -> None:
    world.full()
    before = {cid for peer in world.vault.peers for cid in peer.objects}
    stored = world.run.hourly()
    assert isinstance(stored, Stored)
    assert {cid for peer in world.vault.peers for cid in peer.objects} == before
    entry = world.run.finish(stored)
    assert entry.backup.parts == ()
    assert world.rows(Point(entry=entry.sequence)) == 3


def test_what_an_entry_shows_already_is_not_done_again(world: World) -> None:
    world.full()
    world.source.commit(1)
    entry = world.hourly()
    assert world.run.hourly(until=entry.backup.cut.time) == Covered(entry=entry)
    assert isinstance(world.run.hourly(until=Instant("2030-01-01T00:00:00.000000Z")), Stored)


def test_what_cannot_be_carried_exactly_is_a_gap_and_a_full_backup_of_the_same_moment(world: World) -> None:
    world.full()
    xid = world.source.commit(10)
    world.capture.doubt = "public.document was rewritten"
    entry = world.hourly()
    world.capture.doubt = None
    assert world.kinds == ["gap", "full", "gap", "full"]
    gap = world.journal.entry(3)
    assert chain.link_of(gap).gap == "public.document was rewritten"
    assert gap.backup.cut == entry.backup.cut
    assert world.rows(Point()) == 13
    with pytest.raises(NotRestorable, match="was rewritten"):
        world.rows(Point(xid=xid))
    world.source.commit(5)
    world.hourly()
    assert world.rows(Point()) == 18


def test_a_lost_slot_begins_the_chain_anew(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.capture.slot = None
    assert world.hourly().backup.kind == "full"
    assert world.kinds == ["gap", "full", "gap", "full"]
    assert chain.link_of(world.journal.entry(3)).gap == "the slot is lost"
    assert world.rows(Point()) == 13


def test_a_full_backup_that_cannot_be_made_is_not_announced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.full()
    world.capture.slot = None
    world.capture.refuses = "somebody has made a publication of that name"
    with pytest.raises(ConfigError, match="a publication of that name"):
        world.hourly()
    assert "a full backup is made now" not in caplog.text
    world.capture.refuses = None
    world.hourly()
    assert "the slot is lost; a full backup is made now" in caplog.text


def test_a_full_backup_closes_the_chain_first_and_both_ways_meet(world: World) -> None:
    first = world.full()
    world.source.commit(10)
    world.full()
    assert world.kinds == ["gap", "full", "changes", "full"]
    way = plan(world.journal, Point(entry=3))
    assert (way.base.sequence, way.steps) == (4, ())
    longer = replace(way, base=first, steps=(world.journal.entry(3),))
    target = MemoryTarget()
    restore.restore(longer, world.sealer, world.vault, target)
    assert target.database
    assert target.database.totals.rows == 13


def test_without_its_log_a_full_backup_stands_by_itself(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.full()
    world.source.commit(10)
    world.capture.log_missing = "nothing is mounted there"
    world.full()
    assert "stands by itself, and the changes wait: nothing is mounted there. Next: mount it" in caplog.text
    world.capture.log_missing = None
    world.full()
    assert world.kinds == ["gap", "full", "full", "changes", "full"]
    assert world.rows(Point(entry=3)) == 13


def test_changes_go_on_while_a_long_full_backup_is_made(world: World) -> None:
    world.full()
    world.source.commit(10)
    slow = world.run.full()
    world.source.commit(100)
    world.hourly()
    world.run.finish(slow)
    world.source.commit(1000)
    world.hourly()
    assert world.kinds == ["gap", "full", "changes", "changes", "full", "changes"]
    way = plan(world.journal, Point())
    assert [way.base.sequence, *(step.sequence for step in way.steps)] == [5, 4, 6]
    assert world.rows(Point()) == 1113


def test_of_two_runs_at_once_one_goes_on_from_where_the_other_ended(world: World) -> None:
    world.full()
    world.source.commit(10)
    early = world.run.hourly()
    world.source.commit(100)
    late = world.run.hourly()
    assert isinstance(early, Stored)
    assert isinstance(late, Stored)
    world.run.finish(early)
    with pytest.raises(JournalMovedOn):
        world.run.finish(late)
    sealed = backup.check(late, world.sealer, world.vault)
    replicated = backup.replicate(sealed, world.vault, copies=3, patience=0.0)
    entry = world.run.record(replicated, until=late.backup.cut.time)
    assert world.kinds == ["gap", "full", "changes", "changes"]
    assert entry.sequence == 4
    assert world.rows(Point()) == 113
    assert not any(part.cid in world.vault.cluster for part in late.backup.parts)


def test_a_run_that_was_overtaken_further_has_nothing_to_do(world: World) -> None:
    world.full()
    world.source.commit(10)
    early = world.run.hourly()
    assert isinstance(early, Stored)
    world.source.commit(100)
    ahead = world.hourly()
    assert world.run.again(early.backup, until=early.backup.cut.time) == ahead


def test_a_full_backup_that_a_crash_has_left_out_is_made_up_for_once(world: World) -> None:
    world.full()
    world.source.commit(1)
    world.capture.slot = None
    world.source.dies_after = 10
    with pytest.raises(Unavailable):
        world.run.hourly()
    assert world.kinds == ["gap", "full", "gap"]
    world.source.dies_after = None
    world.capture.dumping = True
    assert world.hourly().backup.kind == "changes", "another run is at it"
    world.capture.dumping = False
    assert world.hourly().backup.kind == "full"
    world.source.commit(10)
    assert world.hourly().backup.kind == "changes"
    assert world.rows(Point()) == 14


def test_a_peer_that_is_down_keeps_the_source_from_forgetting(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.vault.peers[2].up = False
    released = list(world.source.released)
    with pytest.raises((Unavailable, NotReplicated)):
        world.hourly()
    assert world.source.released == released
    world.vault.peers[2].up = True
    world.hourly()
    assert world.rows(Point()) == 13


def test_a_full_backup_does_not_wait_for_a_peer_and_the_chain_goes_on_beside_it(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.vault.peers[2].up = False
    full = world.run.full()
    world.vault.peers[2].up = True
    world.source.commit(100)
    world.run.finish(full)
    world.hourly()
    assert world.kinds == ["gap", "full", "full", "changes"]
    assert world.rows(Point(entry=3)) == 13
    assert world.rows(Point()) == 113
    named = {part.cid for entry in world.journal.entries for part in entry.backup.parts}
    left = {cid for cid, (name, _) in world.vault.cluster.items() if "/journal/" not in name} - named
    assert not left, "the link that could not be replicated was let go of"


def test_what_nobody_can_read_begins_the_chain_anew(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.capture.unreadable = world.capture.slot
    assert world.hourly().backup.kind == "full"
    assert world.kinds == ["gap", "full", "gap", "full"]
    gap = chain.link_of(world.journal.entries[2]).gap
    assert gap == "what is in it cannot be decoded"
    world.source.commit(100)
    assert world.hourly().backup.kind == "changes", "and not again at the next time"
    assert world.rows(Point()) == 113


UNREACHABLE = ("is a gap", "is before the first backup", "no full backup before it is left to begin with")
STEPS = st.lists(
    st.sampled_from(["commit", "commit", "hourly", "full", "doubt", "lost", "dies"]), min_size=1, max_size=9
)


@settings(deadline=None, max_examples=12)
@given(STEPS)
def test_whatever_happens_every_reachable_moment_is_right(steps: list[str]) -> None:
    world = World()
    for number, step in enumerate(steps):
        _act(world, step, number)
    _act(world, "hourly", 0)
    assert not chain.lacks_full(world.journal)
    assert world.rows(Point()) == world.source.holding.totals.rows
    for done in world.source.history:
        before = sum(other.rows for other in world.source.history if other.xid <= done.xid)
        found = _rows_or_reason(world, Point(xid=done.xid))
        assert found == 3 + before or any(why in str(found) for why in UNREACHABLE)


def _rows_or_reason(world: World, point: Point) -> int | str:
    try:
        return world.rows(point)
    except NotRestorable as error:
        return error.what


def _act(world: World, step: str, number: int) -> None:
    match step:
        case "commit":
            world.source.commit(7**number)
        case "hourly":
            world.hourly()
        case "full":
            world.full()
        case "doubt":
            world.capture.doubt = "something was rewritten"
            world.hourly()
            world.capture.doubt = None
        case "lost":
            world.capture.slot = None
        case "dies":
            world.source.dies_after = 10
            with pytest.raises(Unavailable):
                world.run.full()
            world.source.dies_after = None


def test_release_is_refused_while_the_journal_does_not_name_the_entry(world: World) -> None:
    entry = world.full()
    stranger = replace(entry, backup=replace(entry.backup, number=99))
    with pytest.raises(Corrupted, match="does not name entry"):
        backup.release(stranger, world.source, world.journals)


def test_how_far_the_source_may_forget_stands_in_the_journal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tasks hand on can be edited: no other slot may be moved by it, and none further."""
    world.full()
    world.source.commit(1)
    world.hourly()
    entry, released = world.journal.entry(), list[Entry]()
    assert entry.backup.link
    assert entry.backup.link.position
    forged = replace(entry.backup.link, position=sample_position("somebody_elses_slot", lsn="FF/0"))
    monkeypatch.setattr(world.source, "release", released.append)
    backup.release(replace(entry, backup=replace(entry.backup, link=forged)), world.source, world.journals)
    assert released == [entry]
