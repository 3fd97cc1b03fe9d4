"""Tables that are carried whole, and what must not be said of them: each case on a real server."""

from collections.abc import Iterator

import pytest

from contracts.test_capture import backup_of
from fix_installation import UNSEEN
from fix_pgoutput_sql import apply
from fix_postgres import Database, new_database, server
from pgkeep.adapters.postgres import LogicalCapture
from pgkeep.delta import until
from pgkeep.model import Backup
from pgkeep.ports import Inexact

SLOT = "pgkeep_room_whole"
MADE = """
    CREATE TABLE kept (number int PRIMARY KEY, about text);
    CREATE TABLE stage (id int, t text);
    CREATE TABLE address (id int PRIMARY KEY, country int);
    CREATE TABLE code (id int NOT NULL);
    CREATE UNIQUE INDEX code_id ON code (id);
    CREATE TABLE coded (id int PRIMARY KEY, code int REFERENCES code (id));
"""


@pytest.fixture
def database(sandbox: object, request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=MADE) as found:
        yield found


def capture_of(database: Database, *ignored: str) -> LogicalCapture:
    return LogicalCapture(source=database.source(ignored_tables=ignored), slot=SLOT, measured=1 << 20, kept=1 << 30)


def begun(database: Database) -> Backup:
    with capture_of(database).begin(None) as window:
        return backup_of(window, window.link(gap="the first"))


def carried(database: Database, last: Backup, *ignored: str) -> tuple[bytes, Backup]:
    with capture_of(database, *ignored).window(last) as window:
        changes = b"".join(window.changes())
        return changes, backup_of(window, window.link(gap=None), after=last)


def stale(backup: Backup) -> tuple[str, ...]:
    assert backup.link
    return backup.link.stale


def test_a_table_that_gets_a_key_and_then_another_name_is_not_forgotten(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO stage VALUES (1, 'before the key')", "CREATE UNIQUE INDEX CONCURRENTLY i ON stage (id)")
    database.run("ALTER TABLE stage ALTER id SET NOT NULL, ADD CONSTRAINT k PRIMARY KEY USING INDEX i")
    with pytest.raises(Inexact, match="stage: carried whole, and altered"):
        carried(database, last)
    with capture_of(database).window(last) as window:  # which lists it
        again = backup_of(window, window.link(gap="altered"), after=last)
    database.run(
        "INSERT INTO stage VALUES (2, 'with it')", "ALTER TABLE stage RENAME TO live", "CREATE TABLE stage (x int)"
    )
    changes, _ = carried(database, again)
    assert b"with it" in changes


@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE stage ADD COLUMN n int; UPDATE stage SET n = 1; ALTER TABLE stage ALTER n SET NOT NULL",
        "CREATE UNIQUE INDEX ON stage (id)",
        "ALTER TABLE stage ADD CHECK (id > 0)",
        "ALTER TABLE address ADD FOREIGN KEY (country) REFERENCES code (id)",
    ],
)
def test_ddl_that_looks_at_rows_which_come_later_is_a_gap(database: Database, ddl: str) -> None:
    last = begun(database)
    for statement in ddl.split("; "):
        database.run(statement)
    with pytest.raises(Inexact, match="carried whole, and altered in a way that looks at its rows"):
        carried(database, last)


def test_a_table_that_others_refer_to_can_be_filled_anew(database: Database) -> None:
    with new_database(database.server, made=MADE) as copy:
        last = begun(database)
        database.run("INSERT INTO code VALUES (1), (2)", "INSERT INTO coded VALUES (1, 1)")
        changes, last = carried(database, last)
        apply(copy, [changes])
        database.run("INSERT INTO code VALUES (3)")
        apply(copy, [carried(database, last)[0]])
        assert copy.ask("SELECT id FROM code ORDER BY 1") == [(1,), (2,), (3,)]
        assert copy.ask("SELECT * FROM coded") == [(1, 1)]


def test_a_table_that_went_is_stale_within_the_window(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO stage VALUES (1, 'gone')", "DROP TABLE stage")
    database.run("CREATE TABLE passing (x int)", "INSERT INTO passing VALUES (1)", "DROP TABLE passing")
    assert {"public.stage", "public.passing"} <= set(stale(carried(database, last)[1]))


def test_another_list_of_ignored_tables_is_a_gap(database: Database) -> None:
    last = begun(database)
    with pytest.raises(Inexact, match="other tables are ignored"):
        carried(database, last, "public.kept")


@pytest.mark.parametrize(
    "act",
    [
        "ALTER PUBLICATION pgkeep DROP TABLE kept; ALTER PUBLICATION pgkeep ADD TABLE kept",
        "ALTER PUBLICATION pgkeep SET (publish = 'insert'); ALTER PUBLICATION pgkeep SET (publish = 'insert, update')",
    ],
)
def test_somebody_who_changes_what_is_published(database: Database, act: str) -> None:
    last = begun(database)
    for statement in act.split("; "):
        database.run(statement)
    with pytest.raises(Inexact, match="what pgkeep publishes"):
        carried(database, last)


@pytest.mark.parametrize("content", ["\\xff", "{}"])
@pytest.mark.parametrize("prefix", ["pgkeep:cut", "pgkeep:listed", "pgkeep:doubt", "pgkeep:ddl"])
def test_anybodys_messages_do_no_more_than_make_a_gap(database: Database, prefix: str, content: str) -> None:
    last = begun(database)
    database.run(
        f"SELECT pg_logical_emit_message(true, '{prefix}', '{content}'::bytea)", "INSERT INTO kept VALUES (1, 'x')"
    )
    if prefix == "pgkeep:cut":
        assert b"'x'" in carried(database, last)[0]
        return
    with pytest.raises(Inexact):
        carried(database, last)


NARROW = "CREATE SEQUENCE narrow MAXVALUE 100; SELECT setval('narrow', 100)"


@pytest.mark.parametrize(("whole", "value"), [(False, 100), (True, 500)])
def test_a_stop_before_a_sequence_was_widened(database: Database, *, whole: bool, value: int) -> None:
    database.run(NARROW)
    last = begun(database)
    ((xid,),) = database.ask("INSERT INTO kept VALUES (1, 'x') RETURNING txid_current()")
    database.run("ALTER SEQUENCE narrow MAXVALUE 1000", "SELECT setval('narrow', 500)")
    changes, _ = carried(database, last)
    with new_database(database.server, made=MADE + NARROW) as copy:
        apply(copy, [changes] if whole else until([changes], time=None, xid=int(str(xid))))
        assert copy.ask("SELECT last_value FROM narrow") == [(value,)]


def test_temporary_tables_do_not_hide_what_nobody_saw(database: Database) -> None:
    last = begun(database)
    database.run("CREATE TEMPORARY TABLE passing (x int)")
    with database.session() as session:
        session.execute(f"{UNSEEN}; CREATE TABLE unseen (id int PRIMARY KEY)")
    with pytest.raises(Inexact, match=r"table public\.unseen was changed where event triggers do not see it"):
        carried(database, last)


def test_without_event_triggers_columns_that_came_and_went_are_noticed(database: Database) -> None:
    last = begun(database)
    database.run("DROP EVENT TRIGGER pgkeep_end_1", "DROP EVENT TRIGGER pgkeep_end_2")
    last = begun(database)
    database.run(
        "INSERT INTO kept VALUES (1, 'x')", "ALTER TABLE kept ADD COLUMN n int", "INSERT INTO kept VALUES (2, 'x', 3)"
    )
    database.run("ALTER TABLE kept DROP COLUMN n", "INSERT INTO kept VALUES (3, 'y')")
    with pytest.raises(Inexact):
        carried(database, last)
