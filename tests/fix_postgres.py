"""Databases of real servers that a test may do anything to, and the programs that this process has started."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psutil
import psycopg
from psycopg import conninfo, sql

from pgkeep.adapters.postgres import PostgresSource, PostgresTarget, Server, server_from_url

Rows = list[tuple[object, ...]]

SAMPLE = """
    CREATE TABLE document (id bigserial PRIMARY KEY, name text, content bytea, about jsonb);
    INSERT INTO document (name, content, about)
        SELECT 'ü' || i, sha256(i::text::bytea), jsonb_build_object('n', i, 'x', i / 7.0)
        FROM generate_series(1, 500) i;
    CREATE TABLE "odd ""Name" (document_id bigint REFERENCES document, "pgkeep_row" text);
    INSERT INTO "odd ""Name" SELECT i, 'row ' || i FROM generate_series(1, 20) i;
    CREATE SEQUENCE never;
"""
# More than what fits into the pipes between pg_dump and us, so that pg_dump is at work when the first bytes are read.
LARGE = """
    CREATE TABLE large (id int, content text);
    INSERT INTO large SELECT i, (SELECT string_agg(md5((i * j)::text), '') FROM generate_series(1, 300) j)
        FROM generate_series(1, 1500) i;
"""


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database of a server of the sandbox."""

    server: Server
    name: str

    def run(self, *statements: str) -> None:
        with _connect(self.server, self.name) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str) -> Rows:
        with _connect(self.server, self.name) as connection:
            return connection.execute(query).fetchall()

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        with contextlib.closing(_connect(self.server, self.name)) as connection:
            yield connection

    def source(self, *, ignored_tables: tuple[str, ...] = (), patience: float = 60.0) -> PostgresSource:
        return PostgresSource(server=self.server, dbname=self.name, ignored_tables=ignored_tables, patience=patience)

    def target(self) -> PostgresTarget:
        return PostgresTarget(server=self.server, dbname=self.name)

    def exists(self) -> bool:
        return self.name in names(self.server)

    def beside(self) -> set[str]:
        """The databases whose names begin with this one's: temporary and dated ones."""
        return {name for name in names(self.server) if name.startswith(self.name) and name != self.name}

    def seen_by(self, role: "Role") -> "Database":
        return replace(self, server=replace(self.server, user=role.name, password=role.password))


@dataclass(frozen=True, kw_only=True)
class Role:
    name: str
    password: str


def server(sandbox: Mapping[str, str], which: str) -> Server:
    """`source` or `scratch`."""
    return server_from_url(sandbox[f"PGKEEP_{which.upper()}_URL"], environ=sandbox)[0]


@contextmanager
def new_database(of: Server, *, name: str | None = None, made: str = "") -> Iterator[Database]:
    """A database of that server, `made` by SQL; it and all that stands beside it are dropped at the end."""
    database = Database(server=of, name=name or f"room_{secrets.token_hex(4)}")
    maintenance = Database(server=of, name="postgres")
    maintenance.run(f"CREATE DATABASE {quoted(database.name)} TEMPLATE template0")
    try:
        if made:
            database.run(made)
        yield database
    finally:
        drop(database)


@contextmanager
def no_database(of: Server, *, name: str | None = None) -> Iterator[Database]:
    """The name of a database that is not there; dropped at the end with all that stands beside it."""
    database = Database(server=of, name=name or f"room_{secrets.token_hex(4)}")
    try:
        yield database
    finally:
        drop(database)


@contextmanager
def new_role(database: Database, attributes: str = "LOGIN") -> Iterator[Role]:
    role = Role(name=f"role {secrets.token_hex(4)}", password=secrets.token_hex(8))
    database.run(f"CREATE ROLE {quoted(role.name)} {attributes} PASSWORD '{role.password}'")
    try:
        yield role
    finally:
        name = quoted(role.name)
        while database.ask(f"SELECT FROM pg_stat_activity WHERE usename = {literal(role.name)}"):
            time.sleep(0.01)  # a session that ends still drops its temporary tables
        database.run(f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def drop(database: Database) -> None:
    maintenance = Database(server=database.server, name="postgres")
    for name in {database.name, *database.beside()}:
        maintenance.run(
            f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = {literal(name)}",
            f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)",
        )


def names(of: Server) -> set[str]:
    return {str(name) for (name,) in Database(server=of, name="postgres").ask("SELECT datname FROM pg_database")}


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def children(program: str) -> list[psutil.Process]:
    """The running programs of that name that this process has started."""
    return [child for child in psutil.Process().children() if child.name() == program]


def eventually(question: Callable[[], bool]) -> bool:
    """Whether it comes true within half a minute."""
    for _ in range(300):
        if question():
            return True
        time.sleep(0.1)
    return False


def _connect(of: Server, name: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(conninfo.make_conninfo("", **of.parameters(name)), autocommit=True)
