"""Counts and fingerprints of the tables that a window changed, as far as they are small enough for every hour."""

from collections.abc import Collection

from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.guard import held
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

    Tables that somebody is about to change are among those: their turn comes at another cut.
    Raises Unavailable, ConfigError, Corrupted.
    """
    with translated(moment.server):
        rows = moment.connection.execute(SIZES, [list(without)]).fetchall()
    small, others = list[TableName](), list[TableName]()
    for schema, name, size in rows:
        table = TableName(schema=str(schema), name=str(name))
        if changed is not None and table not in changed:
            continue
        budget -= int(str(size))
        if budget >= 0:
            small.append(table)
        else:
            others.append(table)
    still = held(small, moment)
    names = [(table.schema, table.name) for table in small if table in still]
    return measure_named(moment, names), (*others, *(table for table in small if table not in still))
