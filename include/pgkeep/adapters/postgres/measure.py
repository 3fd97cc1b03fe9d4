"""Counts and fingerprints: the same code for a source under its snapshot and for what came back from it."""

import contextlib
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg

from pgkeep.errors import ConfigError, Disturbed
from pgkeep.inventory import Inventory, LargeObjects, SequenceState, Table

from .gate import Session, quoted, translated
from .moment import Moment
from .properties import read_properties, read_roles
from .relations import OF_USERS, RELATIONS, IgnoredTables
from .server import Server

AT_ONCE = 100
"""Sequences read by one statement."""

# The largest first, so that all workers end at about the same time.
TABLES = f"""
    SELECT n.nspname, c.relname FROM {RELATIONS}
    WHERE c.relkind = 'r' AND {OF_USERS} AND c.oid <> ALL (%s::oid[])
    ORDER BY pg_table_size(c.oid) DESC, c.oid
"""  # noqa: S608 - no value of anybody's is in it
SEQUENCES = f"""
    SELECT n.nspname, c.relname FROM {RELATIONS} WHERE c.relkind = 'S' AND {OF_USERS} ORDER BY 1, 2
"""  # noqa: S608
# `(r.*)` is the whole row even where a column is called r. COLLATE "C": the bytes, whatever the database's collation.
FINGERPRINT = """
    SELECT count(*), coalesce(sum(hashtextextended((pgkeep_row.*)::text COLLATE "C", 0)::numeric), 0)::text
    FROM ONLY {table} AS pgkeep_row
"""
# Pages as they come back from a dump: holes have become zeros there, so zeros at a page's end say nothing, and a page
# of zeros is as good as none; the size of each object says the rest. A page has a quarter of a block. Zeros are taken
# off both ends, as 13 knows nothing else, of a page with another byte before it.
LARGE_OBJECTS = """
    WITH sizes AS (
        SELECT loid, max(pageno::int8 * (current_setting('block_size')::int8 / 4) + length(data)) AS size
        FROM pg_largeobject GROUP BY loid),
    written AS NOT MATERIALIZED (
        SELECT loid, pageno, substr(btrim('\\x01'::bytea || data, '\\x00'::bytea), 2) AS data FROM pg_largeobject)
    SELECT ((SELECT coalesce(sum(hashtextextended(loid || ':' || pageno || ':' || encode(data, 'hex'), 0)::numeric), 0)
             FROM written WHERE length(data) > 0)
          + (SELECT coalesce(sum(hashtextextended(m.oid || '=' || coalesce(size, 0), 0)::numeric), 0)
             FROM pg_largeobject_metadata m LEFT JOIN sizes ON loid = m.oid))::text
"""


def take_inventory(
    moment: Moment, *, ignored: IgnoredTables, sequences: tuple[SequenceState, ...] | None = None
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
        tables=measure_tables(moment, without=ignored.oids),
        sequences=measure_sequences(moment) if sequences is None else sequences,
        large_objects=measure_large_objects(moment),
    )


def measure_tables(moment: Moment, *, without: Collection[int]) -> tuple[Table, ...]:
    """Every user table but those whose oids are in `without`: rows counted and summed up.

    Raises Unavailable, ConfigError (a row is too long to be written as text), Corrupted.
    """
    with translated(moment.server):
        rows = moment.connection.execute(TABLES, [list(without)])
        names = [(str(schema), str(name)) for schema, name in rows]
    return measure_named(moment, names)


def measure_named(moment: Moment, names: list[tuple[str, str]]) -> tuple[Table, ...]:
    """As `measure_tables`, for the tables of these names (schema, name), several at once."""
    measured = _measure_all(names, moment) if names else []
    return tuple(sorted(measured, key=lambda table: (table.schema, table.name)))


def measure_sequences(moment: Moment) -> tuple[SequenceState, ...]:
    """Where every user sequence stands *now*: sequences know no snapshots. Raises Unavailable."""
    with translated(moment.server):
        names = [(str(schema), str(name)) for schema, name in moment.connection.execute(SEQUENCES)]
        groups = [names[i : i + AT_ONCE] for i in range(0, len(names), AT_ONCE)]
        try:
            return tuple(state for group in groups for state in _sequence_states(moment.connection, group))
        except psycopg.errors.UndefinedTable as error:
            raise Disturbed("a sequence was dropped in this very moment", next_step="run it again") from error


def measure_large_objects(moment: Moment) -> LargeObjects:
    """How many there are, and what is in them if the role may read that. Raises Unavailable, Corrupted."""
    with translated(moment.server):
        count = _one(moment.connection, "SELECT count(*) FROM pg_largeobject_metadata")
        readable = _one(moment.connection, "SELECT has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')")
        fingerprint = str(_one(moment.connection, LARGE_OBJECTS)) if readable else None
    return LargeObjects(count=int(str(count)), fingerprint=fingerprint)


def _sequence_states(connection: Session, names: list[tuple[str, str]]) -> Iterator[SequenceState]:
    each = (f"SELECT {i}, last_value, is_called FROM {quoted(*name)}" for i, name in enumerate(names))  # noqa: S608
    rows = connection.execute(" UNION ALL ".join(each) + " ORDER BY 1").fetchall()
    for (schema, name), (_, last_value, is_called) in zip(names, rows, strict=True):
        yield SequenceState(schema=schema, name=name, last_value=int(str(last_value)), is_called=bool(is_called))


def _measure_all(names: list[tuple[str, str]], moment: Moment) -> list[Table]:
    team = _Team(queue=iter(names), server=moment.server, stopped=threading.Event(), connections=moment.connections)
    with ThreadPoolExecutor(len(moment.connections)) as pool:
        futures = [pool.submit(team.work, connection) for connection in moment.connections]
        try:
            return [table for future in futures for table in future.result()]
        except BaseException:
            team.stop()
            raise


@dataclass(frozen=True, kw_only=True)
class _Team:
    """Workers who take the next table from one queue (`next` of a list's iterator is one step for all threads)."""

    queue: Iterator[tuple[str, str]]
    server: Server
    stopped: threading.Event
    connections: tuple[Session, ...]

    def work(self, connection: Session) -> list[Table]:
        measured = list[Table]()
        for schema, name in self.queue:
            if self.stopped.is_set():
                break
            measured.append(_measure(connection, schema, name, self.server))
        return measured

    def stop(self) -> None:
        """No further table, and the ones under way are given up."""
        self.stopped.set()
        for connection in self.connections:
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=5)


def _measure(connection: Session, schema: str, name: str, server: Server) -> Table:
    query = FINGERPRINT.format(table=quoted(schema, name))
    try:
        with translated(server):
            row = connection.execute(query).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedObject) as error:
        raise ConfigError(
            f"{schema}.{name} cannot be read with a fixed search_path ({error.diag.message_primary}): an index, policy "
            "or generated column of it calls a function that looks for its tables by search_path; a restore could not "
            "rebuild it either",
            next_step="ALTER FUNCTION .. SET search_path = .. for that function, then run it again",
        ) from error
    except (psycopg.errors.ProgramLimitExceeded, psycopg.errors.InternalError_) as error:
        raise ConfigError(
            f"a row of {schema}.{name} cannot be written as text, and so not be dumped: {error.diag.message_primary}",
            next_step="keep a row's text below 1 GB (bytea counts twice), or name the table in `ignored_tables`",
        ) from error
    assert row is not None
    return Table(schema=schema, name=name, rows=int(str(row[0])), fingerprint=str(row[1]))


def _one(connection: Session, query: str) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]
