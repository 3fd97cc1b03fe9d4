"""A moment of a database, held open by one transaction, and what it holds."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from pgkeep.inventory import Inventory, SequenceState
from pgkeep.model import Cut, instant

from .gate import Connection, connect, translated
from .measure import Moment, measure_large_objects, measure_sequences, measure_tables
from .properties import read_properties, read_roles
from .relations import IgnoredTables, resolve_ignored
from .server import Server
from .session import begin

# The snapshot is that of the transaction's first query. The position is read after it: every transaction that the
# snapshot sees was written before that position.
CUT = """
    SELECT pg_current_snapshot()::text, pg_export_snapshot(), clock_timestamp(),
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text
"""


@contextmanager
def open_moment(server: Server, dbname: str) -> Iterator[Moment]:
    """Opens a moment; what is raised in the block goes through as it is. Raises ConfigError, Unavailable."""
    with contextlib.closing(connect(server, dbname)) as connection:
        with translated(server):
            begin(connection)
            cut, exported = _cut(connection)
        yield Moment(connection=connection, server=server, dbname=dbname, exported=exported, cut=cut)


def take_inventory(
    moment: Moment, *, ignored: IgnoredTables, sequences: tuple[SequenceState, ...] | None = None, workers: int
) -> Inventory:
    """Everything that is measured. `sequences`: as they stood earlier, if they were read then.

    Raises Unavailable, ConfigError, Corrupted.
    """
    with translated(moment.server):
        properties, roles = read_properties(moment.connection), read_roles(moment.connection)
    return Inventory(
        dbname=moment.dbname,
        server_version=moment.connection.info.server_version,
        cut=moment.cut,
        properties=properties,
        roles=roles,
        ignored=tuple(table.text for table in ignored.tables),
        tables=measure_tables(moment, without=ignored.oids, workers=workers),
        sequences=measure_sequences(moment) if sequences is None else sequences,
        large_objects=measure_large_objects(moment),
    )


def find_ignored(moment: Moment, names: Sequence[str]) -> IgnoredTables:
    """The tables behind these names at that moment. Raises ConfigError, Unavailable."""
    with translated(moment.server):
        return resolve_ignored(moment.connection, names)


def _cut(connection: Connection) -> tuple[Cut, str]:
    row = connection.execute(CUT).fetchone()
    assert row is not None
    snapshot, exported, time, lsn = row
    assert isinstance(time, datetime)
    return Cut(snapshot=str(snapshot), lsn=str(lsn), time=instant(time)), str(exported)
