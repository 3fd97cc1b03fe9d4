"""A node over the doubles: three peers, and a database whose changes are kept."""

from pgkeep.changes import Run
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.model import Entry, Origin, Stored
from pgkeep.testing import MemoryCapture, MemorySealer, MemorySource, MemoryVault

ORIGIN = Origin(host="node-1", by="test")


class MemoryNode:
    """Its journal has begun, and nothing is kept yet."""

    def __init__(self) -> None:
        self.vault = MemoryVault()
        self.sealer = MemorySealer()
        self.source = MemorySource()
        self.capture = MemoryCapture(self.source)
        self.journals = JournalStore(database="shop", vault=self.vault, sealer=self.sealer, copies=3, patience=0.0)
        self.run = Run(
            source=self.source,
            capture=self.capture,
            sealer=self.sealer,
            vault=self.vault,
            journals=self.journals,
            origin=ORIGIN,
            patience=0.0,
        )
        self.journals.begin()

    def full(self) -> Entry:
        return self.run.finish(self.run.full())

    def hourly(self) -> Entry:
        done = self.run.hourly()
        assert isinstance(done, Stored)
        return self.run.finish(done)

    @property
    def journal(self) -> Journal:
        return self.journals.head().journal
