"""Somebody with the cluster's password, and every Kubo, wants an older journal to be believed. He has no key of ours.

What the search alone can notice, and what it cannot: where every peer has forgotten the newest version *and* everything
that shows that it existed, nothing in the vault tells that from a journal that ended there.
"""

from collections.abc import Callable, Collection

import pytest

from fix_audit import AuditedNode
from fix_memory_node import MemoryNode
from pgkeep import backup, sentences
from pgkeep.errors import Corrupted, NotReplicated, PgkeepError
from pgkeep.model import Cid
from pgkeep.pin_names import journal_name
from pgkeep.testing import MemoryVault
from unit.test_drill import World


class Attacker:
    """He can unpin, delete and pin under any name, on the peers that he reaches."""

    def __init__(self, vault: MemoryVault, *, peers: Collection[str] = ("alice", "bob", "carol")) -> None:
        self.vault = vault
        self.peers = [peer for peer in vault.peers if peer.name in peers]
        self.cluster = len(peers) > 1  # with one peer's Kubo alone he does not have the cluster's password

    def forget(self, cids: Collection[Cid]) -> None:
        """Unpinned, and its blocks are gone."""
        for cid in cids:
            if self.cluster:
                self.vault.cluster.pop(cid, None)
            for peer in self.peers:
                peer.objects.pop(cid, None)
                peer.pins.pop(cid, None)

    def named(self, wanted: Callable[[str], bool]) -> set[Cid]:
        found = self.vault.listing("pgkeep/shop/").names.items()
        return {cid for name, cids in found if wanted(name) for cid in cids}

    def version(self, number: int) -> Cid:
        (cid,) = self.named(lambda name: name == journal_name("shop", sequence=number))
        return cid

    def roll_back(self, number: int) -> None:
        """Version `number` and all that only it named, the labels with its number, too."""
        self.forget({self.version(number)} | self.named(lambda name: f"/{number}/" in f"{name}/"))


@pytest.fixture
def node() -> AuditedNode:
    """Three full backups: version 3 is the newest."""
    node = AuditedNode()
    for _ in range(3):
        node.full()
    return node


def actions(node: AuditedNode) -> dict[str, Callable[[], object]]:
    """What commands and runs begin with: list and restore, record, drill and retire, init, audit."""
    return {
        "head": node.journals.head,
        "head_for_writing": node.journals.head_for_writing,
        "begin": node.journals.begin,
        "record": node.full,
        "audit": node.audit,
    }


@pytest.mark.parametrize("action", ["head", "head_for_writing", "begin", "record", "audit"])
def test_the_newest_version_is_gone_and_what_it_named_is_not(node: AuditedNode, action: str) -> None:
    attacker = Attacker(node.memory)
    attacker.forget({attacker.version(3)})
    with pytest.raises(Corrupted, match="newer versions were removed"):
        actions(node)[action]()


@pytest.mark.parametrize("action", ["head", "head_for_writing", "begin", "record", "audit"])
def test_an_older_version_bears_the_number_of_the_newest(node: AuditedNode, action: str) -> None:
    attacker = Attacker(node.memory)
    older = attacker.version(2)
    attacker.roll_back(3)
    node.memory.pin(older, name=journal_name("shop", sequence=3), copies=3)
    with pytest.raises(Corrupted, match="somebody put an older"):
        actions(node)[action]()


def test_what_one_entry_named_is_left_at_one_peer_that_he_does_not_reach(node: AuditedNode) -> None:
    Attacker(node.memory, peers=("alice", "bob")).roll_back(3)
    carol = node.peer("carol")
    del carol.pins[next(cid for cid, name in carol.pins.items() if name == journal_name("shop", sequence=3))]
    with pytest.raises(Corrupted, match="newer versions were removed"):
        node.audit()


@pytest.mark.parametrize("peer", ["alice", "bob", "carol"])
def test_one_peer_is_not_enough(node: AuditedNode, peer: str) -> None:
    """The others have the newest version. The audit brings everything back, and says so."""
    Attacker(node.memory, peers=(peer,)).roll_back(3)
    assert node.journals.head().journal.sequence == 3
    report = node.audit()
    report.require_well()
    assert {repair.peer for repair in report.repairs} == {peer}
    assert "version 3 of the journal" in "\n".join(sentences.audited(report))
    node.require_whole()


def test_two_peers_are_not_enough(node: AuditedNode) -> None:
    Attacker(node.memory, peers=("alice", "bob")).roll_back(3)
    assert node.journals.head().journal.sequence == 3
    node.audit()
    node.audit().require_well()
    node.require_whole()


def test_a_peer_that_was_away_keeps_the_proof(node: AuditedNode) -> None:
    node.peer("carol").up = False
    Attacker(node.memory, peers=("alice", "bob")).roll_back(3)
    assert node.journals.head().journal.sequence == 2, "as long as nobody else can be asked"
    with pytest.raises(PgkeepError):
        node.full()  # and nothing is written over it: three copies were asked for
    node.peer("carol").up = True
    assert node.journals.head().journal.sequence == 3


def test_a_version_without_an_entry_of_its_own_leaves_its_name_on_the_newest_entry() -> None:
    """A verdict, a retirement: taking such a version away leaves what shows it."""
    world = World()
    world.full()
    world.drill()
    newest = world.journal.sequence
    attacker = Attacker(world.vault)
    attacker.forget({attacker.version(newest)})
    with pytest.raises(Corrupted, match="newer versions were removed"):
        world.journals.head()


@pytest.mark.parametrize("name", ["journal/4", "full/5/dump", "recorded/9/dump"])
def test_a_name_that_lies_stops_everything_and_loses_nothing(node: AuditedNode, name: str) -> None:
    """He can always do that: everything stops, and a person has to look. Nothing is overwritten meanwhile."""
    lie = node.memory.add([b"a lie"], name=f"pgkeep/shop/{name}")
    for action in actions(node).values():
        with pytest.raises(Corrupted):
            action()
    assert node.journals.head(accept="3").journal.sequence == 3
    node.memory.drop(lie)
    node.audit().require_well()
    node.require_whole()


# --- what the vault alone cannot tell ------------------------------------------------------------------------------


def test_all_of_it_is_gone_from_every_peer_and_the_vault_does_not_know(node: AuditedNode) -> None:
    """Not noticed, by nothing that looks into the vault alone: the journal ends at version 2, validly."""
    Attacker(node.memory).roll_back(3)
    assert node.journals.head().journal.sequence == 2
    node.audit().require_well()
    assert node.full().sequence == 3, "and the next backup goes on from there"


def test_a_run_that_has_its_entry_notices_when_it_lets_the_source_forget(node: AuditedNode) -> None:
    """Between `record` and `release` (I2): the source keeps what the journal does not name any more."""
    entry = node.full()
    Attacker(node.memory).roll_back(4)
    with pytest.raises(Corrupted, match="does not name entry 4 any more"):
        backup.release(entry, node.source, node.journals)
    assert entry.sequence not in node.source.released


def test_a_run_that_waits_does_not_name_what_he_took(node: AuditedNode) -> None:
    waiting = node.replicated()
    Attacker(node.memory).forget({part.cid for part in waiting.sealed.backup.parts})
    with pytest.raises(NotReplicated):
        backup.record(waiting, node.source, node.journals, node.vault)


def test_changes_that_were_recorded_after_it_are_missed_by_the_source_itself() -> None:
    """The journal's end and the slot do not fit any more: a gap and a full backup, never changes with a hole."""
    node = MemoryNode()
    node.full()
    node.source.commit(1)
    node.hourly()
    lost = node.journal
    node.capture.slot = "made anew"  # what a gap does: the new slot is named by the version that he takes away
    node.hourly()
    attacker = Attacker(node.vault)
    for number in range(node.journal.sequence, lost.sequence, -1):
        attacker.roll_back(number)
    assert node.journal == lost
    node.source.commit(1)
    node.hourly()
    assert [entry.backup.kind for entry in node.journal.entries][len(lost.entries) :] == ["gap", "full"]
