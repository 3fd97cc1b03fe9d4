"""Whether the tables that a slot showed are the tables that the catalog has."""

from collections.abc import Iterable, Mapping

from pgkeep.adapters.postgres.gate import Session, translated
from pgkeep.adapters.postgres.moment import Moment
from pgkeep.adapters.postgres.pgoutput.translation import Relation
from pgkeep.adapters.postgres.relations import RELATIONS
from pgkeep.inventory import TableName

# As pgoutput sends them: no dropped columns, no generated ones; a key column is one of the replica identity.
COLUMNS = """
    SELECT n.nspname, c.relname, a.attname, a.atttypid::int8, a.atttypmod
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.oid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum
"""


# An UPDATE says nothing of columns of the key, unless it changes them, which it cannot do to these.
IDENTITIES = """
    SELECT attrelid::int8, array_agg(attname::text ORDER BY attname) FROM pg_attribute
    WHERE attidentity = 'a' AND NOT attisdropped AND NOT EXISTS (
        SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY (indkey)) GROUP BY 1
"""
TABLES = f"SELECT c.oid::int8, n.nspname, c.relname FROM {RELATIONS} WHERE c.relkind = 'r'"  # noqa: S608


# regproc, regprocedure, regoper, regoperator, regclass, regcollation, regtype, regrole, regnamespace, regconfig,
# regdictionary; then arrays of them.
REG_TYPES = frozenset((24, 2202, 2203, 2204, 2205, 4191, 2206, 4096, 4089, 3734, 3769)) | frozenset(
    (1008, 2207, 2208, 2209, 2210, 4192, 2211, 4097, 4090, 3735, 3770)
)


def naming(relations: Iterable[Relation]) -> str | None:
    """The first of these relations with a column whose values are names of objects, which DDL may change."""
    found = (r for r in relations if any(column.type_oid in REG_TYPES for column in r.columns))
    return next((f"{relation.schema}.{relation.name}" for relation in found), None)


def identities(connection: Session) -> dict[int, tuple[str, ...]]:
    """By table, its columns that are GENERATED ALWAYS AS IDENTITY, but not of its primary key. Raises psycopg.Error."""
    found = connection.execute(IDENTITIES).fetchall()
    return {int(str(oid)): tuple(map(str, names)) for oid, names in found if isinstance(names, list)}


def tables(connection: Session) -> dict[int, TableName]:
    """All tables there are, by oid. Raises psycopg.Error."""
    found = connection.execute(TABLES)
    return {int(str(oid)): TableName(schema=str(schema), name=str(name)) for oid, schema, name in found}


def differing(moment: Moment, relations: Mapping[int, Relation]) -> str | None:
    """The first relation that the moment's catalog has not, or has with other columns. Raises Unavailable."""
    for oid, relation in relations.items():
        with translated(moment.server):
            found = moment.connection.execute(COLUMNS, [oid]).fetchall()
        shown = [(relation.schema, relation.name, c.name, c.type_oid, c.type_mod) for c in relation.columns]
        if [tuple(row) for row in found] != shown:
            return f"{relation.schema}.{relation.name}"
    return None
