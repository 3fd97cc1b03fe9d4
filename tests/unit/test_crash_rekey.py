"""As in `test_crash_prove`, for rekeying: killed at every touch of the vault, before and after it, and run again.

Whatever the moment: all that the journal names is on every peer, comes back, and the chain is what it was; in the end
the new recipients can read everything, and nothing that the old ones could is left but litter.
"""

from dataclasses import replace

import pytest

from fix_fragile import FragileVault, Killed, When
from pgkeep import rekeying
from pgkeep.copies import ciphertext
from pgkeep.journal import Journal
from pgkeep.meter import Meter
from pgkeep.model import Cid
from pgkeep.plan import Point, plan
from pgkeep.rekeying import Rekey
from pgkeep.restore import restore
from pgkeep.testing import NODE, RECIPIENTS, MemorySealer, MemoryTarget
from unit.test_drill import World
from unit.test_rekeying import COMING

OLD = frozenset(RECIPIENTS)


class Node(World):
    """A node with something to rekey, in two steps, whose next touches of the vault may kill it."""

    def __init__(self) -> None:
        super().__init__()
        self.full()
        self.source.commit(10)
        self.hourly()
        self.before = self.journal
        self.fragile = FragileVault(self.vault)
        self.new = replace(self.sealer, recipients=(COMING,))

    def rekey(self) -> None:
        Rekey(
            source=self.source,
            sealer=self.new,
            vault=self.fragile,
            journals=replace(self.journals, vault=self.fragile, sealer=self.new),
            chained=True,
            patience=0.0,
            settling=0.0,
        ).run()

    def require_sound(self) -> Journal:
        """I1, I4 and I5, and that it comes back, through the eyes of somebody who has an old and the new key."""
        laptop = MemorySealer(holds=frozenset({RECIPIENTS[1], COMING}))
        journal = replace(self.journals, sealer=laptop).head().journal
        assert [entry.sequence for entry in journal.entries] == [entry.sequence for entry in self.before.entries]
        for part in (part for entry in journal.entries for part in entry.backup.parts):
            for peer in self.vault.peers:
                read = Meter([peer.objects[part.cid]])
                read.drain()
                assert ciphertext(part).is_read_by(read), f"{peer.name} does not have {part.name}"
        for entry in journal.entries:
            assert entry.recipients in {(), tuple(sorted(OLD)), (COMING,)}, "no entry is half done"
        target = MemoryTarget()
        restore(plan(journal, Point()), laptop, self.vault, target)
        assert target.database == self.source.holding
        return journal

    def of_backups(self) -> set[Cid]:
        """The objects that are pinned anywhere, but for the journal's own."""
        listing = self.vault.listing("pgkeep/")
        return {
            cid
            for name, cids in listing.names.items()
            if "/journal/" not in name and "/draft/" not in name
            for cid in cids
        }

    def readers(self, cid: Cid) -> frozenset[str]:
        return self.new.envelope([self.vault.peers[0].objects[cid]]).recipients


def touches() -> int:
    """How often one undisturbed run touches the vault."""
    node = Node()
    node.rekey()
    return node.fragile.calls


@pytest.fixture(autouse=True)
def one_entry_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rekeying, "STEP_ENTRIES", 1)


with pytest.MonkeyPatch.context() as patched:
    patched.setattr(rekeying, "STEP_ENTRIES", 1)
    TOUCHES = touches()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(1, TOUCHES + 1))
def test_rekeying_killed_anywhere_and_run_again(moment: int, when: When) -> None:
    node = Node()
    node.fragile.fatal = (moment, when)
    with pytest.raises(Killed):
        node.rekey()
    node.require_sound()
    node.fragile.fatal = None  # a new process
    node.rekey()
    journal = node.require_sound()
    named = {part.cid for entry in journal.entries for part in entry.backup.parts}
    assert {entry.recipients for entry in journal.entries if entry.backup.parts} == {(COMING,)}
    assert named <= node.of_backups()
    litter = node.of_backups() - named
    assert all(node.readers(cid) <= {COMING, NODE} for cid in litter), "what a kill leaves is for the new ones, too"
    assert 2 <= journal.sequence - node.before.sequence <= 4


def test_without_a_kill_nothing_is_left() -> None:
    node = Node()
    node.rekey()
    journal = node.require_sound()
    assert node.of_backups() == {part.cid for entry in journal.entries for part in entry.backup.parts}
    assert journal.sequence == node.before.sequence + 2
