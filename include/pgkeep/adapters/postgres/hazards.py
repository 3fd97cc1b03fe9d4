"""Rows whose text is longer than PostgreSQL can write: pg_dump fails at them, and so does every measure of ours."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import psycopg

from .gate import Session, quoted
from .relations import OF_USERS, RELATIONS

LONGEST = 1 << 30
"""Bytes of a row's text at which PostgreSQL gives up."""
SUSPECT = 4 << 20
"""Bytes on disk below which no row can be that long: compression makes values about a hundred times smaller at best."""

# Only values moved out of their row can be that long, so only tables with that much beside their rows are looked at.
CANDIDATES = f"""
    SELECT n.nspname, c.relname, array_agg(a.attname ORDER BY a.attnum), array_agg(a.atttypid = 'bytea'::regtype)
    FROM {RELATIONS} JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind = 'r' AND {OF_USERS} AND c.oid <> ALL (%s::oid[])
      AND c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) >= %s
      AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1
    GROUP BY n.nspname, c.relname, c.oid ORDER BY 1, 2
"""  # noqa: S608 - no value of anybody's is in it


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRow:
    """A table and about how many bytes the text of its longest row has."""

    schema: str
    name: str
    size: int

    def __str__(self) -> str:
        return f"{self.schema}.{self.name} (about {self.size / 1e9:.1f} GB)"


def too_long_rows(
    connection: Session,
    *,
    without: Collection[int] = (),
    longest: int = LONGEST,
    suspect: int = SUSPECT,
    seconds: float,
) -> tuple[LongRow, ...] | None:
    """Tables with a row whose text is `longest` bytes or more; None if a table takes longer than `seconds`.

    Reads rows, but not the long values themselves; bytea becomes two digits a byte. Raises psycopg.Error.
    """
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{int(seconds * 1000)}ms'")
            tables = connection.execute(CANDIDATES, [list(without), suspect]).fetchall()
            return tuple(_too_long(connection, tables, longest=longest))
    except psycopg.errors.QueryCanceled:
        return None


def _too_long(connection: Session, tables: list[tuple[object, ...]], *, longest: int) -> Iterator[LongRow]:
    for schema, name, columns, binary in tables:
        assert isinstance(columns, list)
        assert isinstance(binary, list)
        size = _longest(connection, str(schema), str(name), dict(zip(columns, binary, strict=True)))
        if size >= longest:
            yield LongRow(schema=str(schema), name=str(name), size=size)


def _longest(connection: Session, schema: str, name: str, columns: dict[str, bool]) -> int:
    """octet_length of bytea reads the value's header only; of other types the size on disk must do."""
    sizes = (_size(quoted(column), binary=binary) for column, binary in columns.items())
    query = f"SELECT coalesce(max({' + '.join(sizes)}), 0) FROM ONLY {quoted(schema, name)}"  # noqa: S608
    row = connection.execute(query).fetchone()
    return int(str(row[0])) if row else 0


def _size(column: str, *, binary: bool) -> str:
    length = f"2 * octet_length({column})::int8" if binary else f"pg_column_size({column})::int8"
    return f"coalesce({length}, 0)"
