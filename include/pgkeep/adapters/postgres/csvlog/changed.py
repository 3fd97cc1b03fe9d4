"""What the log never showed: each table's rows are compared, by the server's own marks on them, with what it explains.

A row says which transaction has written it (xmin). What the cut before did not see was written within the window, and
the log must explain it, by its key where the statements name keys. As many rows as it says must have come or gone. A
table too large to be read each time is only counted, by the server's statistics, which are some seconds late.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pgkeep.adapters.postgres.gate import literal, quoted, translated
from pgkeep.adapters.postgres.guard import hold, in_passing
from pgkeep.adapters.postgres.moment import Moment
from pgkeep.adapters.postgres.relations import OF_USERS, RELATIONS
from pgkeep.inventory import TableName
from pgkeep.model import TableCounts
from pgkeep.visibility import visible

from .judgement.conditions import joined
from .model import Group, Write

NAMES = f"""
    SELECT n.nspname, c.relname FROM {RELATIONS} WHERE c.relkind = 'r' AND {OF_USERS} AND c.oid <> ALL (%s::oid[])
"""  # noqa: S608 - no value of anybody's is in it
# This opens the tables, so they must be held.
TABLES = f"""
    SELECT n.nspname, c.relname, pg_table_size(c.oid)::int8,
           pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid),
           coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_index i JOIN pg_attribute a
                     ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
                     WHERE i.indrelid = c.oid AND i.indisprimary), '{{}}')
    FROM {RELATIONS} WHERE c.relkind = 'r' AND {OF_USERS} AND c.oid <> ALL (%s::oid[]) ORDER BY 3, 1, 2
"""  # noqa: S608 - no value of anybody's is in it
COUNT = "SELECT count(*) FROM ONLY {table}"
# xmin has 32 bits, also of a row that is frozen: the rest is that of the last number before the present snapshot's end.
# A snapshot knows only whole transactions: of those under way, their subtransactions are named besides.
WRITTEN = """
    SELECT {columns} FROM ONLY {table} WHERE xmin::text::int8 = ANY ({held}::int8[]) OR NOT pg_visible_in_snapshot(
        ({xmax} - (({xmax} - xmin::text::int8) & {mask}))::text::xid8, {snapshot}::pg_snapshot)
    LIMIT {limit}
"""
MASK = (1 << 32) - 1
MOST = 200_000
"""Rows of a table that are compared by their keys; beyond that, only their number."""


@dataclass(kw_only=True)
class Explained:
    """What the log says of one table: rows that came, and at most so many that were changed, and that went (None: any).

    `keys`: of those that came or were changed, where all are known.
    """

    inserted: int = 0
    changed: int | None = 0
    removed: int | None = 0
    keys: set[str] | None = field(default_factory=set)

    @property
    def rows(self) -> int | None:
        """The most rows that can have been written, and may be there."""
        return None if self.changed is None else self.inserted + self.changed

    @property
    def writes(self) -> int | None:
        """The most writes, as the statistics count them."""
        return None if self.rows is None or self.removed is None else self.rows + self.removed

    def add(self, write: Write) -> None:
        most = None if write.keys is None else len(write.keys)
        self.inserted += write.inserted
        if write.removes:
            self.removed = _sum(self.removed, most)
            return
        if not write.inserted:
            self.changed = _sum(self.changed, most)
        if write.keys is None:
            self.keys = None
        elif self.keys is not None:
            self.keys.update(write.keys)


def _sum(some: int | None, more: int | None) -> int | None:
    return None if some is None or more is None else some + more


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table at the cut. `size` in bytes; `writes`: rows written ever, by the statistics; `key`: its primary key."""

    name: TableName
    size: int
    writes: int
    key: tuple[str, ...]


def explained(groups: Iterable[Group]) -> dict[TableName, Explained]:
    """By table, what the transactions of a window did to it."""
    found: dict[TableName, Explained] = {}
    for write in (write for group in groups for statement in group.statements for write in statement.writes):
        found.setdefault(TableName(schema=write.schema, name=write.name), Explained()).add(write)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The cut before: its tables by name, its snapshot, and the xids (32 bits) that were under way then."""

    tables: Mapping[str, TableCounts]
    snapshot: str
    held: tuple[int, ...]


def look(
    moment: Moment,
    *,
    before: Before | None,
    told: Mapping[TableName, Explained],
    without: Collection[int],
    budget: int,
) -> tuple[dict[str, TableCounts], str | None]:
    """Each table's numbers, for the next cut; and what happened to one that `told` does not explain, or None.

    `budget`: bytes of tables to read. The tables are held meanwhile, and then let go. Raises Disturbed (somebody is
    about to change one, or has rewritten it since), Unavailable, ConfigError.
    """
    with in_passing(moment):
        hold(_names(moment, without), moment)
        return _look(moment, before=before, told=told, without=without, budget=budget)


def _look(
    moment: Moment,
    *,
    before: Before | None,
    told: Mapping[TableName, Explained],
    without: Collection[int],
    budget: int,
) -> tuple[dict[str, TableCounts], str | None]:
    seen, why = dict[str, TableCounts](), None
    for table in _tables(moment, without):
        budget -= table.size
        then = before.tables.get(str(table.name)) if before else None
        told_of = told.get(table.name, Explained())
        now = _now(moment, table, then, told_of, read=budget >= 0)
        if why is None and before and then:
            why = _unexplained(table, then, now, told_of) or _unexplained_rows(moment, table, told_of, before, now)
        seen[str(table.name)] = now
    return seen, why


def _names(moment: Moment, without: Collection[int]) -> frozenset[TableName]:
    with translated(moment.server):
        rows = moment.connection.execute(NAMES, [list(without)]).fetchall()
    return frozenset(TableName(schema=str(schema), name=str(name)) for schema, name in rows)


def _tables(moment: Moment, without: Collection[int]) -> Iterator[Table]:
    with translated(moment.server):
        rows = moment.connection.execute(TABLES, [list(without)]).fetchall()
    for schema, name, size, writes, key in rows:
        assert isinstance(key, list)
        yield Table(
            name=TableName(schema=str(schema), name=str(name)),
            size=int(str(size)),
            writes=int(str(writes)),
            key=tuple(map(str, key)),
        )


def _now(moment: Moment, table: Table, then: TableCounts | None, told: Explained, *, read: bool) -> TableCounts:
    """Where it is not read, what was explained adds up; what is not known to be explained begins that anew."""
    if read:
        ((rows,),) = _ask(moment, COUNT.format(table=quoted(table.name.schema, table.name.name)))
        return TableCounts(rows=int(str(rows)), writes=table.writes, explained=0)
    if then is None or told.writes is None:
        return TableCounts(rows=None, writes=table.writes, explained=0)
    return TableCounts(rows=None, writes=then.writes, explained=then.explained + told.writes)


def _unexplained(table: Table, then: TableCounts, now: TableCounts, told: Explained) -> str | None:
    """Whether other numbers of rows came, went or were written."""
    if table.writes < then.writes:
        return f"the statistics of {table.name} were reset: how many rows were written is not known"
    if now.rows is None:
        more = told.writes is not None and table.writes - now.writes > now.explained
        return f"more rows of {table.name} were written, or rolled back, than the log explains" if more else None
    if then.rows is None:
        return None
    most = then.rows + told.inserted
    if now.rows > most or (told.removed is not None and now.rows < most - told.removed):
        return f"{table.name} has {now.rows} rows; by the log it would have {most}, or up to {told.removed} fewer"
    return None


def _unexplained_rows(moment: Moment, table: Table, told: Explained, before: Before, now: TableCounts) -> str | None:
    """Whether other rows were written since than the log names."""
    most = told.rows
    if most is None or now.rows is None:
        return None
    written = _written(moment, table, before, limit=most + 1)
    if len(written) > most:
        return f"rows of {table.name} were written that the log does not explain"
    if told.keys is not None and table.key and most <= MOST and not told.keys.issuperset(written):
        return f"other rows of {table.name} were written than the log explains"
    return None


def _written(moment: Moment, table: Table, before: Before, *, limit: int) -> list[str]:
    """The keys of rows that were written after that cut, as `Write` has them."""
    query = WRITTEN.format(
        columns=", ".join(f"{quoted(name)}::text" for name in table.key) or "''",
        table=quoted(table.name.schema, table.name.name),
        xmax=visible(moment.cut.snapshot).xmax,
        snapshot=literal(before.snapshot),
        held=literal("{" + ",".join(map(str, before.held)) + "}"),
        mask=MASK,
        limit=limit,
    )
    return [joined([str(value) for value in row]) for row in _ask(moment, query)]


def _ask(moment: Moment, query: str) -> list[tuple[object, ...]]:
    with translated(moment.server):
        return moment.connection.execute(query).fetchall()
