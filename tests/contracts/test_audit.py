"""The audit over the double and over three real peers alike: what is damaged is found, repaired, and read back."""

import hashlib
from typing import Protocol

import pytest

from fix_audit import AuditedNode
from fix_peers import Peers, eventually
from pgkeep import sentences
from pgkeep.audit import Report
from pgkeep.copies import holders_of
from pgkeep.errors import Corrupted, NotReplicated
from pgkeep.model import Cid, Entry
from pgkeep.pin_names import journal_name, part_name
from pgkeep.testing import MemoryVault

FILLING = 3_000_000


class World(Protocol):
    """A node with three peers, 1 its own, each of which can be damaged."""

    @property
    def node(self) -> AuditedNode: ...

    def flip(self, peer: int, cid: Cid) -> None: ...

    def lose(self, peer: int, cid: Cid) -> None: ...

    def unpin(self, peer: int, cid: Cid) -> None: ...

    def replace_disk(self, peer: int) -> None: ...

    def stop(self, peer: int) -> None: ...

    def start(self) -> None: ...

    def name(self, peer: int) -> str: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemoryVault()
        self._node = AuditedNode(memory=self.memory)

    @property
    def node(self) -> AuditedNode:
        return self._node

    def flip(self, peer: int, cid: Cid) -> None:
        self.memory.peers[peer - 1].flip(cid)

    def lose(self, peer: int, cid: Cid) -> None:
        self.memory.peers[peer - 1].lose(cid)

    def unpin(self, peer: int, cid: Cid) -> None:
        self.memory.peers[peer - 1].unpin(cid)

    def replace_disk(self, peer: int) -> None:
        self.memory.peers[peer - 1].new_disk()

    def stop(self, peer: int) -> None:
        self.memory.peers[peer - 1].up = False

    def start(self) -> None:
        for peer in self.memory.peers:
            peer.up = True

    def name(self, peer: int) -> str:
        return self.memory.peers[peer - 1].name


class RealWorld:
    def __init__(self, peers: Peers, database: str) -> None:
        self.peers = peers
        self._node = AuditedNode(peers.vault(), database=database, patience=60.0)

    @property
    def node(self) -> AuditedNode:
        return self._node

    def flip(self, peer: int, cid: Cid) -> None:
        file = self.peers.block(peer, cid)
        block = file.read_bytes()
        file.unlink()
        file.write_bytes(block[:-1] + bytes([block[-1] ^ 1]))

    def lose(self, peer: int, cid: Cid) -> None:
        self.peers.block(peer, cid).unlink()

    def unpin(self, peer: int, cid: Cid) -> None:
        self.peers.kubo(peer).unpin(cid)

    def replace_disk(self, peer: int) -> None:
        self.peers.replace_disk(peer)

    def stop(self, peer: int) -> None:
        self.peers.kill_peer(peer)

    def start(self) -> None:
        self.peers.start()

    def name(self, peer: int) -> str:
        return f"peer-{peer}"


@pytest.fixture(params=["memory", "real"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    peers: Peers = request.getfixturevalue("peers")
    database = f"shop-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    return RealWorld(peers, database)


@pytest.fixture
def node(world: World) -> AuditedNode:
    world.node.source.filling = FILLING
    return world.node


def cid_of(entry: Entry, name: str) -> Cid:
    return next(part.cid for part in entry.backup.parts if part.name == name)


def well(report: Report) -> Report:
    report.require_well()
    return report


def require_repaired(node: AuditedNode, *wanted: tuple[Cid, str]) -> Report:
    """Found, repaired, and read back; and another audit finds nothing."""
    report = well(node.audit())
    assert {(repair.cid, repair.peer) for repair in report.repairs} == set(wanted)
    assert not well(node.audit()).repairs
    return report


def test_all_is_well(node: AuditedNode) -> None:
    node.full()
    report = well(node.audit())
    assert (report.repairs, report.problems) == ((), ())
    assert all(peer.read == peer.objects == report.objects for peer in report.peers)


@pytest.mark.parametrize("peer", [1, 2])
@pytest.mark.parametrize("damage", ["flip", "lose"])
@pytest.mark.parametrize("part", ["dump", "inventory"])
def test_one_copy_is_damaged(world: World, node: AuditedNode, part: str, damage: str, peer: int) -> None:
    cid = cid_of(node.full(), part)
    getattr(world, damage)(peer, cid)
    require_repaired(node, (cid, world.name(peer)))


@pytest.mark.parametrize("peer", [1, 2])
@pytest.mark.parametrize("part", ["dump", "inventory"])
def test_one_pin_is_lost(world: World, node: AuditedNode, part: str, peer: int) -> None:
    cid = cid_of(node.full(), part)

    def found() -> bool:
        """A cluster looks after its pins by itself now and then, and may be faster: then there is nothing to find."""
        world.unpin(peer, cid)
        repaired = {(repair.cid, repair.peer) for repair in well(node.audit()).repairs}
        assert repaired <= {(cid, world.name(peer))}
        assert eventually(lambda: sum(holder.holds for holder in holders_of(cid, node.vault)) == 3)
        return bool(repaired)

    assert eventually(found)
    assert not well(node.audit()).repairs


def test_the_journal_itself_is_damaged(world: World, node: AuditedNode) -> None:
    node.full()
    (newest,) = node.named("journal/1")
    (before,) = node.named("journal/0")
    world.flip(2, newest)
    world.lose(1, before)
    require_repaired(node, (newest, world.name(2)), (before, world.name(1)))


def test_two_copies_of_three_are_damaged(world: World, node: AuditedNode) -> None:
    cid = cid_of(node.full(), "dump")
    world.lose(1, cid)
    world.flip(3, cid)
    require_repaired(node, (cid, world.name(1)), (cid, world.name(3)))


def test_a_disk_is_replaced(world: World, node: AuditedNode) -> None:
    entry = node.full()
    world.replace_disk(2)
    wanted = [(cid, world.name(2)) for cid in (*(part.cid for part in entry.backup.parts), *node.named("journal"))]
    report = require_repaired(node, *wanted)
    assert "fetched what was missing" in "\n".join(sentences.audited(report))


def test_no_whole_copy_is_left(world: World, node: AuditedNode) -> None:
    lost, other = cid_of(node.full(), "dump"), cid_of(node.full(), "dump")
    for peer in (1, 2, 3):
        world.lose(peer, lost)
    world.lose(2, other)
    report = node.audit()
    assert [(repair.cid, repair.peer) for repair in report.repairs] == [(other, world.name(2))]
    with pytest.raises(Corrupted, match=lost):
        report.require_well()


def test_a_peer_is_away_and_comes_back(world: World, node: AuditedNode) -> None:
    entry = node.full()
    world.stop(3)
    node.patience = 1.0
    report = node.audit()
    with pytest.raises(NotReplicated, match="has 2 of 3 copies"):
        report.require_well()
    assert world.name(3) in report.wrong[0].holders
    node.patience = 60.0
    world.start()
    assert eventually(
        lambda: all(sum(h.holds for h in holders_of(part.cid, node.vault)) == 3 for part in entry.backup.parts)
    )
    assert not well(node.audit()).repairs


def test_litter_is_swept_everywhere(world: World, node: AuditedNode) -> None:
    node.full()
    waiting = {part.cid for part in node.replicated().sealed.backup.parts}
    stored = {part.cid for part in node.store().backup.parts}
    assert {found.cid for found in well(node.audit()).litter} == waiting | stored
    node.full()
    assert {found.cid for found in well(node.audit()).swept} == waiting | stored
    assert eventually(lambda: not node.audit().litter)


def test_a_label_survives_a_repair(world: World, node: AuditedNode) -> None:
    """So the journal is found by Kubo's pin names alone, if the cluster's pinset is ever lost."""
    cid = cid_of(node.full(), "dump")
    world.lose(2, cid)
    well(node.audit())
    names = node.vault.listing(f"pgkeep/{node.journals.database}/").names
    assert {name.split("/")[2] for name, cids in names.items() if cid in cids} == {"full", "recorded"}
    assert names.keys() >= {
        part_name(node.journals.database, kind="full", number=1, part="dump"),
        journal_name(node.journals.database, sequence=1),
    }


def test_a_dry_run_changes_nothing(world: World, node: AuditedNode) -> None:
    cid = cid_of(node.full(), "dump")
    world.lose(2, cid)
    for _ in range(2):
        report = node.audit(dry_run=True)
        assert [problem.kind for problem in report.wrong] == ["Corrupted"]
    assert not node.named("audit")
    require_repaired(node, (cid, world.name(2)))
