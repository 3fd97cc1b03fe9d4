"""A run that carries changes is killed at every change of the vault, before and after it; then it is run again.

As in `test_crash`: whatever the moment, the journal names only what all peers have, and what was committed comes back.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pytest

from fix_fragile import FragileVault, Killed, When
from pgkeep import chain, restore
from pgkeep.changes import Run
from pgkeep.copies import ciphertext
from pgkeep.errors import JournalMovedOn
from pgkeep.journal_store import JournalStore
from pgkeep.meter import Meter
from pgkeep.model import Cid, Covered, Origin, Stored
from pgkeep.plan import Point, plan
from pgkeep.ports import Holder, Listing, Place
from pgkeep.testing import MemoryCapture, MemorySealer, MemorySource, MemoryTarget, MemoryVault


class WrittenVault(FragileVault):
    """Its caller is killed where something is written: between two writes, all moments are alike."""

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        return self.inner.read(cid, at=at)

    def holders(self, cids: Collection[Cid]) -> Mapping[Cid, Sequence[Holder]]:
        return self.inner.holders(cids)

    def listing(self, prefix: str) -> Listing:
        return self.inner.listing(prefix)


class Node:
    """A database whose changes are kept, with a full backup and an hour of changes."""

    def __init__(self) -> None:
        self.world, self.sealer, self.source = MemoryVault(), MemorySealer(), MemorySource()
        self.vault, self.capture = WrittenVault(self.world), MemoryCapture(self.source)
        self.journals = JournalStore(database="shop", vault=self.vault, sealer=self.sealer, copies=3, patience=0.0)
        self.trusted = JournalStore(database="shop", vault=self.world, sealer=self.sealer, copies=3)
        self.run = Run(
            source=self.source,
            capture=self.capture,
            sealer=self.sealer,
            vault=self.vault,
            journals=self.journals,
            origin=Origin(host="node-1", by="test"),
            patience=0.0,
        )
        self.journals.begin()
        self.full()
        self.source.commit(10)
        self.hourly()
        self.source.commit(100)

    def full(self) -> None:
        self.run.finish(self.run.full())

    def hourly(self) -> None:
        done = self.run.hourly()
        if not isinstance(done, Covered):
            self.run.finish(done)

    def gap(self) -> None:
        self.capture.doubt = "something was rewritten"
        self.hourly()

    def unreadable(self) -> None:
        self.capture.unreadable = self.capture.unreadable or self.capture.slot
        self.hourly()

    def overtaken(self) -> None:
        """Two runs at once, of which one is faster."""
        self.source.commit(0)  # they have something to carry, also when this is run again
        early, late = self.run.hourly(), self.run.hourly()
        assert isinstance(early, Stored)
        assert isinstance(late, Stored)
        self.run.finish(early)
        with pytest.raises(JournalMovedOn):
            self.run.finish(late)
        self.run.again(late.backup, until=late.backup.cut.time)

    def recorded_twice(self) -> None:
        """A try that had lost its connection when it recorded, and the try after it."""
        done = self.run.hourly()
        assert isinstance(done, Stored)
        entry = self.run.finish(done)
        assert self.run.again(done.backup, until=None) == entry

    def require_sound(self) -> None:
        journal = self.trusted.head().journal
        for part in (part for entry in journal.entries for part in entry.backup.parts):
            for peer in self.world.peers:
                read = Meter([peer.objects[part.cid]])
                read.drain()
                assert ciphertext(part).is_read_by(read), f"{peer.name} does not have {part.name}"
        chain.links(journal)  # raises unless they touch
        assert set(self.source.released) <= {entry.sequence for entry in journal.entries}

    def rows(self) -> int:
        target = MemoryTarget()
        restore.restore(plan(self.trusted.head().journal, Point()), self.sealer, self.world, target)
        assert target.database
        return target.database.totals.rows


SCENES: Mapping[str, Callable[[Node], None]] = {
    "hourly": Node.hourly,
    "full": Node.full,
    "gap": Node.gap,
    "unreadable": Node.unreadable,
    "overtaken": Node.overtaken,
    "recorded twice": Node.recorded_twice,
}


def touches(scene: str) -> int:
    """How often one undisturbed run writes to the vault."""
    node = Node()
    before = node.vault.calls
    SCENES[scene](node)
    node.require_sound()
    assert node.rows() == 113
    return node.vault.calls - before


MOMENTS = [(scene, moment) for scene in SCENES for moment in range(1, touches(scene) + 1)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("scene", "moment"), MOMENTS)
def test_killed_anywhere_and_run_again(scene: str, moment: int, when: When) -> None:
    node = Node()
    node.vault.calls, node.vault.fatal = 0, (moment, when)
    try:
        SCENES[scene](node)
    except Killed:
        node.require_sound()
        node.vault.fatal = None
        SCENES[scene](node)
    node.require_sound()
    assert node.rows() == 113
