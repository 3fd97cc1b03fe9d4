"""The changes of a MemorySource, kept and carried on as a replication slot would do it."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pgkeep import chain
from pgkeep.delta import header, marker
from pgkeep.errors import ConfigError, LogUnavailable
from pgkeep.inventory import Update
from pgkeep.model import Backup, Cut, Digest, Instant, Link, SlotPosition, Witnesses
from pgkeep.ports import Inexact, Unreadable, Window
from pgkeep.visibility import visible

from .database import MemorySnapshot, MemorySource

NOTHING = Digest(hashlib.sha256().hexdigest())


def sample_position(slot: str = "", *, lsn: str = "0/0", anew: bool = True) -> SlotPosition:
    """Where a source stands that has nothing but the one slot, which keeps its WAL from `lsn` on.

    `anew`: whether it says what is defined, or leaves that out because it is as it was at the cut before.
    """
    return SlotPosition(
        slot=slot,
        system="1",
        timeline=1,
        database=1,
        publication=1,
        retained=lsn,
        token=lsn,
        altered=Instant("2000-01-01T00:00:00.000000Z"),
        triggers="",
        definitions={} if anew else None,
        identities={},
        tables={},
        witnesses=Witnesses(
            catalogs="",
            schema=NOTHING,
            properties=NOTHING,
            globals=NOTHING,
            large_objects="",
            sequences=NOTHING,
            ignored=(),
        ),
    )


@dataclass
class MemoryCapture:
    """`slot`: the token of the slot's beginning, None where there is none. `doubt`: what cannot be carried exactly.
    `unreadable`: the token of a slot that nobody can read. `log_missing`: why there is no log now.

    `dumping`: whether another run makes up for a missing full backup at the moment. `refuses`: why it cannot begin.
    """

    source: MemorySource
    slot: str | None = None
    doubt: str | None = None
    dumping: bool = False
    refuses: str | None = None
    unreadable: str | None = None
    log_missing: str | None = None

    def spare_disk(self) -> None:
        """There is no disk."""

    def require_log(self) -> None:
        if self.log_missing:
            raise LogUnavailable(self.log_missing, next_step="mount it")

    def broken(self, last: Backup) -> str | None:
        position = chain.position_of(last)
        assert isinstance(position, SlotPosition)
        return None if self.slot == position.slot else "the slot is lost"

    @contextmanager
    def begin(self, last: Backup | None) -> Iterator[Window]:
        if self.refuses:
            raise ConfigError(self.refuses, next_step="rename it")
        self.slot = secrets.token_hex(4)
        yield self._window(last, begins=True)

    @contextmanager
    def window(self, last: Backup) -> Iterator[Window]:
        yield self._window(last, begins=False)

    def _window(self, last: Backup | None, *, begins: bool) -> "MemoryWindow":
        since = last.cut if last else None
        with self.source.snapshot() as seen:
            return MemoryWindow(capture=self, since=since, begins=begins, **vars(seen))


@dataclass
class MemoryWindow(MemorySnapshot):
    """A moment of the source, and the transactions since the one before."""

    capture: MemoryCapture = field(kw_only=True)
    since: Cut | None = field(kw_only=True)
    begins: bool = field(kw_only=True)
    transactions: int = 0

    def changes(self) -> Iterator[bytes]:
        assert self.since
        before, now = visible(self.since.snapshot), visible(self.holding.cut.snapshot)
        nonce = secrets.token_hex(16)
        found = [done for done in self.capture.source.history if done.xid in now and done.xid not in before]
        for done in found:
            if not self.transactions:
                yield header(nonce)
            yield marker(nonce, "transaction", done.xid, "0/0", done.time) + f"{done.rows}\n".encode()
            self.transactions += 1
        if self.capture.slot == self.capture.unreadable:
            raise Unreadable("what is in it cannot be decoded")
        if self.capture.doubt:
            raise Inexact(self.capture.doubt)
        if found:
            last = self.holding.sequences[0].last_value
            yield marker(nonce, "cut") + f"setval {last}\n".encode() + marker(nonce, "tables")

    def update(self) -> Update:
        return Update(
            cut=self.cut,
            properties=self.holding.properties,
            roles=self.holding.roles,
            tables=self.holding.tables,
            unmeasured=(),
            all_unmeasured=False,
            sequences=self.holding.sequences,
        )

    def link(self, *, gap: str | None) -> Link:
        assert self.capture.slot
        return Link(
            since=self.since,
            position=sample_position(self.capture.slot, lsn=self.cut.lsn, anew=self.begins),
            gap=gap,
            exact="proven" if gap is None else None,
            transactions=self.transactions,
            changes=self.transactions,
            stale=(),
        )

    def alone(self) -> bool:
        return not self.capture.dumping
