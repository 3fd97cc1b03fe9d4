"""Databases that are nothing but a number of rows: what is backed up, and what it comes back into."""

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pgkeep.ancestry import Blank, Failures
from pgkeep.errors import ConfigError, Disturbed, Unavailable
from pgkeep.inventory import Inventory, LargeObjects, Properties, SequenceState, Table
from pgkeep.model import Cut, Digest, Entry, Instant, instant
from pgkeep.ports import Fresh, Occupant, Refused, Snapshot
from pgkeep.visibility import visible

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A committed transaction: it added that many rows."""

    xid: int
    rows: int
    time: Instant


@dataclass
class MemorySource:
    """A database that is nothing but its inventory. `dies_after`: bytes of dump after which pg_dump is killed.

    `disturbances`: how many dumps from now on find a table rewritten. `dumping`: moments that are open.
    `filling`: bytes in a dump beside its rows, other ones at each moment.
    """

    holding: Inventory = field(default_factory=sample_inventory)
    dies_after: int | None = None
    disturbances: int = 0
    dumping: int = 0
    filling: int = 5000
    history: list[Done] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def commit(self, rows: int) -> int:
        """Adds rows, and returns the transaction's id. Every transaction takes a second."""
        before = self.holding
        xid = visible(before.cut.snapshot).xmax
        second = datetime.fromisoformat(before.cut.time) + timedelta(seconds=1)
        after = sample_inventory(rows=before.totals.rows + rows)
        cut = Cut(snapshot=f"{xid + 1}:{xid + 1}:", lsn=f"0/{xid:X}", time=instant(second))
        self.holding = replace(after, dbname=before.dbname, cut=cut)
        self.history.append(Done(xid=xid, rows=rows, time=instant(second)))
        return xid

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self.disturbances, disturbed = max(0, self.disturbances - 1), self.disturbances > 0
        self.dumping += 1
        try:
            yield MemorySnapshot(self.holding, dies_after=self.dies_after, disturbed=disturbed, filling=self.filling)
        finally:
            self.dumping -= 1

    @contextmanager
    def at_rest(self) -> Iterator[bool]:
        with self.exclusively():
            yield not self.dumping

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
    disturbed: bool = False
    filling: int = 5000

    @property
    def cut(self) -> Cut:
        return self.holding.cut

    @property
    def server_version(self) -> int:
        return self.holding.server_version

    def dump(self) -> Iterator[bytes]:
        if self.disturbed:
            raise Disturbed("document was rewritten", next_step="run it again")
        filling = hashlib.shake_128(self.cut.snapshot.encode()).hexdigest(self.filling // 2)
        text = json.dumps({"rows": self.holding.totals.rows, "filling": filling}).encode()
        yield text[: self.dies_after]
        if self.dies_after is not None:
            raise Unavailable("pg_dump was killed", next_step="run it again")

    def globals(self) -> Iterator[bytes]:
        yield b"CREATE ROLE keeper;\n"

    def inventory(self) -> Inventory:
        return self.holding


@dataclass
class MemoryTarget:
    """A server with at most one database of interest. `loses_rows`: what pg_restore forgets, to be noticed.

    `refuses`: what it says to any changes. `redefined`: whether changes define something otherwise than the source did.
    `standing`: the identity of the database that is there; `elsewhere`: of others on the server; `server`: of that;
    `major`: its version.
    """

    database: Inventory | None = None
    loses_rows: int = 0
    refuses: str | None = None
    redefined: bool = False
    leftovers: int = 0
    settled: int = 0
    label: str = "memory/shop"
    made: int = 0
    standing: str = "first"
    elsewhere: set[str] = field(default_factory=set)
    server: str = "memory"
    major: int = 18

    def system(self) -> str:
        return self.server

    def require_free(self, *, replace: bool) -> None:
        if self.database is not None and not replace:
            raise ConfigError(f"{self.label} is not empty", next_step="replace")

    def require_able(self, inventory: Inventory) -> None:
        if inventory.server_version // 10_000 > self.major:
            raise ConfigError(f"{self.label} is PostgreSQL {self.major}", next_step="restore into a newer one")

    def occupant(self) -> Occupant | None:
        if self.database is None:
            return None
        totals = self.database.totals
        return Occupant(identity=self.standing, size=8192, tables=totals.tables, rows=totals.rows, sessions=0)

    def holds(self, identity: str) -> bool:
        return identity in {*self.elsewhere, self.standing if self.database else None}

    def fresh(self, inventory: Inventory) -> AbstractContextManager[Fresh]:
        return self._fresh(inventory)

    def blank(self) -> AbstractContextManager[Blank]:
        return self._blank()

    @contextmanager
    def _blank(self) -> Iterator[Blank]:
        with self._fresh(sample_inventory()) as fresh:
            yield MemoryBlank(fresh)

    @contextmanager
    def _fresh(self, inventory: Inventory) -> Iterator["MemoryFresh"]:
        self.require_able(inventory)
        self.leftovers += 1
        self.made += 1
        try:
            yield MemoryFresh(self, inventory, identity=f"made-{self.made}")
        finally:
            self.leftovers -= 1


@dataclass
class MemoryFresh:
    """A database beside the target. In the changes of a MemoryCapture, a number is that many rows more."""

    target: MemoryTarget
    source: Inventory
    rows: int = 0
    last_value: int = 0
    definitions: str = "CREATE TABLE document"
    identity: str = "made-0"

    def load(self, dump: Iterable[bytes], *, sequences: Sequence[SequenceState] | None = None) -> None:
        self.rows = json.loads(b"".join(dump))["rows"] - self.target.loses_rows
        self.last_value = self.source.sequences[0].last_value

    def apply(self, changes: Iterable[bytes]) -> None:
        if self.target.refuses:
            raise Refused(self.target.refuses)
        if self.target.redefined:
            self.definitions = "CREATE UNLOGGED TABLE document"
        for line in b"".join(changes).decode().splitlines():
            if line.isdigit():
                self.rows += int(line)
            elif line.startswith("setval "):
                self.last_value = int(line.split()[1])

    def settle(self) -> None:
        self.target.settled += 1

    def inventory(self, like: Inventory) -> Inventory:
        table = Table(schema="public", name="document", rows=self.rows, fingerprint=str(self.rows * 7919))
        sequence = SequenceState(schema="public", name="document_id_seq", last_value=self.last_value, is_called=True)
        return replace(like, tables=(table,), sequences=(sequence,))

    def schema(self) -> Digest:
        return Digest(hashlib.sha256(self.definitions.encode()).hexdigest())

    def take_place(self, *, replace: bool) -> str | None:
        self.target.require_free(replace=replace)
        old, self.target.database = self.target.database, self.inventory(self.source)
        if old:
            self.target.elsewhere.add(self.target.standing)
        self.target.standing = self.identity
        return "shop_before" if old else None


@dataclass
class MemoryBlank:
    """A database that scripts make. In them, a line that is a number is that many rows more; `bad` fails."""

    fresh: MemoryFresh

    def load(self, archive: Iterable[bytes], *, keep_going: bool) -> Failures:
        """Of an archive, the lines behind the first one are such a script."""
        return self.run([b"".join(archive).partition(b"\n")[2]], keep_going=keep_going)

    def run(self, script: Iterable[bytes], *, keep_going: bool) -> Failures:
        failed = list[str]()
        for number, line in enumerate(b"".join(script).decode().splitlines(), start=1):
            if line == "bad":
                failed.append(f"line {number}: it is bad")
                if not keep_going:
                    raise Refused(failed[0])
            elif line.isdigit():
                self.fresh.rows += int(line)
        return Failures(count=len(failed), said=tuple(failed))

    def take_place(self, *, replace: bool) -> str | None:
        return self.fresh.take_place(replace=replace)
