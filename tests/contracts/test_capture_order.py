"""Transactions that change the schema at the same time: what their names meant is not what they would mean again."""

from collections.abc import Iterator

import pytest

from contracts.test_capture import backup_of
from contracts.test_capture_gaps import begun, capture_of, carried
from fix_postgres import Database, new_database, server
from pgkeep.ports import Inexact

MADE = """
    CREATE TABLE t (id int PRIMARY KEY, x text);
    CREATE SCHEMA s;
    CREATE TYPE colour AS ENUM ('old');
    CREATE TABLE target (id int PRIMARY KEY);
    CREATE TABLE named (id int PRIMARY KEY, r regclass);
    CREATE FUNCTION f(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
TOGETHER = "another transaction changed the schema at the same time"


@pytest.fixture
def database(sandbox: object, request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=MADE) as found:
        yield found


@pytest.mark.parametrize(
    ("first", "meanwhile"),
    [
        ("SET search_path = s, public; CREATE VIEW v AS SELECT * FROM t", "CREATE TABLE s.t (id int PRIMARY KEY)"),
        ("CREATE TABLE n (id int PRIMARY KEY)", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"),
        ("GRANT INSERT ON ALL TABLES IN SCHEMA public TO PUBLIC", "CREATE TABLE n (id int PRIMARY KEY)"),
        ("CREATE VIEW v AS SELECT f(1)", "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'"),
    ],
)
def test_what_ran_in_between_makes_a_gap(database: Database, first: str, meanwhile: str) -> None:
    last = begun(database)
    with database.session() as session:
        for statement in ("BEGIN", *first.split("; ")):
            session.execute(statement)
        database.run(meanwhile)
        session.execute("COMMIT")
    with pytest.raises(Inexact, match=TOGETHER):
        carried(database, last)


def test_what_ran_in_between_may_be_in_the_window_before(database: Database) -> None:
    last = begun(database)
    with database.session() as session:
        session.execute("BEGIN")
        session.execute("CREATE VIEW v AS SELECT f(1)")
        database.run("CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'")
        with capture_of(database).window(last) as window:
            assert b"CREATE FUNCTION" in b"".join(window.changes())
            last = backup_of(window, window.link(gap=None), after=last)
        session.execute("COMMIT")
    with pytest.raises(Inexact, match=TOGETHER):
        carried(database, last)


def test_one_after_the_other_is_carried_whoever_else_is_at_work(database: Database) -> None:
    last = begun(database)
    with database.session() as session, database.session() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO t VALUES (1, 'x')")
        session.execute("BEGIN")
        session.execute("CREATE TABLE n1 (id int PRIMARY KEY)")
        session.execute("ALTER TABLE n1 ADD COLUMN x text")
        other.execute("CREATE TEMP TABLE mine (id int)")
        other.execute("COMMIT")
        session.execute("COMMIT")
        other.execute("ALTER TABLE t ADD COLUMN y int")
        session.execute("CREATE VIEW v AS SELECT y FROM t")
    changes = carried(database, last)
    assert changes.index(b"CREATE TABLE n1") < changes.index(b"ADD COLUMN y") < changes.index(b"CREATE VIEW v")


def test_names_of_objects_among_the_values_and_ddl_make_a_gap(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO named VALUES (1, 'target')")
    database.run("ALTER TABLE target RENAME TO renamed")
    with pytest.raises(Inexact, match=r"public\.named has values that name objects"):
        carried(database, last)


def test_names_of_objects_among_the_values_alone_are_carried(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO named VALUES (1, 'target')")
    assert b"target" in carried(database, last)
