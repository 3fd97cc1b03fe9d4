"""Counts and fingerprints of the tables that a window changed, as far as they are small enough for every hour."""

from collections.abc import Collection

from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.measure import measure_named
from pgkeep.adapters.postgres.moment import Moment
from pgkeep.adapters.postgres.relations import OF_USERS, RELATIONS
from pgkeep.inventory import Table, TableName

SIZES = f"""
    SELECT n.nspname, c.relname, pg_table_size(c.oid)::int8 FROM {RELATIONS}
    WHERE c.relkind = 'r' AND {OF_USERS} AND c.oid <> ALL (%s::oid[]) ORDER BY 3, 1, 2
"""  # noqa: S608 - no value of anybody's is in it


def remeasure(
    moment: Moment, *, changed: Collection[TableName] | None, without: Collection[int], budget: int
) -> tuple[tuple[Table, ...], tuple[TableName, ...]]:
    """The smallest of the changed tables (None: of all) measured, `budget` bytes in all; and the names of the others.

    Raises Unavailable, ConfigError, Corrupted.
    """
    with translated(moment.server):
        rows = moment.connection.execute(SIZES, [list(without)]).fetchall()
    small, large = list[tuple[str, str]](), list[TableName]()
    for schema, name, size in rows:
        table = TableName(schema=str(schema), name=str(name))
        if changed is not None and table not in changed:
            continue
        budget -= int(str(size))
        if budget >= 0:
            small.append((table.schema, table.name))
        else:
            large.append(table)
    return measure_named(moment, small), tuple(large)
