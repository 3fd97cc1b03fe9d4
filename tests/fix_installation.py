"""Databases in which pgkeep installs what it needs, on every major version."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from fix_postgres import Database, Role, new_database, new_role, quoted
from pgkeep.adapters.postgres import Server, installation

TABLES = """
    CREATE TABLE keyed (id int PRIMARY KEY, x text);
    CREATE TABLE keyless (x int);
    CREATE UNLOGGED TABLE light (id int PRIMARY KEY);
    CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);
    CREATE TABLE by_index (id int NOT NULL);
    CREATE UNIQUE INDEX by_index_id ON by_index (id);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id;
    CREATE TABLE by_constraint (id int NOT NULL UNIQUE);
    ALTER TABLE by_constraint REPLICA IDENTITY USING INDEX by_constraint_id_key;
    CREATE TABLE whole (x int);
    ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
    CREATE VIEW seen AS SELECT id FROM keyed;
"""
UNSEEN = "SELECT set_config('pgkeep.off', token, false) FROM _pgkeep.token"
"""Makes pgkeep's event triggers overlook what the session does: only who may read the token can."""
LISTED = {"keyed", "by_constraint", "whole", "part1"}
UNLISTED = {"keyless", "light", "late", "by_index"}
CATALOGS = "pg_class pg_proc pg_event_trigger pg_publication pg_publication_rel pg_namespace pg_description pg_depend"
STATE = " UNION ALL ".join(f"SELECT '{catalog}', count(*) FROM {catalog}" for catalog in CATALOGS.split())


@pytest.fixture
def source(any_major: Server) -> Iterator[Database]:
    with new_database(any_major, made=TABLES) as database:
        yield database


@pytest.fixture
def owner(source: Database) -> Iterator[Role]:
    """A role that owns all the tables, and may create in the database."""
    with new_role(source) as role, ExitStack() as stack:
        stack.callback(source.run, f"DROP OWNED BY {quoted(role.name)} CASCADE")
        source.run(f"GRANT CREATE ON DATABASE {quoted(source.name)} TO {quoted(role.name)}")
        source.run(f"GRANT CREATE ON SCHEMA public TO {quoted(role.name)}")
        for (table,) in source.ask(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        ):
            source.run(f"ALTER TABLE {quoted(str(table))} OWNER TO {quoted(role.name)}")
        yield role


def install(database: Database, *identity_full: str) -> installation.Installed:
    with database.session() as session:
        return installation.install(session, identity_full=identity_full)


def look(database: Database) -> installation.Installed:
    with database.session() as session:
        return installation.look(session)


def synchronise(database: Database) -> None:
    with database.session() as session:
        installation.synchronise(session)


def listed(database: Database) -> set[str]:
    found = look(database).listed
    rows = database.ask("SELECT relname, oid::int8 FROM pg_class WHERE relnamespace <> 'pg_catalog'::regnamespace")
    return {str(name) for name, oid in rows if oid in found} - {"log"}


def unlisted(database: Database) -> set[str]:
    return {name for _, _, name in look(database).unlisted}


@contextmanager
def decoded(database: Database) -> Iterator[list[tuple[str, dict[str, object]]]]:
    """The messages of what happens in the block; on PostgreSQL 13 they are rows."""
    slot = f"slot_{database.name}"
    database.ask(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    messages: list[tuple[str, dict[str, object]]] = []
    try:
        yield messages
        database.ask("SELECT pg_logical_emit_message(true, 'end', '')")  # what was committed lazily is written now
        options = "'proto_version', '1', 'publication_names', 'pgkeep'"
        options += ", 'messages', 'true'" if major(database) >= 14 else ""
        rows = database.ask(f"SELECT data FROM pg_logical_slot_peek_binary_changes('{slot}', NULL, NULL, {options})")
        for (data,) in rows:
            assert isinstance(data, bytes)
            if found := re.search(rb"(pgkeep:\w+)(?:\0|t)....(\{.*\})$", data, re.DOTALL):
                messages.append((found[1].decode(), json.loads(found[2])))
    finally:
        database.ask(f"SELECT pg_drop_replication_slot('{slot}')")


def major(database: Database) -> int:
    return int(str(database.ask("SHOW server_version_num")[0][0])) // 10_000
