"""What cannot be carried exactly: each with its reason, on real servers. Never a wrong window."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo, pq

from contracts.test_capture import backup_of
from fix_majors import NEWEST
from fix_postgres import Database, new_database, quoted, server
from pgkeep import chain
from pgkeep.adapters.postgres import LogicalCapture, Server
from pgkeep.adapters.postgres.guard import hold
from pgkeep.adapters.postgres.leftovers import take_away
from pgkeep.adapters.postgres.moment import open_moment
from pgkeep.errors import ConfigError, Disturbed
from pgkeep.inventory import TableName
from pgkeep.model import Backup
from pgkeep.ports import Inexact

SLOT = "pgkeep_room_gaps"
MADE = """
    CREATE TABLE kept (number int PRIMARY KEY, about text);
    INSERT INTO kept VALUES (1, 'one'), (2, 'two');
    CREATE FUNCTION make_table() RETURNS void LANGUAGE sql AS 'CREATE TABLE made_by_function (id int PRIMARY KEY)';
"""


@pytest.fixture
def database(sandbox: object, request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=MADE) as found:
        yield found


def capture_of(database: Database) -> LogicalCapture:
    return LogicalCapture(source=database.source(), slot=SLOT, measured=1 << 20, kept=1 << 30)


def begun(database: Database) -> Backup:
    with capture_of(database).begin(None) as window:
        return backup_of(window, window.link(gap="the first"))


def carried(database: Database, last: Backup) -> bytes:
    with capture_of(database).window(last) as window:
        changes = b"".join(window.changes())
        window.link(gap=None)
        return changes


REPLAYED = [
    "SET session_replication_role = replica; CREATE TABLE replicated (id int PRIMARY KEY)",
    "CREATE TABLE fresh (id serial PRIMARY KEY, at timestamptz DEFAULT now())",
    "ALTER TABLE kept ADD COLUMN more text DEFAULT 'none'",
    "ALTER TABLE kept RENAME COLUMN about TO said",
    "CREATE INDEX CONCURRENTLY ON kept (about)",
    "CREATE VIEW seen AS SELECT number, now() FROM kept",
    "DROP TABLE kept",
    "COMMENT ON TABLE kept IS 'what is kept'",
    "GRANT SELECT ON kept TO PUBLIC",
    "CREATE SCHEMA other CREATE TABLE inside (id int PRIMARY KEY)",
    "CREATE TABLE one (id int PRIMARY KEY); INSERT INTO one VALUES (1); CREATE TABLE two (id int PRIMARY KEY)",
]


@pytest.mark.parametrize("ddl", REPLAYED)
def test_ddl_that_is_carried(database: Database, ddl: str) -> None:
    last = begun(database)
    database.run(ddl)
    assert carried(database, last)


UNSEEN = """
    ALTER EVENT TRIGGER pgkeep_end_1 DISABLE; ALTER EVENT TRIGGER pgkeep_end_2 DISABLE;
    CREATE TABLE unseen (id int PRIMARY KEY);
    ALTER EVENT TRIGGER pgkeep_end_1 ENABLE ALWAYS; ALTER EVENT TRIGGER pgkeep_end_2 ENABLE ALWAYS
"""
GAPS = [
    ("CREATE TABLE copied AS SELECT * FROM kept", "CREATE TABLE AS"),
    ("ALTER TABLE kept ADD COLUMN at timestamptz DEFAULT now()", "kept"),
    ("ALTER TABLE kept ADD COLUMN id uuid DEFAULT gen_random_uuid()", "kept"),
    ("ALTER TABLE kept ADD COLUMN n bigserial", "kept"),
    ("DO $$BEGIN CREATE TABLE by_do (id int); END$$", "DO"),
    ("SELECT make_table()", "function"),
    ("SELECT lo_from_bytea(0, 'large')", "large objects were changed"),
    (UNSEEN, "event triggers were altered"),
    ("""SELECT pg_logical_emit_message(true, 'pgkeep:ddl', '{"ev": "ddl_command_end", "cu": "postgres"}')""", "forged"),
    ("ALTER EVENT TRIGGER {trigger} DISABLE", "event trigger"),
]


@pytest.mark.parametrize(("act", "reason"), GAPS)
def test_what_cannot_be_carried_says_why(database: Database, act: str, reason: str) -> None:
    last = begun(database)
    ((trigger,),) = database.ask("SELECT evtname FROM pg_event_trigger ORDER BY evtname LIMIT 1")
    database.run(act.replace("{trigger}", quoted(str(trigger))))
    with pytest.raises(Inexact) as doubt:
        carried(database, last)
    assert reason in doubt.value.reason


def test_ddl_of_other_windows_makes_no_gap(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO kept VALUES (3, 'x')", "ALTER TABLE kept ADD COLUMN more text")
    database.run("INSERT INTO kept VALUES (4, 'x', 'y')")
    with capture_of(database).window(last) as window:
        assert b"".join(window.changes())
        again = backup_of(window, window.link(gap=None), after=last)
    database.run("INSERT INTO kept VALUES (5, 'five')")  # the slot shows the last window once more
    with capture_of(database).window(again) as window:
        database.run("ALTER TABLE kept ADD COLUMN most text", "INSERT INTO kept VALUES (6, 'x', 'y', 'z')")
        assert b"'five'" in b"".join(window.changes())
        window.link(gap=None)


def test_ddl_that_was_shown_does_not_hide_what_was_not(database: Database) -> None:
    last = begun(database)
    database.run(UNSEEN)
    database.run("CREATE TABLE seen (id int PRIMARY KEY)")
    with pytest.raises(Inexact, match="event triggers were altered"):
        carried(database, last)


def test_a_session_that_has_switched_event_triggers_off(server_of: Callable[[int], Server]) -> None:
    with new_database(server_of(NEWEST), made=MADE) as database:
        capture_of(database).install()
        last = begun(database)
        database.run("SET event_triggers = off", "CREATE TABLE unseen (id int PRIMARY KEY)")
        with pytest.raises(Inexact, match="was changed where event triggers do not see it"):
            carried(database, last)
        take_away(database.source(), SLOT)


def test_the_source_goes_on_exactly_after_a_gap(database: Database) -> None:
    last = begun(database)
    database.run("CREATE TABLE copied AS SELECT * FROM kept")
    with capture_of(database).window(last) as window:
        with pytest.raises(Inexact):
            list(window.changes())
        again = backup_of(window, window.link(gap="copied"), after=last)
    database.run("INSERT INTO kept VALUES (3, 'three')")
    assert b"'three'" in carried(database, again)


def test_a_report_says_how_the_changes_are_kept(database: Database) -> None:
    before = capture_of(database).report()
    assert (before.wal_level, before.may_replicate, before.slot) == ("logical", True, None)
    assert not before.installed.publication
    begun(database)
    after = capture_of(database).report()
    assert after.installed.complete
    assert after.slot
    assert not after.slot.lost


def lose_slot(database: Database) -> None:
    database.run(f"SELECT pg_drop_replication_slot('{SLOT}')")


def read_on(database: Database) -> None:
    database.run("INSERT INTO kept VALUES (9, 'nine')")
    database.run(f"SELECT count(*) FROM pg_replication_slot_advance('{SLOT}', pg_current_wal_lsn())")


def drop_publication(database: Database) -> None:
    database.run("DROP PUBLICATION pgkeep")


def replace_publication(database: Database) -> None:
    database.run("DROP PUBLICATION pgkeep", "CREATE PUBLICATION pgkeep FOR ALL TABLES")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lose_slot, "is gone"),
        (read_on, "somebody else has read"),
        (drop_publication, "publication pgkeep was dropped"),
        (replace_publication, "publication pgkeep was dropped, or replaced"),
    ],
)
def test_a_chain_that_is_broken_says_why(database: Database, act: Callable[[Database], None], reason: str) -> None:
    last = begun(database)
    assert capture_of(database).broken(last) is None
    act(database)
    assert reason in (capture_of(database).broken(last) or "")
    again = begun(database)
    assert capture_of(database).broken(again) is None, "it begins anew"
    database.run("INSERT INTO kept VALUES (3, 'three')")
    assert b"'three'" in carried(database, again)


def test_a_publication_where_nothing_else_is_ours_is_left_alone(database: Database) -> None:
    last = begun(database)
    take_away(database.source(), SLOT)
    database.run("CREATE PUBLICATION pgkeep")
    assert "publication pgkeep was dropped" in (capture_of(database).broken(last) or "")
    with pytest.raises(ConfigError, match="that pgkeep has not made"):
        begun(database)


def test_a_slot_that_somebody_reads_is_another_moment_and_no_gap(database: Database) -> None:
    last = begun(database)
    parameters = database.server.parameters(database.name) | {"replication": "database"}
    reader = pq.PGconn.connect(conninfo.make_conninfo("", **parameters).encode())
    options = "(proto_version '1', publication_names 'pgkeep')"
    started = reader.exec_(f'START_REPLICATION SLOT "{SLOT}" LOGICAL 0/0 {options}'.encode())
    assert started.status == pq.ExecStatus.COPY_BOTH
    try:
        with pytest.raises(Disturbed, match="somebody else reads the slot"):
            carried(database, last)
    finally:
        reader.finish()


def test_other_roles_are_a_gap(database: Database) -> None:
    last = begun(database)
    name = f"role_{database.name}"
    database.run(f"CREATE ROLE {name}")
    try:
        with pytest.raises(Inexact, match="roles, their rights or table spaces were changed"):
            carried(database, last)
    finally:
        database.run(f"DROP ROLE {name}")


def told(last: Backup, **position: object) -> Backup:
    """As if the source had stood elsewhere at that link."""
    assert last.link is not None
    elsewhere = replace(chain.position_of(last), **position)  # type: ignore[arg-type]
    return replace(last, link=replace(last.link, position=elsewhere))


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"system": "1"}, "another server"),
        ({"timeline": 7}, "standby was promoted"),
        ({"database": 1}, "another database has this name"),
    ],
)
def test_another_history_says_why(database: Database, position: dict[str, object], reason: str) -> None:
    last = begun(database)
    assert reason in (capture_of(database).broken(told(last, **position)) or "")


def test_a_source_that_went_back_in_time(database: Database) -> None:
    last = begun(database)
    ahead = replace(last, cut=replace(last.cut, lsn="FFF/0"))
    assert "went back in time" in (capture_of(database).broken(ahead) or "")


def test_a_copy_of_the_source_that_has_gone_its_own_way(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO kept VALUES (3, 'three')")
    with pytest.raises(Inexact, match="restored from a copy"):
        carried(database, told(last, token="of another history"))


def test_a_renamed_database_is_the_same_database(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO kept VALUES (3, 'three')")
    renamed = replace(database, name=f"{database.name}_renamed")
    maintenance = replace(database, name="postgres")
    maintenance.run(f"ALTER DATABASE {quoted(database.name)} RENAME TO {quoted(renamed.name)}")
    assert capture_of(renamed).broken(last) is None
    assert b"'three'" in carried(renamed, last)


def test_wal_that_the_server_did_not_keep(database: Database) -> None:
    last = begun(database)
    maintenance = replace(database, name="postgres")
    with closing(psycopg.connect(**database.server.parameters("postgres"), autocommit=True)) as connection:  # type: ignore[arg-type]
        connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            for _ in range(4):
                database.run("INSERT INTO kept SELECT 10 + i FROM generate_series(1, 50000) i; DELETE FROM kept")
                maintenance.run("SELECT pg_switch_wal()", "CHECKPOINT")
            assert "wal_status: lost" in (capture_of(database).broken(last) or "")
        finally:
            connection.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            connection.execute("SELECT pg_reload_conf()")
    assert capture_of(database).broken(begun(database)) is None


def test_a_table_rewritten_after_the_cut_is_not_measured(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO kept VALUES (3, 'three')")
    with capture_of(database).window(last) as window:
        database.run("TRUNCATE kept")
        assert b"'three'" in b"".join(window.changes())
        update = window.update()
    assert [table.name for table in update.unmeasured] == ["kept"]
    assert not update.tables


def test_a_table_carried_whole_is_not_carried_empty(database: Database) -> None:
    database.run("CREATE TABLE without_key (text text)")
    last = begun(database)
    database.run("INSERT INTO without_key VALUES ('one')")
    with capture_of(database).window(last) as window:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.run("SET lock_timeout = 100", "TRUNCATE without_key")
        assert b"\none\n" in b"".join(window.changes())


def test_a_table_rewritten_before_it_is_held_makes_the_moment_void(database: Database) -> None:
    with open_moment(database.server, database.name) as moment:
        database.run("TRUNCATE kept")
        with pytest.raises(Disturbed, match=r"public\.kept was rewritten"):
            hold([TableName(schema="public", name="kept")], moment)


def test_a_table_that_somebody_is_about_to_change_is_not_waited_for(database: Database) -> None:
    last = begun(database)
    database.run("INSERT INTO kept VALUES (3, 'three')")
    with capture_of(database).window(last) as window, database.session() as other:
        assert b"'three'" in b"".join(window.changes())
        other.execute("BEGIN; LOCK TABLE kept IN ACCESS EXCLUSIVE MODE")
        assert [table.name for table in window.update().unmeasured] == ["kept"]
        other.execute("ROLLBACK")
        assert [table.name for table in window.update().tables] == ["kept"]
