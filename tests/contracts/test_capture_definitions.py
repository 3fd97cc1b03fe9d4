"""What was changed where event triggers do not see it is noticed, however much DDL they saw besides."""

from collections.abc import Iterator

import pytest

from contracts.test_capture_gaps import begun, carried
from fix_installation import UNSEEN
from fix_postgres import Database, new_database, new_role, quoted, server
from pgkeep.ports import Inexact

MADE = """
    CREATE TABLE kept (number int PRIMARY KEY, about text DEFAULT 'x', CHECK (number > 0));
    CREATE INDEX by_about ON kept (about);
    CREATE TABLE parted (day date) PARTITION BY RANGE (day);
    CREATE TABLE parted_old PARTITION OF parted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER touched BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE TYPE colour AS ENUM ('red');
    CREATE VIEW seen AS SELECT number FROM kept;
    CREATE SEQUENCE counter;
"""
TOLD = """
    CREATE TABLE told (id serial PRIMARY KEY, c colour);
    ALTER TABLE told ADD COLUMN more int;
    CREATE INDEX ON told (more);
    DROP TABLE told;
"""


@pytest.fixture
def database(sandbox: object, request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=MADE) as found:
        yield found


def done_unseen(database: Database, statement: str) -> None:
    with database.session() as session:
        session.execute(UNSEEN)
        session.execute(statement)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TABLE unseen (id int PRIMARY KEY)", "table public.unseen"),
        ("DROP TABLE kept CASCADE", "an object that is gone"),
        ("ALTER TABLE kept ADD COLUMN n int", "table public.kept"),
        ("ALTER TABLE kept ALTER about SET DEFAULT 'y'", "table public.kept"),
        ("ALTER TABLE kept DROP CONSTRAINT kept_number_check", "table public.kept"),
        ("ALTER TABLE kept DISABLE TRIGGER touched", "table public.kept"),
        ("ALTER TABLE kept ENABLE ROW LEVEL SECURITY", "table public.kept"),
        ("DROP INDEX by_about", "table public.kept"),
        ("CREATE INDEX ON kept (number, about)", "table public.kept"),
        ("COMMENT ON COLUMN kept.about IS 'said'", "table public.kept"),
        ("GRANT SELECT ON kept TO PUBLIC", "table public.kept"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema public"),
        ("REVOKE EXECUTE ON FUNCTION pg_catalog.version() FROM PUBLIC", "what may be done"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "default privileges"),
        ("ALTER TABLE parted DETACH PARTITION parted_old", "table public.parted_old"),
        ("CREATE POLICY mine ON kept USING (true)", "table public.kept"),
        ("CREATE RULE quiet AS ON DELETE TO kept DO INSTEAD NOTHING", "table public.kept"),
        ("CREATE STATISTICS together ON number, about FROM kept", "table public.kept"),
        ("ALTER TYPE colour ADD VALUE 'blue'", "type public.colour"),
        ("ALTER FUNCTION touch() STABLE", "function public.touch"),
        ("DROP VIEW seen", "an object that is gone"),
        ("ALTER SEQUENCE counter INCREMENT 5", "sequence public.counter"),
        ("CREATE SCHEMA unseen", "schema unseen"),
        ("CREATE EVENT TRIGGER unseen ON sql_drop EXECUTE FUNCTION _pgkeep.observe()", "event trigger unseen"),
    ],
)
def test_what_nobody_saw_is_noticed_beside_what_was_seen(database: Database, statement: str, named: str) -> None:
    last = begun(database)
    database.run(TOLD)
    done_unseen(database, statement)
    with pytest.raises(Inexact, match=f"^{named}.* was changed where event triggers do not see it$"):
        carried(database, last)


def test_another_owner_is_noticed(database: Database) -> None:
    with new_role(database) as owner, new_role(database) as heir:
        database.run(f"GRANT CREATE ON SCHEMA public TO {quoted(heir.name)}")
        database.run(f"ALTER TABLE kept OWNER TO {quoted(owner.name)}")
        last = begun(database)
        database.run(TOLD)
        database.run(f"REASSIGN OWNED BY {quoted(owner.name)} TO {quoted(heir.name)}")
        with pytest.raises(Inexact, match=r"^table public.kept was changed"):
            carried(database, last)


def test_what_was_seen_explains_all_that_it_did(database: Database) -> None:
    last = begun(database)
    database.run(TOLD)
    database.run("GRANT SELECT ON kept TO PUBLIC")
    database.run("DROP INDEX by_about")
    database.run("ALTER TABLE parted DETACH PARTITION parted_old")
    database.run("ALTER TABLE kept ALTER about TYPE varchar(90)", "DROP FUNCTION touch CASCADE")
    assert carried(database, last)
