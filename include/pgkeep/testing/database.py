"""Databases that are nothing but their inventories."""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from pgkeep.errors import ConfigError, Unavailable
from pgkeep.inventory import Inventory, LargeObjects, Properties, SequenceState, Table
from pgkeep.model import Cut, Entry, Instant
from pgkeep.ports import Fresh, Snapshot

SAMPLE_PROPERTIES = Properties(
    owner="keeper",
    encoding="UTF8",
    provider="libc",
    collate="C",
    ctype="C",
    locale=None,
    comment=None,
    default_grants=True,
    grants=(),
    settings=(),
)


def sample_inventory(dbname: str = "shop", *, rows: int = 3) -> Inventory:
    """A small inventory, as plausible as it needs to be."""
    return Inventory(
        dbname=dbname,
        server_version=150018,
        cut=Cut(snapshot="10:12:", lsn="0/16B3748", time=Instant("2026-01-02T03:04:05.000000Z")),
        properties=SAMPLE_PROPERTIES,
        roles=("keeper",),
        ignored=(),
        tables=(Table(schema="public", name="document", rows=rows, fingerprint=str(rows * 7919)),),
        sequences=(SequenceState(schema="public", name="document_id_seq", last_value=rows, is_called=True),),
        large_objects=LargeObjects(count=0, fingerprint=None),
    )


@dataclass
class MemorySource:
    """A database that is nothing but its inventory. `dies_after`: bytes of dump after which pg_dump is killed."""

    holding: Inventory = field(default_factory=sample_inventory)
    dies_after: int | None = None
    released: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        yield MemorySnapshot(self.holding, dies_after=self.dies_after)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=10):
            raise Unavailable("somebody else writes", next_step="wait")
        try:
            yield
        finally:
            self._lock.release()

    def release(self, entry: Entry) -> None:
        self.released.append(entry.sequence)


@dataclass
class MemorySnapshot:
    """The moment of a MemorySource; its dump is the inventory's JSON and some filling."""

    holding: Inventory
    dies_after: int | None = None

    @property
    def cut(self) -> Cut:
        return self.holding.cut

    @property
    def server_version(self) -> int:
        return self.holding.server_version

    def dump(self) -> Iterator[bytes]:
        text = json.dumps({"rows": self.holding.totals.rows, "filling": "x" * 5000}).encode()
        yield text[: self.dies_after]
        if self.dies_after is not None:
            raise Unavailable("pg_dump was killed", next_step="run it again")

    def globals(self) -> Iterator[bytes]:
        yield b"CREATE ROLE keeper;\n"

    def inventory(self) -> Inventory:
        return self.holding


@dataclass
class MemoryTarget:
    """A server with at most one database of interest. `loses_rows`: what pg_restore forgets, to be noticed."""

    database: Inventory | None = None
    loses_rows: int = 0
    leftovers: int = 0
    label: str = "memory/shop"

    def require_free(self, *, replace: bool) -> None:
        if self.database is not None and not replace:
            raise ConfigError(f"{self.label} is not empty", next_step="--replace")

    def fresh(self, inventory: Inventory) -> AbstractContextManager[Fresh]:
        return self._fresh(inventory)

    @contextmanager
    def _fresh(self, inventory: Inventory) -> Iterator[Fresh]:
        self.leftovers += 1
        try:
            yield MemoryFresh(self, inventory)
        finally:
            self.leftovers -= 1


@dataclass
class MemoryFresh:
    """A database beside the target."""

    target: MemoryTarget
    source: Inventory
    rows: int = 0

    def load(self, dump: Iterable[bytes]) -> None:
        self.rows = json.loads(b"".join(dump))["rows"] - self.target.loses_rows

    def inventory(self, like: Inventory) -> Inventory:
        table = replace(like.tables[0], rows=self.rows, fingerprint=str(self.rows * 7919))
        return replace(like, tables=(table,))

    def take_place(self, *, replace: bool) -> str | None:
        self.target.require_free(replace=replace)
        old, self.target.database = self.target.database, self.inventory(self.source)
        return "shop_before" if old else None
