"""A moment of a database, held open by one transaction."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

from pgkeep.model import Cut, instant

from .gate import Session, connect, translated
from .relations import IgnoredTables, resolve_ignored
from .server import Server
from .session import begin, begin_at

# The snapshot is that of the transaction's first query. The position is read after it: every transaction that the
# snapshot sees was written before that position.
CUT = """
    SELECT pg_current_snapshot()::text, pg_export_snapshot(), clock_timestamp(),
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text
"""

CONNECTIONS = 2
MARK = "SAVEPOINT pgkeep_moment"
LET_GO = "ROLLBACK TO SAVEPOINT pgkeep_moment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An exported snapshot of one database, for as long as the connection that exported it keeps its transaction.

    `connections`: the one that exported it, and others that see it, to measure several tables at once.
    """

    connections: tuple[Session, ...]
    server: Server
    dbname: str
    exported: str
    cut: Cut

    @property
    def connection(self) -> Session:
        return self.connections[0]


@contextmanager
def open_moment(
    server: Server, dbname: str, *, exported: str | None = None, connections: int = CONNECTIONS
) -> Iterator[Moment]:
    """Opens a moment: now, or that of a snapshot which somebody exports at this time.

    What is raised in the block goes through as it is. Raises ConfigError, Unavailable.
    """
    with ExitStack() as stack:
        first, *others = (stack.enter_context(contextlib.closing(connect(server, dbname))) for _ in range(connections))
        with translated(server):
            if exported is None:
                begin(first)
            else:
                begin_at(first, exported=exported)
            cut, name = _cut(first)
            for other in others:
                begin_at(other, exported=name)
            first.execute(MARK)
        yield Moment(connections=(first, *others), server=server, dbname=dbname, exported=name, cut=cut)


def let_go(moment: Moment) -> None:
    """Lets go of all locks that the moment's first connection has taken. Raises Unavailable."""
    with translated(moment.server):
        moment.connection.execute(LET_GO)


def find_ignored(moment: Moment, names: Sequence[str]) -> IgnoredTables:
    """The tables behind these names at that moment. Raises ConfigError, Unavailable."""
    with translated(moment.server):
        return resolve_ignored(moment.connection, names)


def _cut(connection: Session) -> tuple[Cut, str]:
    row = connection.execute(CUT).fetchone()
    assert row is not None
    snapshot, exported, time, lsn = row
    assert isinstance(time, datetime)
    return Cut(snapshot=str(snapshot), lsn=str(lsn), time=instant(time)), str(exported)
