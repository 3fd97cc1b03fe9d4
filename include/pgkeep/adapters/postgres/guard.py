"""Keeps what pg_dump reads and what is measured afterwards the same, whatever DDL runs beside it.

A table that is rewritten (ALTER .. TYPE, TRUNCATE, ...) after the snapshot and before pg_dump has locked it is dumped
*empty*, without an error, and measured empty, too. When the first byte of an archive arrives, pg_dump holds ACCESS
SHARE on all tables (it writes nothing before its table of contents is complete). So then we lock them as well, until
the measuring is done, and compare their files under the snapshot with their files now: a table that has another file
was rewritten in between.

Not earlier: pg_dump would queue behind an ALTER that waits for our lock, a deadlock across two connections that the
server cannot see. All our connections at once, for the same reason. And never waiting: an ALTER may queue behind
pg_dump, which waits for us to read on.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from pgkeep.errors import Disturbed, Unavailable
from pgkeep.inventory import TableName

from .gate import Session, connect, quoted, translated
from .moment import Moment
from .relations import READ_BY_PG_DUMP, RELATIONS
from .server import Server

# Materialised views are not dumped but refreshed after a restore. A sequence gets a new file by RESTART.
FILES = f"""
    SELECT c.oid::int8, n.nspname, c.relname, c.relkind = 'r', c.relfilenode::int8
    FROM {RELATIONS}
    WHERE c.relkind IN ('r', 'S') AND {READ_BY_PG_DUMP}
    ORDER BY c.oid
"""  # noqa: S608 - no value of anybody's is in it
INSTANT = "100ms"
"""Less than deadlock_timeout: of two that wait for each other, we are the one that gives up."""
AGAIN = "run it again, when no migration is running; nothing was stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or sequence and the file in which its rows are."""

    oid: int
    schema: str
    name: str
    is_table: bool
    file: int

    @property
    def named(self) -> TableName:
        return TableName(schema=self.schema, name=self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@contextmanager
def in_passing(moment: Moment) -> Iterator[None]:
    """For queries that lock what they look at: the moment's first connection waits an instant at most for each lock,
    and at the end of the block it lets go of all that it has locked in it. Raises Disturbed, Unavailable.
    """
    try:
        with translated(moment.server), moment.connection.transaction(force_rollback=True):
            moment.connection.execute(f"SET LOCAL lock_timeout = '{INSTANT}'")
            yield
    except Unavailable as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise Disturbed("a table is about to be changed by somebody", next_step=AGAIN) from error
        raise


def hold_still(moment: Moment, *, without: Collection[int]) -> None:
    """Locks all tables of the moment, and proves that none was rewritten since. `without`: oids left alone.

    Raises Disturbed naming the table; then the dump must be thrown away.
    """
    for relation in _seen(moment, without=without):
        if relation.is_table:
            _lock(relation.named, moment.connections, moment.server)
    require_unchanged(moment, without=without)


def hold(tables: Collection[TableName], moment: Moment) -> None:
    """Locks tables for the moment's first connection alone, and proves that none was rewritten before.

    Raises Disturbed, Unavailable.
    """
    for table in tables:
        _lock(table, moment.connections[:1], moment.server)
    for relation in _rewritten(moment, without=()):
        if relation.named in tables:
            raise _disturbed(relation)


def held(tables: Iterable[TableName], moment: Moment) -> frozenset[TableName]:
    """Locks those tables for all connections that nobody is about to change or has rewritten since the snapshot.

    Returns them. Raises Unavailable.
    """
    locked = {table for table in tables if _can_be_locked(table, moment)}
    return frozenset(locked.difference(relation.named for relation in _rewritten(moment, without=())))


def require_unchanged(moment: Moment, *, without: Collection[int]) -> None:
    """Raises Disturbed naming the first table or sequence of the moment that has another file by now, or none."""
    for relation in _rewritten(moment, without=without):
        raise _disturbed(relation)


def _disturbed(relation: Relation) -> Disturbed:
    return Disturbed(f"{relation} was rewritten or dropped in the moment that was to be read", next_step=AGAIN)


def _rewritten(moment: Moment, *, without: Collection[int]) -> Iterator[Relation]:
    now = _relations_now(moment)
    for relation in _seen(moment, without=without):
        if relation.oid not in now or now[relation.oid].file != relation.file:
            yield relation


def _seen(moment: Moment, *, without: Collection[int]) -> list[Relation]:
    with translated(moment.server):
        return [relation for oid, relation in _relations(moment.connection).items() if oid not in without]


def _can_be_locked(table: TableName, moment: Moment) -> bool:
    """Savepoints: what cannot be locked must not end the transactions."""
    try:
        with contextlib.ExitStack() as stack:
            for connection in moment.connections:
                stack.enter_context(connection.transaction())
            _lock(table, moment.connections, moment.server)
    except Disturbed:
        return False
    return True


def _lock(table: TableName, connections: Iterable[Session], server: Server) -> None:
    name = quoted(table.schema, table.name)
    try:
        with translated(server):
            for connection in connections:
                connection.execute(f"LOCK TABLE ONLY {name} IN ACCESS SHARE MODE NOWAIT")
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise Disturbed(f"{table} was renamed or dropped in the moment that was to be read", next_step=AGAIN) from error
    except Unavailable as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise Disturbed(f"{table} is about to be changed by somebody", next_step=AGAIN) from error
        raise


def _relations_now(moment: Moment) -> Mapping[int, Relation]:
    with contextlib.closing(connect(moment.server, moment.dbname)) as fresh, translated(moment.server):
        fresh.execute("SET search_path = pg_catalog")
        return _relations(fresh)


def _relations(connection: Session) -> dict[int, Relation]:
    return {
        int(str(oid)): Relation(
            oid=int(str(oid)), schema=str(schema), name=str(name), is_table=bool(is_table), file=int(str(file))
        )
        for oid, schema, name, is_table, file in connection.execute(FILES)
    }
