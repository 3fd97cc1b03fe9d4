"""What collecting changes by logical decoding leaves in a database: a replication slot, for which its server keeps its
WAL, and what is installed (publication, event triggers, REPLICA IDENTITY FULL). Nobody looks after it when the changes
are not collected in that way any more.
"""

import contextlib
import logging
from dataclasses import dataclass

from pgkeep.errors import ConfigError, Unavailable

from . import slot as slots
from .gate import connect, translated
from .installation import look, remove
from .slot import SlotState
from .source import PostgresSource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """What there is. `slot`: None: it is gone; `installed`: anything that `pgkeep init` has made."""

    slot: SlotState | None
    installed: bool


def find(source: PostgresSource, slot: str) -> Leftovers:
    """Looks, and changes nothing. Raises ConfigError, Unavailable."""
    with contextlib.closing(connect(source.server, source.dbname)) as connection, translated(source.server):
        found = look(connection)
        return Leftovers(slot=slots.look_at(connection, slot), installed=found.version is not None or found.publication)


def take_away(source: PostgresSource, slot: str) -> None:
    """Takes away what is installed, and the slot. Safe to repeat. Raises ConfigError, Unavailable."""
    with contextlib.closing(connect(source.server, source.dbname)) as connection, translated(source.server):
        remove(connection)  # first: a role that may not do that must not have lost the slot
        slots.drop(connection, source.server, slot)


def tidy(source: PostgresSource, slot: str) -> None:
    """For a database whose changes are not collected by logical decoding any more: the slot goes first, for the
    server's disk; then all else, as far as the role may. Says what it does. Raises nothing: it may be done again.
    """
    try:
        left = find(source, slot)
        with contextlib.closing(connect(source.server, source.dbname)) as connection:
            if left.slot and slots.drop(connection, source.server, slot):
                log.warning("%s: the replication slot %s was dropped: nobody reads it any more", source.label, slot)
            if left.installed:
                with translated(source.server):
                    remove(connection)
                log.warning("%s: what logical decoding needed there was removed", source.label)
    except (ConfigError, Unavailable) as error:
        said = "%s has still something of the time when its changes were collected by logical decoding: %s. Next: %s"
        log.warning(said, source.label, error.what, "as a role that may: pgkeep remove NAME")
