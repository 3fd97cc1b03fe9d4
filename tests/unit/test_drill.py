"""Drills over the doubles: what is restored from where, what is compared, and what the journal says of it after."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fix_memory_node import ORIGIN, MemoryNode
from pgkeep import backup, drill, sentences
from pgkeep.drill import Drill
from pgkeep.errors import ConfigError, Corrupted, NotReplicated, NotRestorable, Unavailable
from pgkeep.inventory import TableName, Update
from pgkeep.model import Backup, Cid, Entry, Verdict
from pgkeep.pin_names import journal_name
from pgkeep.ports import Place, Window
from pgkeep.testing import NODE, MemoryCapture, MemoryTarget, MemoryWindow


class World(MemoryNode):
    """A node, and a scratch server."""

    def __init__(self) -> None:
        super().__init__()
        self.target = MemoryTarget()
        self.peer = 0
        self.offered: list[Place] = []

    def drill(self) -> Verdict:
        return Drill(
            source=self.source,
            sealer=self.sealer,
            vault=self.vault,
            target=self.target,
            journals=self.journals,
            origin=ORIGIN,
            choose=self.choose,
            lost=self.run.lost(),
        ).run()

    def choose(self, places: Sequence[Place]) -> Place:
        self.offered = list(places)
        return places[self.peer]

    def ways(self) -> list[tuple[int, int, bool]]:
        """The ways of the newest verdict: from where, up to where, and whether it was good."""
        return [(way.base, way.last, way.failure is None) for way in self.journal.verdicts[-1].ways]

    def damage(self, cid: Cid, *, peer: int) -> None:
        objects = self.vault.peers[peer].objects
        objects[cid] = objects[cid][:50] + bytes([objects[cid][50] ^ 1]) + objects[cid][51:]


@pytest.fixture
def world() -> World:
    return World()


def test_a_full_backup_that_is_lost_stands_in_no_drills_way(world: World) -> None:
    first = world.full()
    world.source.commit(10)
    lost = world.full()
    cid = dump_of(lost)
    for peer in world.vault.peers:
        peer.lose(cid)
        peer.unpin(cid)
    world.run = replace(world.run, lost=lambda: (cid,))
    world.source.commit(10)
    newest = world.full()
    assert world.drill().proven
    assert world.ways() == [(newest.sequence, newest.sequence, True), (first.sequence, newest.sequence - 1, True)]


def dump_of(entry: Entry) -> Cid:
    part = entry.backup.part("dump")
    assert part
    return part.cid


def test_a_full_backup_is_proven_and_the_journal_says_so(world: World) -> None:
    entry = world.full()
    before = world.journal
    verdict = world.drill()
    journal = world.journal
    assert journal.verdicts == (verdict,)
    assert (journal.sequence, journal.entries) == (before.sequence + 1, before.entries)
    assert (verdict.entry, verdict.proven, verdict.failure, verdict.previous) == (entry.sequence, True, None, None)
    assert (verdict.origin, verdict.name, verdict.peer) == (ORIGIN, "alice", "id-alice")
    assert journal.is_proven(entry)
    assert world.ways() == [(2, 2, True)]
    assert all(way.seconds >= 0 for way in verdict.ways)
    assert (world.target.database, world.target.leftovers) == (None, 0), "the scratch database is dropped"


def test_the_newest_moment_and_both_ways_to_the_full_backup(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.hourly()
    world.source.commit(100)
    second = world.full()
    world.source.commit(1000)
    newest = world.hourly()
    verdict = world.drill()
    assert [entry.backup.kind for entry in world.journal.entries] == [
        "gap",
        "full",
        *["changes"] * 2,
        "full",
        "changes",
    ]
    assert world.ways() == [(5, 5, True), (5, 6, True), (2, 4, True)]
    assert (second.sequence, newest.sequence) == (5, 6)
    assert verdict.previous == 2


def test_over_a_gap_there_is_only_one_way(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.capture.slot = None
    world.hourly()
    world.drill()
    assert world.ways() == [(4, 4, True)]


def test_full_backups_alone_have_one_way_each() -> None:
    world = World()
    for _ in range(2):
        stored = backup.capture(world.source, world.sealer, world.vault, world.journals, origin=ORIGIN)
        sealed = backup.check(stored, world.sealer, world.vault)
        replicated = backup.replicate(sealed, world.vault, copies=3, patience=0.0)
        backup.record(replicated, world.source, world.journals, world.vault)
    world.drill()
    assert world.ways() == [(2, 2, True)]


def test_one_that_comes_back_different_is_recorded_and_raised(world: World) -> None:
    entry = world.full()
    world.target.loses_rows = 1
    with pytest.raises(Corrupted, match=r"source 3 rows.*restored 2 rows"):
        world.drill()
    (verdict,) = world.journal.verdicts
    assert not verdict.proven
    assert not world.journal.is_proven(entry)
    assert "came back different" in (verdict.failure or "")
    world.target.loses_rows = 0
    world.drill()
    assert world.journal.is_proven(entry), "the newest verdict counts"


def test_changes_that_lead_elsewhere_are_found_and_the_full_backup_is_proven_all_the_same(world: World) -> None:
    world.full()
    world.source.commit(10)
    second = world.full()
    world.target.redefined = True
    with pytest.raises(Corrupted, match=r"what is defined .* differs"):
        world.drill()
    verdict = world.journal.verdicts[-1]
    assert world.ways() == [(4, 4, True), (2, 3, False)]
    assert (verdict.proven, verdict.previous, world.journal.is_proven(second)) == (True, None, True)
    assert "BUT NOT THE CHANGES" in sentences.verdict(second, world.journal)


class Blind(MemoryWindow):
    """A window that cannot measure what it has changed."""

    def update(self) -> Update:
        return replace(super().update(), tables=(), unmeasured=(TableName(schema="public", name="document"),))


class BlindCapture(MemoryCapture):
    @contextmanager
    def window(self, last: Backup) -> Iterator[Window]:
        with super().window(last) as seen:
            yield Blind(**vars(seen))


def test_rows_that_the_changes_have_missed_are_found(world: World) -> None:
    world.run = replace(world.run, capture=BlindCapture(world.source))
    world.full()
    world.source.commit(10)
    world.source.history[-1] = replace(world.source.history[-1], rows=9)
    world.full()
    with pytest.raises(Corrupted, match=r"entry 2 and the changes up to entry 3 do not give .* restored 12 rows"):
        world.drill()
    assert world.ways() == [(4, 4, True), (2, 3, False)]


def test_changes_that_a_target_refuses_do_not_refute_the_full_backup(world: World) -> None:
    world.full()
    world.source.commit(10)
    world.full()
    world.target.refuses = "psql ended with exit code 3: line 1"
    with pytest.raises(NotRestorable, match="the changes of entry 3 cannot be applied"):
        world.drill()
    assert world.ways() == [(4, 4, True), (2, 3, False)]
    assert world.journal.verdicts[-1].proven


@pytest.mark.parametrize("peer", [0, 1, 2])
def test_it_is_read_from_the_peer_that_was_drawn_and_from_no_other(world: World, peer: int) -> None:
    entry = world.full()
    world.peer = peer
    world.damage(dump_of(entry), peer=peer)
    with pytest.raises(Corrupted, match="no whole copy of dump"):
        world.drill()
    assert [place.name for place in world.offered] == ["alice", "bob", "carol"]
    verdict = world.journal.verdicts[-1]
    assert verdict.name == ("alice", "bob", "carol")[peer]
    assert not verdict.proven
    world.peer = (peer + 1) % 3
    assert world.drill().proven


def test_what_the_peer_is_not_to_hold_comes_through_it(world: World) -> None:
    world.journals = replace(world.journals, copies=2)
    world.run = replace(world.run, journals=world.journals)
    world.full()
    world.source.commit(1)
    last = world.full()
    link = next(entry for entry in world.journal.entries if entry.backup.kind == "changes")
    holders = {cid: tuple(c for c in copies if c.name == "alice") for cid, copies in link.holders.items()}
    journal = world.journal
    moved = replace(journal, entries=tuple(replace(e, holders=holders) if e == link else e for e in journal.entries))
    for part in link.backup.parts:
        world.vault.peers[1].objects.pop(part.cid, None)
    world.journals._publish(replace(moved, sequence=journal.sequence + 1, previous=world.journals.head().ancestor))
    world.peer = 1
    verdict = world.drill()
    assert [place.name for place in world.offered] == ["alice", "bob"]
    assert (verdict.entry, verdict.name, verdict.failure) == (last.sequence, "bob", None)


def test_a_peer_that_is_down_is_not_drawn(world: World) -> None:
    world.full()
    world.vault.peers[1].up = False
    world.peer = 1
    with pytest.raises((NotReplicated, Unavailable)):  # a verdict is replicated as everything else
        world.drill()
    assert [place.name for place in world.offered] == ["alice", "carol"]
    assert world.target.leftovers == 0


def test_a_bad_verdict_that_cannot_be_recorded_is_still_raised(world: World) -> None:
    world.full()
    world.vault.peers[2].up = False
    world.target.loses_rows = 1
    with pytest.raises(Corrupted, match="came back different"):
        world.drill()
    world.vault.peers[2].up = True
    assert world.journal.verdicts == ()


def test_without_a_private_key_nothing_is_known(world: World) -> None:
    world.full()
    world.sealer.holds = frozenset({NODE})
    with pytest.raises(ConfigError, match="no private key"):
        world.drill()
    assert world.journal.verdicts == ()


def test_without_any_backup_there_is_nothing_to_prove(world: World) -> None:
    with pytest.raises(NotRestorable, match="has no backup yet"):
        world.drill()


def test_a_verdict_on_what_has_left_the_journal_is_not_written(world: World) -> None:
    entry = world.full()
    verdict = replace(world.drill(), entry=entry.sequence + 7)
    before = world.journal
    drill.record(verdict, world.source, world.journals)
    assert world.journal == before


def test_a_removed_version_with_a_verdict_is_betrayed(world: World) -> None:
    world.full()
    world.drill()
    newest = world.journal.sequence
    name = journal_name("shop", sequence=newest)
    (cid,) = world.vault.listing(name).names[name]
    world.vault.drop(cid)
    with pytest.raises(Corrupted, match="newer versions were removed"):
        world.journals.head()


def test_what_is_said_of_it(world: World) -> None:
    entry = world.full()
    assert sentences.verdict(entry, world.journal) == "not yet"
    assert sentences.verdict(world.journal.entry(1), world.journal) == "-"
    said = sentences.proven(world.drill(), "shop")
    assert said.startswith("shop: entry 2 is proven, read from alice alone: entry 2 in ")
    assert "No changes lead to it" in said
    world.source.commit(10)
    newest = world.full()
    said = sentences.proven(world.drill(), "shop")
    assert "entry 2 and the changes up to entry 4 in " in said
    assert "Entry 2 and the changes since give exactly the same." in said
    table = sentences.entry_table(world.journal, [(e, 3) for e in world.journal.entries])
    assert f"{world.journal.verdicts[-1].time[:10]} from alice, in " in table.splitlines()[-1]
    world.target.loses_rows = 1
    with pytest.raises(Corrupted):
        world.drill()
    assert sentences.verdict(newest, world.journal).startswith("NO: ")
