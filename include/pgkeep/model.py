"""The records that travel down the way of a backup. Each says how far it got; none ever changes.

    Stored  ->  Sealed  ->  Replicated  ->  Entry

`Stored`: the bytes are in this node's own peer. `Sealed`: they were read back and are encrypted for exactly the
configured keys. `Replicated`: enough distinct peers have them. `Entry`: the journal names them; only now it is a
backup.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NewType

Cid = NewType("Cid", str)
"""IPFS content identifier (CIDv1, base32) of an object's ciphertext."""
Digest = NewType("Digest", str)
"""SHA-256, 64 lower-case hexadecimal digits."""
KeyFingerprint = NewType("KeyFingerprint", str)
"""OpenPGP fingerprint of a primary key, upper-case hexadecimal digits."""
PeerId = NewType("PeerId", str)
"""Identity of a Kubo daemon in the swarm: two cluster peers on one Kubo are one copy."""
Instant = NewType("Instant", str)
"""A moment in UTC, ISO 8601 with microseconds and a trailing Z: text order is time order."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """What has another value when something was changed that no row shows: catalogs (quick, now and then a false alarm)
    and schema, the database's own properties, roles, large objects, sequences. `tables`: by name, of those that are
    looked at as a whole. `ignored`: the tables whose rows are not kept.
    """

    catalogs: str
    schema: Digest
    properties: Digest
    globals: Digest
    large_objects: str
    sequences: Digest
    tables: Mapping[str, str]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPosition:
    """Where a source with a replication slot stands at a cut, so that the next window is known to begin exactly there.

    `slot` has kept the WAL from `retained` (an LSN) on; `token` was written into it right after the cut. `system`,
    `timeline`, `database` and `publication` (their oids) say which history that is. `altered`: when the newest
    transaction ended whose DDL is in what is kept. The rest are witnesses, too. `triggers`: of our own event triggers;
    `definitions`: of each object, by the oids of its catalog and its own; `identities`: by table (its oid), the columns
    that are GENERATED ALWAYS AS IDENTITY.
    """

    slot: str
    system: str
    timeline: int
    database: int
    publication: int
    retained: str
    token: str
    altered: Instant
    triggers: str
    definitions: Mapping[str, str]
    identities: Mapping[str, tuple[str, ...]]
    witnesses: Witnesses


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """Where a source whose log is read stands at a cut, so that the next window is known to begin exactly there.

    `system`, `timeline` and `database` (its oid) say which history that is; `started`: when the server was; `settings`:
    what it logs.
    """

    system: str
    timeline: int
    database: int
    started: str
    settings: Digest
    witnesses: Witnesses


Position = SlotPosition | LogPosition
Exactness = Literal["proven", "not proven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How an entry carries the changes on: from the cut `since` (None: they begin here) to its own.

    `position` is kept for the chain's end alone: what is before it, nothing begins at any more.
    `gap`: why nothing carries from there to here, else None. `exact`: whether the way in which they were collected
    proves that nothing is missing; else only a comparison does. `stale`: tables that are right at the entry's cut only,
    not at the moments in between.
    """

    since: Cut | None
    position: Position | None
    gap: str | None
    exact: Exactness
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
class Covered:
    """Nothing was to do: an entry shows that moment, or a later one, already."""

    entry: Entry


def now() -> Instant:
    """This moment, by this machine's clock."""
    return instant(datetime.now(UTC))


def instant(moment: datetime) -> Instant:
    """An aware datetime as the text that records carry."""
    return Instant(moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
