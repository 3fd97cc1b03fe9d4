"""What the stories ask of the database that is backed up."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from pgkeep.inventory import Inventory, Update
from pgkeep.model import Backup, Cut, Entry, Link


class Inexact(Exception):
    """Changes cannot be carried exactly. `reason`: why, for people. The run then makes a full backup instead (I8)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreadable(Inexact):
    """What the source keeps for us cannot be read at all, now or later: the chain begins anew, not only at this cut."""


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

    def require_log(self) -> None:
        """What changes are collected from can be read now. Raises LogUnavailable; Unavailable, ConfigError: the source
        cannot be asked.
        """

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
