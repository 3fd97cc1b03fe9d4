"""A node with three peers, all in memory, whose backups are audited."""

from datetime import timedelta

from pgkeep import backup
from pgkeep.audit import Audit, Report
from pgkeep.journal_store import JournalStore
from pgkeep.model import Cid, Entry, Origin, Replicated, Stored
from pgkeep.pin_names import name_prefix
from pgkeep.ports import Vault
from pgkeep.testing import MemoryPeer, MemorySealer, MemorySource, MemoryVault

ORIGIN = Origin(host="node-1", by="test")
AT_ONCE = timedelta(0)


class AuditedNode:
    """`outside`: the vault as the node sees it, if that is not the double itself. `patience`: seconds for copies."""

    def __init__(
        self,
        outside: Vault | None = None,
        *,
        memory: MemoryVault | None = None,
        copies: int = 3,
        database: str = "shop",
        patience: float = 0.0,
    ) -> None:
        self.memory = memory or MemoryVault()
        self.vault: Vault = outside or self.memory
        self.sealer = MemorySealer()
        self.source = MemorySource()
        self.patience = patience
        self.journals = JournalStore(
            database=database, vault=self.vault, sealer=self.sealer, copies=copies, patience=patience
        )
        self.journals.begin()

    @property
    def copies(self) -> int:
        return self.journals.copies

    def store(self) -> Stored:
        return backup.capture(self.source, self.sealer, self.vault, self.journals, origin=ORIGIN)

    def replicated(self) -> Replicated:
        sealed = backup.check(self.store(), self.sealer, self.vault)
        return backup.replicate(sealed, self.vault, copies=self.copies, patience=self.patience)

    def full(self) -> Entry:
        self.source.commit(1)
        return backup.record(self.replicated(), self.source, self.journals, self.vault)

    def audit(self, *, share: float = 1.0, grace: timedelta = AT_ONCE, dry_run: bool = False) -> Report:
        story = Audit(
            source=self.source,
            sealer=self.sealer,
            vault=self.vault,
            journals=self.journals,
            share=share,
            grace=grace,
            patience=self.patience,
        )
        return story.run(dry_run=dry_run)

    def peer(self, name: str) -> MemoryPeer:
        return next(peer for peer in self.memory.peers if peer.name == name)

    def named(self, kind: str) -> list[Cid]:
        """What is pinned as that, whoever knows of it."""
        names = self.vault.listing(f"{name_prefix(self.journals.database)}{kind}").names
        return sorted({cid for cids in names.values() for cid in cids})

    def require_whole(self, *, copies: int | None = None) -> None:
        """Every object that the journal names is whole at enough peers, and the journal's versions are."""
        journal = self.journals.head().journal
        wanted = {part.cid for entry in journal.entries for part in entry.backup.parts} | set(self.named("journal"))
        for cid in wanted:
            whole = [peer.name for peer in self.memory.peers if peer.has_whole(cid)]
            assert len(whole) >= (copies or self.copies), f"{cid} is whole at {whole} only"
