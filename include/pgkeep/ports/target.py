"""What a restore asks of the database that is brought back."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from pgkeep.inventory import Inventory, SequenceState
from pgkeep.model import Digest


class Refused(Exception):
    """A target does not take changes. `reason`: what it says to that, for people, without the statement or its row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A database that stands under a target's name.

    `identity`: no other database of that server has it, whatever the names. `size`: bytes; `tables`, and `rows` as the
    server estimates them; `sessions`: how many are connected. None: nobody may look.
    """

    identity: str
    size: int | None
    tables: int | None
    rows: int | None
    sessions: int


class Fresh(Protocol):
    """A new database under a temporary name, not yet in anybody's way."""

    @property
    def identity(self) -> str:
        """As `Occupant.identity`: it stays when the database takes its place."""

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

    def system(self) -> str:
        """Of its server, whatever address leads there. Raises Unavailable, ConfigError."""

    def require_free(self, *, replace: bool) -> None:
        """Raises ConfigError if a database with anything in it stands there and `replace` is not said."""

    def require_able(self, inventory: Inventory) -> None:
        """Raises ConfigError: `fresh` would be refused (older server than the source's, rights, no programs for it)."""

    def occupant(self) -> Occupant | None:
        """What stands there now, or None. Raises Unavailable, ConfigError."""

    def holds(self, identity: str) -> bool:
        """Whether the database of that identity, if it is not half-made, stands on its server, under whatever name.

        Raises Unavailable, ConfigError.
        """

    def fresh(self, inventory: Inventory) -> AbstractContextManager[Fresh]:
        """A new database of the nature that `inventory` describes; dropped on leaving unless it took its place.

        Raises ConfigError (may not create databases, older server than the source's), Unavailable.
        """
