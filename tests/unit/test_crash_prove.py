"""As in `test_crash`, for drills and for retention: killed at every touch of the vault, and run again.

Whatever the moment: everything that the journal names is there, on every peer, and the newest moment comes back.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fix_fragile import FragileVault, Killed, When
from fix_memory_node import ORIGIN
from pgkeep.copies import ciphertext
from pgkeep.drill import Drill
from pgkeep.journal import Journal
from pgkeep.meter import Meter
from pgkeep.model import Cid
from pgkeep.plan import Point, plan
from pgkeep.restore import restore
from pgkeep.retirement import retire
from pgkeep.testing import MemoryTarget
from unit.test_drill import World
from unit.test_retention import NOTHING


class Node(World):
    """A node with something to prove and something to let go of, whose next touches of the vault may kill it."""

    def __init__(self) -> None:
        super().__init__()
        self.full()
        self.source.commit(10)
        self.hourly()
        self.source.commit(100)
        self.full()
        self.drill()
        self.fragile = FragileVault(self.vault)
        self.breaking = replace(self.journals, vault=self.fragile)

    def retire(self) -> None:
        retire(NOTHING, self.source, self.breaking, self.fragile, patience=0.0)

    def prove(self) -> None:
        Drill(
            source=self.source,
            sealer=self.sealer,
            vault=self.fragile,
            target=self.target,
            journals=self.breaking,
            origin=ORIGIN,
            choose=self.choose,
        ).run()

    def require_sound(self) -> Journal:
        """I1 and I4, and that it comes back, through the eyes of somebody else."""
        journal = self.journal
        for part in (part for entry in journal.entries for part in entry.backup.parts):
            for peer in self.vault.peers:
                read = Meter([peer.objects[part.cid]])
                read.drain()
                assert ciphertext(part).is_read_by(read), f"{peer.name} does not have {part.name}"
        assert any(journal.is_proven(entry) for entry in journal.entries), "I7"
        target = MemoryTarget()
        restore(plan(journal, Point()), self.sealer, self.vault, target)
        assert target.database == self.source.holding
        return journal

    def backups(self) -> set[Cid]:
        """The objects that are pinned anywhere, but for the journal's own."""
        listing = self.vault.listing("pgkeep/")
        return {cid for name, cids in listing.names.items() if "/journal/" not in name for cid in cids}


def killed(act: Callable[[Node], None], moment: int, when: When) -> Node:
    """It is killed there, and everything is sound; then it is done again."""
    node = Node()
    node.fragile.fatal = (moment, when)
    with pytest.raises(Killed):
        act(node)
    node.require_sound()
    node.fragile.fatal = None  # a new process
    act(node)
    return node


def touches(act: Callable[[Node], None]) -> int:
    """How often one undisturbed run touches the vault."""
    node = Node()
    act(node)
    return node.fragile.calls


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(1, touches(Node.retire) + 1))
def test_retention_killed_anywhere_and_run_again(moment: int, when: When) -> None:
    node = killed(Node.retire, moment, when)
    journal = node.require_sound()
    assert [entry.backup.kind for entry in journal.entries] == ["changes", "full"]
    assert {part.cid for entry in journal.entries for part in entry.backup.parts} == node.backups() - drafts(node)


def drafts(node: Node) -> set[Cid]:
    """Litter: versions whose writer died before they were published."""
    return {cid for name, cids in node.vault.listing("pgkeep/shop/draft/").names.items() for cid in cids}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(1, touches(Node.prove) + 1))
def test_a_drill_killed_anywhere_and_run_again(moment: int, when: When) -> None:
    node = killed(Node.prove, moment, when)
    journal = node.require_sound()
    assert {verdict.proven for verdict in journal.verdicts} == {True}
    assert 2 <= len(journal.verdicts) <= 3, "the one before, this one, and perhaps the one that was killed at its end"
    assert node.target.leftovers == 0
