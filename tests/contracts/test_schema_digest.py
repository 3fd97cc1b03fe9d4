"""The digest of definitions, on servers of every major version: the same both ways, and another for every change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fix_majors import NEWEST
from fix_postgres import SAMPLE, Database, new_database, no_database
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.schema import digest_of

RICH = (
    SAMPLE
    + """
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE part (id int, at date NOT NULL, how mood DEFAULT 'sad', CHECK (id > 0)) PARTITION BY RANGE (at);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE INDEX part_by_id ON part (id) INCLUDE (how) WHERE id > 7;
    CREATE VIEW glad AS SELECT id FROM part WHERE how = 'glad';
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM document;
    CREATE FUNCTION over(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
    CREATE FUNCTION over(text) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;
    CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER fires BEFORE INSERT ON document FOR EACH ROW EXECUTE FUNCTION fired();
    COMMENT ON TABLE document IS 'papers';
    GRANT SELECT ON document TO PUBLIC;
"""
)
CHANGES = (
    "ALTER TABLE document ADD COLUMN more int",
    "ALTER TABLE document ALTER COLUMN name SET DEFAULT 'x'",
    "ALTER TABLE document ALTER COLUMN name SET NOT NULL",
    "CREATE INDEX ON document (name)",
    "DROP TRIGGER fires ON document",
    "ALTER TABLE document DISABLE TRIGGER fires",
    "COMMENT ON TABLE document IS 'other papers'",
    "REVOKE SELECT ON document FROM PUBLIC",
    "CREATE OR REPLACE FUNCTION over(text) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 2 $$",
    "ALTER TYPE mood ADD VALUE 'so so' BEFORE 'glad'",
    "ALTER TABLE document REPLICA IDENTITY FULL",
    "CREATE OR REPLACE VIEW glad AS SELECT id FROM part WHERE how = 'sad'",
    "ALTER SEQUENCE never INCREMENT 2",
    "ALTER TABLE document SET (fillfactor = 50)",
)


@contextmanager
def brought_back(source: Database, on: Server) -> Iterator[Database]:
    """The database, dumped and restored on that server."""
    with source.source().snapshot() as snapshot:
        dump, inventory = b"".join(snapshot.dump()), snapshot.inventory()
    with no_database(on) as place:
        with place.target().fresh(inventory) as fresh:
            fresh.load([dump])
            shown = fresh.schema()
            fresh.take_place(replace=False)
        assert shown == digest_of(on, place.name)
        yield place


def test_what_comes_back_is_defined_as_its_source(any_major: Server) -> None:
    with new_database(any_major, made=RICH) as source, brought_back(source, any_major) as place:
        assert digest_of(any_major, place.name) == digest_of(any_major, source.name)


def test_in_whatever_order_it_was_made(any_major: Server) -> None:
    first, *rest = RICH.split("CREATE FUNCTION over(int)")
    with (
        new_database(any_major, made=RICH) as one,
        new_database(any_major, made="CREATE FUNCTION over(int)" + rest[0].split(";")[0] + ";") as other,
    ):
        other.run(first, rest[0].split(";", 1)[1])
        assert digest_of(any_major, one.name) == digest_of(any_major, other.name)


def test_rows_and_sequences_are_not_definitions(server_of: Callable[[int], Server]) -> None:
    server = server_of(NEWEST)
    with new_database(server, made=RICH) as database:
        before = digest_of(server, database.name)
        database.run(
            "DELETE FROM document WHERE id > 100", "SELECT nextval('never')", "REFRESH MATERIALIZED VIEW counted"
        )
        assert digest_of(server, database.name) == before


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_definition_gives_another(server_of: Callable[[int], Server], change: str) -> None:
    server = server_of(NEWEST)
    with new_database(server, made=RICH) as database:
        before = digest_of(server, database.name)
        database.run(change)
        assert digest_of(server, database.name) != before
