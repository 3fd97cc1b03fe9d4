"""What a database holds, measured by the demo itself: nothing of pgkeep is used, its own fingerprints least of all."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from pgkeep.errors import Unavailable

from .demo_screen import say

# All but what pgkeep has put there to keep changes, which no backup holds.
TABLES = (
    "SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'm', 'S') "
    "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', '_pgkeep') ORDER BY 1, 2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One table or sequence: its rows, and SHA-256 over their texts in order."""

    kind: str
    rows: int
    digest: str


def connect(environ: Mapping[str, str], dbname: str, *, server: str = "SOURCE") -> "psycopg.Connection[Any]":
    """A connection of the operator; every statement is a transaction."""
    url = f"{environ[f'PGKEEP_{server}_URL']}/{quote(dbname)}"
    return psycopg.connect(url, passfile=environ["PGPASSFILE"], autocommit=True)


def measure(environ: Mapping[str, str], dbname: str, *, server: str = "SOURCE") -> dict[str, Measured]:
    """Every table and sequence of the database."""
    with connect(environ, dbname, server=server) as connection:
        names = connection.execute(TABLES).fetchall()
        return {f"{schema}.{name}": _measure(connection, schema, name, kind) for schema, name, kind in names}


def _measure(connection: "psycopg.Connection[Any]", schema: str, name: str, kind: str) -> Measured:
    digest, rows = hashlib.sha256(), 0
    # A sequence also counts how many numbers it has reserved, which says nothing about where it stands.
    row = sql.SQL("(t.last_value, t.is_called)::text" if kind == "S" else "t::text")
    query = sql.SQL('SELECT line FROM (SELECT {} AS line FROM {} t) s ORDER BY line COLLATE "C"')
    with connection.transaction(), connection.cursor(name="demo") as cursor:
        for (line,) in cursor.execute(query.format(row, sql.Identifier(schema, name))):
            digest.update(line.encode() + b"\0")
            rows += 1
    return Measured(kind=kind, rows=rows, digest=digest.hexdigest())


def without_sequences(measured: Mapping[str, Measured]) -> dict[str, Measured]:
    """The tables only: within an hour, a sequence may come back higher than it stood (no number is given twice)."""
    return {name: found for name, found in measured.items() if found.kind != "S"}


def show(measured: Mapping[str, Measured]) -> None:
    """One line for each."""
    for name, found in measured.items():
        say(f"   {name:<32} {found.rows:>8} rows  {found.digest[:16]}")


def require_same(before: Mapping[str, Measured], after: Mapping[str, Measured]) -> None:
    """Shows that both are the same, line by line. Raises Unavailable if they are not."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None or old != new:
            raise Unavailable(f"{name} is not what it was: {old} before, {new} after", next_step="report this")
        say(f"   {name:<32} {new.rows:>8} rows  {new.digest[:16]}  the same")
