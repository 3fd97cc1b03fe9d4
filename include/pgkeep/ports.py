"""What the stories ask of the world. Each port has a shipped double in `pgkeep.testing` and a real adapter; one suite
of contract tests runs over both.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pgkeep.inventory import Inventory, SequenceState, Update
from pgkeep.model import Backup, Cid, Cut, Digest, Entry, KeyFingerprint, Link, PeerId

Audience = Literal["backup", "journal"]
"""Who can read an object: `backup`: the recipients; `journal`: the recipients and this node's own key."""

Watch = Callable[[str, Iterator[bytes]], Iterator[bytes]]
"""Passes a named stream of chunks through unchanged, and may tell somebody how far it is."""


class Inexact(Exception):
    """Changes cannot be carried exactly. `reason`: why, for people. The run then makes a full backup instead (I8)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreadable(Inexact):
    """What the source keeps for us cannot be read at all, now or later: the chain begins anew, not only at this cut."""


class Refused(Exception):
    """A target does not take changes. `reason`: what it says to that, for people, without the statement or its row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Snapshot(Protocol):
    """One moment of the source, held open. All three show exactly the transactions of `cut`."""

    @property
    def cut(self) -> Cut: ...

    @property
    def server_version(self) -> int:
        """As PostgreSQL counts: 150018 is 15.18."""

    def dump(self) -> Iterator[bytes]:
        """`pg_dump -Fc -Z0`. Ends without an error only if pg_dump did, and no table was rewritten meanwhile.

        Raises Unavailable (connection lost, pg_dump ended early, a table was rewritten between snapshot and lock),
        ConfigError (a privilege is missing). The caller closes the iterator when it stops early.
        """

    def globals(self) -> Iterator[bytes]:
        """`pg_dumpall --globals-only`: roles and tablespaces as SQL. Errors as in `dump`."""

    def inventory(self) -> Inventory:
        """Counts and fingerprints of what `dump` wrote, and the sequences as they stood when it began.

        Call it after `dump` has ended. Raises Unavailable, ConfigError, Corrupted (the server reports damaged data).
        """


class Window(Snapshot, Protocol):
    """A moment, and everything that was committed between the cut before it and its own."""

    def changes(self) -> Iterator[bytes]:
        """SQL that psql alone can apply to the database as it was at the cut before.

        Raises Inexact, Unreadable, Unavailable, ...

        Empty if nothing was changed. The caller closes the iterator when it stops early.
        """

    def update(self) -> Update:
        """What the changes did to the inventory. Call it after `changes` has ended."""

    def link(self, *, gap: str | None) -> Link:
        """How the chain goes on at this cut. Without a gap, call it after `changes` has ended.

        Raises Inexact (without a gap only): the changes do not explain what the source holds now.
        """

    def alone(self) -> bool:
        """Whether no other run is making up for a missing full backup at the moment; this one then is."""


class Capture(Protocol):
    """Carries the changes of a database from cut to cut."""

    def spare_disk(self) -> None:
        """Lets go of what the source keeps for us if it is more than it may be. Raises Unavailable, ConfigError."""

    def broken(self, last: Backup) -> str | None:
        """Why the changes since that link cannot be had any more, or None. Raises Unavailable, ConfigError."""

    def begin(self, last: Backup | None) -> AbstractContextManager[Window]:
        """A cut from which on the source keeps every change; `last`: the chain's end so far. The source is held
        exclusively. What was kept from an earlier beginning is let go. Raises Unavailable, ConfigError.
        """

    def window(self, last: Backup) -> AbstractContextManager[Window]:
        """A cut now, and the changes since that link. Raises Unavailable, ConfigError."""


class Source(Protocol):
    """A database that is backed up."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Opens a moment. Raises Unavailable (server does not answer) or ConfigError (unknown database, privileges)."""

    def exclusively(self) -> AbstractContextManager[None]:
        """At most one holder at a time among all who write this database's journal, on whatever host.

        Raises Unavailable when another holder does not let go in time, or the server does not answer.
        """

    def at_rest(self) -> AbstractContextManager[bool]:
        """As `exclusively`; gives whether no dump of this database runs anywhere. If so, none begins before the end."""

    def release(self, entry: Entry) -> None:
        """The source may forget what `entry` covers. Where it keeps nothing for us there is nothing to do.

        Raises Unavailable.
        """


class Fresh(Protocol):
    """A new database under a temporary name, not yet in anybody's way."""

    def apply(self, changes: Iterable[bytes]) -> None:
        """Applies the SQL of a window, all of it or the part before a stop. Any error is fatal.

        What `changes` raises comes out unchanged. Raises Refused, Unavailable, ConfigError (may not apply changes).
        """

    def settle(self) -> None:
        """After the last window: what follows from the tables is computed anew. Raises NotRestorable, Unavailable."""

    def load(self, dump: Iterable[bytes], *, sequences: Sequence[SequenceState] | None = None) -> None:
        """Restores a `pg_dump -Fc` stream; then the sequences stand as given, or as the inventory says. Any error is
        fatal.

        Raises NotRestorable, Unavailable, ConfigError (no fitting pg_restore here).
        """

    def inventory(self, like: Inventory) -> Inventory:
        """What it holds now, measured as `like` was (same ignored tables)."""

    def schema(self) -> Digest:
        """A digest of `pg_dump --schema-only`: the same for what is defined alike. Raises Unavailable, ConfigError."""

    def take_place(self, *, replace: bool) -> str | None:
        """Gives it the target's name. Returns the name under which a replaced database stays, or None."""


class Target(Protocol):
    """A database that is to be brought back."""

    @property
    def label(self) -> str:
        """Where it is, for people, without a password: `host:port/database`."""

    def require_free(self, *, replace: bool) -> None:
        """Raises ConfigError if a database with anything in it stands there and `replace` is not said."""

    def fresh(self, inventory: Inventory) -> AbstractContextManager[Fresh]:
        """A new database of the nature that `inventory` describes; dropped on leaving unless it took its place.

        Raises ConfigError (may not create databases, older server than the source's), Unavailable.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An OpenPGP message from outside: the keys it is encrypted for, and whether a change would be noticed."""

    recipients: frozenset[KeyFingerprint]
    unknown: frozenset[str]
    integrity_protected: bool


class Complaint(Protocol):
    """Something that somebody should see to. `fatal`: no backup is made as long as it is so."""

    @property
    def fatal(self) -> bool: ...

    @property
    def what(self) -> str: ...

    @property
    def next_step(self) -> str: ...


class Sealer(Protocol):
    """Compression, encryption and signature, both ways."""

    @property
    def signer(self) -> KeyFingerprint:
        """This node's own key."""

    def readers(self, audience: Audience) -> frozenset[KeyFingerprint]:
        """The keys that are to be able to read objects for that audience."""

    def seal(self, plain: Iterable[bytes], *, audience: Audience) -> Iterator[bytes]:
        """zstd, then one OpenPGP message to exactly `readers(audience)`, signed by `signer`.

        Ends without an error only if gpg reported both signature and encryption as done. What `plain` raises comes
        out unchanged. Raises ConfigError (key missing, expired, not usable), Unavailable (gpg died).
        """

    def envelope(self, cipher: Iterable[bytes]) -> Envelope:
        """Reads a whole message without any private key. Raises Corrupted: no complete OpenPGP message."""

    def open(self, cipher: Iterable[bytes]) -> Iterator[bytes]:
        """The plaintext. Yields *before* all is verified: check the ciphertext's digest first.

        Raises Corrupted at the latest at the end, unless a trusted node signed it; ConfigError: no private key here.
        """

    def problems(self, now: datetime) -> Sequence[Complaint]:
        """What is wrong with the keys, or soon will be; fatal ones first. Raises ConfigError, Unavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an object can be read. `local`: only what that very peer holds; else it may fetch from the others."""

    peer: PeerId
    name: str
    local: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What the cluster says about one peer and one object. `wanted`: allocated there; `holds`: and pinned."""

    peer: PeerId
    name: str
    wanted: bool
    holds: bool
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All pins found under a prefix, by name; a name may stand for several objects.

    `where`: by object, the peers that named it, in their Kubo or in the pinset as they know it. `silent`: peers that
    did not answer, with the reason. An empty listing is not evidence of an empty vault.
    """

    names: Mapping[str, frozenset[Cid]]
    where: Mapping[Cid, frozenset[str]]
    silent: Mapping[str, str]
    asked: int


class Holdings(Protocol):
    """What can be read, where, and who says that he has it: all that a restore asks of the vault."""

    def places(self) -> Sequence[Place]:
        """Where objects can be read, best first: every reachable peer for itself, then one of them through all.

        Raises Unavailable when no peer answers.
        """

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        """The object's bytes as that place gives them; may end early without an error: compare the digest.

        Raises Unavailable: the place does not answer, or does not have it.
        """

    def holders(self, cid: Cid) -> Sequence[Holder]:
        """What the cluster says of each peer it counts, one line per distinct Kubo identity. Raises Unavailable."""


class Vault(Holdings, Protocol):
    """The private cluster, seen from this node's own peer."""

    def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
        """Streams an object into the own peer and pins it there under `name`.

        `chunks` is closed in every case. What it raises comes out unchanged, and then nothing is pinned. Raises
        Unavailable.
        """

    def own(self) -> Place:
        """The own peer, and only what it holds itself. Raises Unavailable."""

    def pin(self, cid: Cid, *, name: str, copies: int) -> None:
        """Asks the cluster for `copies` copies, the own peer's among them, under `name`. Safe to repeat.

        Raises Unavailable (nobody answers, or too few peers for so many copies at the moment).
        """

    def label(self, cid: Cid, *, name: str) -> None:
        """Gives a pinned object that name in the Kubos themselves, wherever it is held and can be asked.

        So it is found by name even when the cluster's pinset is lost. Raises Unavailable when the own peer is silent.
        """

    def listing(self, prefix: str) -> Listing:
        """What is pinned under `prefix`: all cluster peers' pinsets and all reachable Kubos' pin names together.

        Raises Unavailable when nobody answers.
        """

    def drop(self, cid: Cid) -> None:
        """Lets go of an object everywhere. Unknown objects are no error.

        Raises Unavailable, also when only the own peer is silent: then it may still hold it; repeat it later.
        """

    def fetch(self, cid: Cid, *, name: str, at: Place) -> None:
        """Lets that very peer fetch from the others what it lacks of an object, and pin it under `name`.

        A block that is there and rotten is no lack: see `scrub`. When this fails the pin may be lost: call it again.
        Raises Unavailable: not that peer, not all of it to be had, or no progress.
        """

    def scrub(self, at: Place) -> None:
        """Lets that very peer read every block it holds; rotten ones are thrown away, and fetched from the others.

        It takes as long as reading that disk. Raises Unavailable: not that peer, or a block is not to be had.
        """

    def room(self) -> Mapping[str, int]:
        """Bytes that the cluster may still give to each peer that said so lately, by its name."""
