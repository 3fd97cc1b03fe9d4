"""The records that travel down the way of a backup. Each says how far it got; none ever changes.

    Stored  ->  Sealed  ->  Replicated  ->  Entry

`Stored`: the bytes are in this node's own peer. `Sealed`: they were read back and are encrypted for exactly the
configured keys. `Replicated`: enough distinct peers have them. `Entry`: the journal names them; only now it is a
backup.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pgkeep.positions import LogPosition as LogPosition
from pgkeep.positions import Position as Position
from pgkeep.positions import SlotPosition as SlotPosition
from pgkeep.positions import TableCounts as TableCounts
from pgkeep.positions import Witnesses as Witnesses
from pgkeep.scalars import Cid as Cid
from pgkeep.scalars import Digest as Digest
from pgkeep.scalars import Instant as Instant
from pgkeep.scalars import KeyFingerprint as KeyFingerprint
from pgkeep.scalars import PeerId as PeerId
from pgkeep.scalars import instant as instant
from pgkeep.scalars import is_cid as is_cid
from pgkeep.scalars import now as now

Kind = Literal["full", "changes", "gap"]
"""`full`: the whole database. `changes`: what was committed since the cut before. `gap`: nothing carries from there."""
PartName = Literal["dump", "globals", "inventory", "changes", "ancestry"]
"""`ancestry`: the journal of LPBM, if that kept the database before; with the first full backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The moment a backup shows: exactly the transactions visible in `snapshot` (pg_current_snapshot as text)."""

    snapshot: str
    lsn: str
    time: Instant


Exactness = Literal["proven", "not proven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How an entry carries the changes on: from the cut `since` (None: they begin here) to its own.

    `position` is kept for the chain's end alone: what is before it, nothing begins at any more.
    `gap`: why nothing carries from there to here, else None. `exact`: whether the way in which they were collected
    proves that nothing is missing, else only a comparison does; None of a gap. `stale`: tables that are right at the
    entry's cut only, not at the moments in between.
    """

    since: Cut | None
    position: Position | None
    gap: str | None
    exact: Exactness | None
    transactions: int
    changes: int
    stale: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One object in the vault: size in bytes and digest of its ciphertext, and of the plaintext before compression."""

    name: PartName
    cid: Cid
    size: int
    digest: Digest
    plain_size: int
    plain_digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The inventory in a nutshell. `fingerprint`: SHA-256 over the inventory's tables and sequences."""

    tables: int
    rows: int
    sequences: int
    large_objects: int
    fingerprint: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who made a backup: `by` names a run (`airflow:<dag>/<run>/<try>`) or a command (`cli`)."""

    host: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was captured of one database. `number`: the journal version that was to name it when capture began.

    A `full` has totals, all else a link. A quiet hour has no parts.
    """

    database: str
    kind: Kind
    number: int
    cut: Cut
    server_version: int
    parts: tuple[Part, ...]
    totals: Totals | None
    link: Link | None
    origin: Origin
    seconds: float

    def part(self, name: PartName) -> Part | None:
        """The part of that name, or None."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def size(self) -> int:
        """Bytes in the vault, one copy."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """All parts are pinned in this node's own peer."""

    backup: Backup


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """All parts were read back: the very bytes that gpg had encrypted for exactly `recipients`, and signed by `signer`.

    The signature is inside the encryption, where a node cannot look. That it is there is gpg's word when it was made
    (SIG_CREATED, without which sealing fails), and the digest says that these are still those bytes.
    """

    backup: Backup
    recipients: tuple[KeyFingerprint, ...]
    signer: KeyFingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One peer holds every byte of an object. `read_back`: the bytes were read there; else the cluster says so."""

    peer: PeerId
    name: str
    read_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """Every part is held by at least `copies` distinct peers; `holders` by CID."""

    sealed: Sealed
    copies: int
    holders: Mapping[str, tuple[Copy, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the journal: a backup that exists. `sequence`: the journal version that first named it."""

    sequence: int
    recorded: Instant
    backup: Backup
    recipients: tuple[KeyFingerprint, ...]
    signer: KeyFingerprint
    copies: int
    holders: Mapping[str, tuple[Copy, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way back, as a drill took it: from the full backup `base`, by all changes since, to what entry `last` shows.

    `seconds`: from the first byte read to a database that was compared. `failure`: what was not as at the source, or
    None.
    """

    base: int
    last: int
    seconds: float
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a drill has found out about a full backup, entry `entry`, reading from the peer `peer` (`name`) alone.

    `ways`: the full backup by itself first; then, where there are any, the changes from it to the newest moment, and
    those that lead from the full backup before it to this one.
    """

    entry: int
    time: Instant
    origin: Origin
    peer: PeerId
    name: str
    ways: tuple[Way, ...]

    @property
    def proven(self) -> bool:
        """Whether the full backup by itself came back equal to its source."""
        return any(way.failure is None for way in self.ways[:1])

    @property
    def failure(self) -> str | None:
        """What was wrong first, or None."""
        return next((way.failure for way in self.ways if way.failure is not None), None)

    @property
    def previous(self) -> int | None:
        """The full backup before it, from which the changes gave exactly this one; None if that was not to be shown."""
        return next((way.base for way in self.ways if way.base != self.entry and way.failure is None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """Nothing was to do: an entry shows that moment, or a later one, already."""

    entry: Entry
