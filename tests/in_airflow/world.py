"""The shipped doubles, put together as an operator finds them."""

from typing import Any, cast

from pgkeep.journal_store import JournalStore
from pgkeep.settings import Database
from pgkeep.site import Site
from pgkeep.testing import MemoryCapture, MemorySealer, MemorySource, MemoryTarget, MemoryVault


class World:
    """One node with three peers and a database, all in memory; `site` opens it as the hook would."""

    def __init__(self) -> None:
        self.vault = MemoryVault()
        self.sealer = MemorySealer()
        self.source = MemorySource()
        self.capture: MemoryCapture | None = None
        self.journals = JournalStore(database="shop", vault=self.vault, sealer=self.sealer, copies=3, patience=0.0)
        self.scratch = MemoryTarget()
        self.production = MemoryTarget()
        self.settings: dict[str, Any] = {}
        self.replication_seconds = 3600.0
        self.journals.begin()

    def site(self, database: str) -> Site:
        return Site(
            database=Database(
                name=database,
                connection="pgkeep_source",
                dbname=database,
                keep_last=1,
                keep_daily=0,
                keep_weekly=0,
                keep_monthly=0,
                keep_yearly=0,
                keep_hourly=0,
                min_full=1,
                **self.settings,
            ),
            copies=3,
            replication_seconds=self.replication_seconds,
            vault=cast(Any, self.vault),
            sealer=cast(Any, self.sealer),
            source=cast(Any, self.source),
            capture=cast(Any, self.capture),
            slot="pgkeep_shop",
            journals=self.journals,
            scratch=lambda: self.scratch,
            targets={"production": lambda _: self.production, "scratch": lambda _: self.scratch},
        )
