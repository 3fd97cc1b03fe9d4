"""Makes a sample database: the schema in `sample.sql`, the rows of `sample_rows.py`, in any size, in bounded memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import Connection, sql

from pgkeep.errors import ConfigError, Unavailable

from .place import Report
from .sample_rows import TYPES, Sample

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made: rows of all tables, and the database's size on disk in bytes."""

    rows: int
    bytes: int


def parse_size(text: str) -> int:
    """Bytes of "50MB", "1.5 GB", "2000": powers of ten. Raises ConfigError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", text.upper())
    if not match:
        raise ConfigError(f"{text!r} is not a size", next_step="write it like 50MB or 1.5GB")
    return int(float(match[1]) * UNITS[match[2] or ""])


def create_sample(conninfo: str, *, dbname: str, size: int, seed: int, report: Report) -> Made:
    """Makes database `dbname` on the server at `conninfo` (a libpq connection string or URL), with about `size` bytes.

    The same seed and size give the same rows. All or nothing: if it fails, there is no such database. Raises
    ConfigError if there is one already with something in it, Unavailable if the server does not answer or has no room.
    """
    with _translated(dbname), psycopg.connect(conninfo, dbname="postgres", autocommit=True) as server:
        made_here = _create_database(server, dbname)
        try:
            with psycopg.connect(conninfo, dbname=dbname) as connection:
                _refuse_contents(connection, dbname)
                rows = _fill(connection, Sample(size=size, seed=seed), report)
        except BaseException:
            if made_here:
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(dbname)))
            raise
        size_on_disk = server.execute("SELECT pg_database_size(%s)", [dbname]).fetchone()
    assert size_on_disk is not None
    return Made(rows=rows, bytes=size_on_disk[0])


@contextmanager
def _translated(dbname: str) -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError as error:
        raise Unavailable(
            f"the sample {dbname} was not made: {str(error).strip().splitlines()[0]}",
            next_step="pgkeep sandbox status, then repeat",
        ) from error


def _create_database(server: Connection, dbname: str) -> bool:
    """False if it exists. An interrupted run may have left it empty."""
    if server.execute("SELECT FROM pg_database WHERE datname = %s", [dbname]).fetchone() is not None:
        return False
    server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(dbname)))
    return True


def _refuse_contents(connection: Connection, dbname: str) -> None:
    found = connection.execute("SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace LIMIT 1").fetchone()
    if found is not None:
        raise ConfigError(
            f"database {dbname} exists already, and has something in it",
            next_step="choose another name for the sample, or drop that database yourself",
        )


def _fill(connection: Connection, sample: Sample, report: Report) -> int:
    connection.execute(Path(__file__).with_name("sample.sql").read_bytes())
    total = 0
    for table, types in TYPES.items():
        rows = 0
        statement = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table))
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in sample.rows(table):
                copy.write_row(row)
                rows += 1
        report(f"{table}: {rows} rows")
        total += rows
    for case, number, content in sample.seals():
        connection.execute("INSERT INTO seal VALUES (%s, lo_from_bytea(%s, %s))", [case, number, content])
        total += 1
    connection.execute("SELECT setval('protection_request_id_seq', max(request.id)) FROM protection_request AS request")
    connection.execute("SELECT setval('loc_number', max(number)) FROM loc")
    connection.execute("SELECT setval('loc_event_id_seq', max(id)) FROM loc_event")
    connection.execute("ANALYZE")
    return total
