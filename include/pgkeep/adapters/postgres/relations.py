"""Which relations of a database are the users': SQL that several questions share."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import psycopg

from pgkeep.errors import ConfigError

from .gate import Session

RELATIONS = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
_ORDINARY = "c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_MEMBER = """EXISTS (SELECT FROM pg_depend d
                     WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"""

OURS = "_pgkeep"
"""The schema of what pgkeep itself installs in a source."""
OF_USERS = f"({_ORDINARY} AND n.nspname <> '{OURS}' AND NOT {_MEMBER})"
"""Not temporary, not the system's, not an extension's, not ours."""
READ_BY_PG_DUMP = f"({_ORDINARY} AND (NOT {_MEMBER} OR c.oid IN (SELECT unnest(e.extconfig) FROM pg_extension e)))"  # noqa: S608
"""As `OF_USERS`, and the tables that an extension declares to hold a user's data."""

# A partitioned table stands for its partitions, which hold the rows.
WITH_PARTITIONS = """
    SELECT DISTINCT c.oid::int8, format('%%I.%%I', n.nspname, c.relname), n.nspname, c.relname
    FROM unnest(%s::oid[]) AS given (oid), LATERAL (
        SELECT given.oid UNION SELECT relid::oid FROM pg_partition_tree(given.oid::regclass) WHERE isleaf) AS part (oid)
    JOIN pg_class c ON c.oid = part.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r'
    ORDER BY 2
"""
REFERRING = """
    SELECT f.conrelid::regclass::text, f.confrelid::regclass::text FROM pg_constraint f
    WHERE f.contype = 'f' AND f.convalidated AND f.confrelid = ANY (%s::oid[]) AND f.conrelid <> ALL (%s::oid[])
      AND EXISTS (SELECT FROM pg_class c WHERE c.oid = f.conrelid AND c.relkind = 'r')
    ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A table whose rows are left out. `text`: its name for SQL, schema first."""

    oid: int
    text: str
    schema: str
    name: str

    @property
    def pattern(self) -> str:
        """Its name as pg_dump's options want it: in double quotes nothing is a wildcard."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredTables:
    """The tables to leave out, and the names that name nothing."""

    tables: tuple[Ignored, ...]
    unknown: tuple[str, ...]

    @property
    def oids(self) -> Collection[int]:
        return [table.oid for table in self.tables]


def resolve_ignored(connection: Session, names: Sequence[str]) -> IgnoredTables:
    """The tables behind `schema.table` names as SQL writes them. Raises ConfigError: a name that SQL cannot read."""
    known = {name: oid for name in names if (oid := _oid(connection, name))}
    rows = connection.execute(WITH_PARTITIONS, [sorted(known.values())])
    tables = tuple(
        Ignored(oid=int(str(oid)), text=str(text), schema=str(schema), name=str(name))
        for oid, text, schema, name in rows
    )
    return IgnoredTables(tables=tables, unknown=tuple(name for name in names if name not in known))


def require_restorable(connection: Session, ignored: IgnoredTables) -> None:
    """Raises ConfigError if a table that is kept refers to one that is not: its foreign key could not come back."""
    found = connection.execute(REFERRING, [ignored.oids, ignored.oids]).fetchall()
    if found:
        pairs = ", ".join(f"{referring} refers to {ignored_table}" for referring, ignored_table in found)
        raise ConfigError(
            f"a backup without the rows of the ignored tables could not be restored: {pairs}",
            next_step="in `ignored_tables`, name the referring tables, too, or leave out the ones they refer to",
        )


def _oid(connection: Session, name: str) -> int | None:
    """Within a savepoint: a name that names nothing must not end the transaction."""
    try:
        with connection.transaction():
            row = connection.execute("SELECT %s::regclass::oid::int8", [name]).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return None
    except (psycopg.errors.SyntaxError, psycopg.errors.InvalidName, psycopg.errors.FeatureNotSupported) as error:
        raise ConfigError(
            f"`ignored_tables` has {name!r}, which is no table's name",
            next_step='write it as in SQL: public.session, or public."Odd.Name"',
        ) from error
    assert row is not None
    return int(str(row[0]))
