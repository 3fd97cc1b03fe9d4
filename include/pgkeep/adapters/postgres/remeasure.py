"""Counts and fingerprints of the tables that a window changed, as far as they are small enough for every hour."""

from collections.abc import Collection

from pgkeep.inventory import Table, TableName

from .gate import translated
from .guard import held
from .measure import measure_named
from .moment import Moment
from .relations import OF_USERS, RELATIONS

TABLES = f"""
    SELECT c.oid::int8, n.nspname, c.relname FROM {RELATIONS}
    WHERE c.relkind = 'r' AND {OF_USERS} AND c.oid <> ALL (%s::oid[]) ORDER BY 2, 3
"""  # noqa: S608 - no value of anybody's is in it
# This opens the tables, so they must be held.
SIZES = "SELECT oid, pg_table_size(oid)::int8 FROM unnest(%s::int8[]) AS oid ORDER BY 2, 1"


def remeasure(
    moment: Moment, *, changed: Collection[TableName] | None, without: Collection[int], budget: int
) -> tuple[tuple[Table, ...], tuple[TableName, ...]]:
    """The smallest of the changed tables (None: of all) measured, `budget` bytes in all; and the names of the others.

    Tables that somebody is about to change are among those: their turn comes at another cut.
    Raises Unavailable, ConfigError, Corrupted.
    """
    wanted = {
        oid: table for oid, table in _tables(moment, without=without).items() if changed is None or table in changed
    }
    still = held(wanted.values(), moment)
    measured = dict[int, TableName]()
    for oid, size in _sizes(moment, [oid for oid, table in wanted.items() if table in still]):
        budget -= size
        if budget >= 0:
            measured[oid] = wanted[oid]
    others = tuple(table for oid, table in wanted.items() if oid not in measured)
    return measure_named(moment, [(table.schema, table.name) for table in measured.values()]), others


def _tables(moment: Moment, *, without: Collection[int]) -> dict[int, TableName]:
    with translated(moment.server):
        rows = moment.connection.execute(TABLES, [list(without)]).fetchall()
    return {int(str(oid)): TableName(schema=str(schema), name=str(name)) for oid, schema, name in rows}


def _sizes(moment: Moment, oids: list[int]) -> list[tuple[int, int]]:
    """Oid and bytes, the smallest first."""
    with translated(moment.server):
        return [(int(str(oid)), int(str(size))) for oid, size in moment.connection.execute(SIZES, [oids])]
