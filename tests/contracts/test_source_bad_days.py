"""What must not happen to a source, or through it: real PostgreSQL only."""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from fix_postgres import (
    LARGE,
    SAMPLE,
    Database,
    children,
    eventually,
    new_database,
    new_role,
    quoted,
    server,
)
from pgkeep.adapters.postgres import PostgresSource, Server, probe_source
from pgkeep.adapters.postgres.guard import hold_still
from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.inventory import Inventory

DUMPS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgkeep pg_dump'"


@pytest.fixture
def database(sandbox: Mapping[str, str]) -> Iterator[Database]:
    with new_database(server(sandbox, "source"), made=SAMPLE) as database:
        yield database


def dumped(source: PostgresSource) -> tuple[bytes, Inventory]:
    with source.snapshot() as snapshot:
        return b"".join(snapshot.dump()), snapshot.inventory()


@pytest.mark.parametrize(
    "rewrite",
    [
        "ALTER TABLE document ALTER id TYPE numeric",
        "ALTER TABLE document ADD COLUMN extra float DEFAULT random()",
        'TRUNCATE document, "odd ""Name"',
        "VACUUM FULL document",
        "ALTER SEQUENCE document_id_seq RESTART",
    ],
)
def test_a_table_rewritten_between_snapshot_and_lock_is_noticed(database: Database, rewrite: str) -> None:
    """Without the guard pg_dump ends well here, with an empty table."""
    with database.source().snapshot() as snapshot:
        database.run(rewrite)
        with pytest.raises(Unavailable, match=r"public\.(document|odd).* was rewritten"):
            b"".join(snapshot.dump())
    dumped(database.source())


@pytest.mark.parametrize("change", ["ALTER TABLE document RENAME TO renamed", 'DROP TABLE "odd ""Name"'])
def test_a_table_gone_between_snapshot_and_lock_is_noticed(database: Database, change: str) -> None:
    with database.source().snapshot() as snapshot:
        database.run(change)
        with pytest.raises(Unavailable):
            b"".join(snapshot.dump())


def test_a_change_that_waits_for_pg_dump_is_not_waited_for(database: Database) -> None:
    """It waits for pg_dump, which waits for us to read on: whoever waits here would wait forever."""
    with database.source().snapshot() as snapshot, database.session() as dump, database.session() as changer:
        dump.execute("BEGIN; LOCK TABLE document IN ACCESS SHARE MODE")
        changer.pgconn.send_query(b"ALTER TABLE document ADD COLUMN extra int")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'document'::regclass"
        assert eventually(lambda: database.ask(waiting) == [(1,)])
        with pytest.raises(Unavailable, match=r"public\.document is about to be changed"):
            hold_still(snapshot.moment, without=())


def test_a_table_that_stays_locked_ends_the_dump(database: Database) -> None:
    impatient = PostgresSource(server=database.server, dbname=database.name, lock_wait=0.2)
    with impatient.snapshot() as snapshot, database.session() as holder:
        holder.execute("BEGIN; LOCK TABLE document IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="pg_dump"):
            b"".join(snapshot.dump())


def test_a_migration_is_never_ended_for_a_deadlock_with_a_dump(database: Database) -> None:
    """It has the table that pg_dump waits for, and then wants one that pg_dump has locked already."""
    pg_dump = "l.pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = 'pgkeep pg_dump')"
    has = f"SELECT count(*) FROM pg_locks l WHERE granted AND relation = 'document'::regclass AND {pg_dump}"
    waits = f"SELECT count(*) FROM pg_locks l WHERE NOT granted AND {pg_dump}"
    with database.source().snapshot() as snapshot, database.session() as migration, ThreadPoolExecutor(1) as pool:
        migration.execute('BEGIN; ALTER TABLE "odd ""Name" ADD COLUMN extra int')
        dump = pool.submit(lambda: b"".join(snapshot.dump()))
        assert eventually(lambda: (database.ask(has), database.ask(waits)) == ([(1,)], [(1,)]))
        migration.execute("ALTER TABLE document ADD COLUMN extra int")
        migration.execute("COMMIT")
        assert dump.result().startswith(b"PGDMP")


def test_writers_and_new_tables_do_not_disturb_a_dump(database: Database) -> None:
    with database.source().snapshot() as snapshot:
        database.run("INSERT INTO document (name) VALUES ('later')", "CREATE TABLE later (id int)")
        dump = b"".join(snapshot.dump())
        database.run("DELETE FROM document WHERE id > 400")
        inventory = snapshot.inventory()
    assert dump
    assert {table.name: table.rows for table in inventory.tables} == {"document": 500, 'odd "Name': 20}


def test_tables_cannot_be_rewritten_between_dump_and_measuring(database: Database) -> None:
    with database.source().snapshot() as snapshot:
        b"".join(snapshot.dump())
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.run("SET lock_timeout = '100ms'", "SET lock_timeout = '100ms'; TRUNCATE document CASCADE")
        assert snapshot.inventory().totals.rows == 520


def test_sequences_are_as_they_stood_when_the_dump_began(database: Database) -> None:
    with database.source().snapshot() as snapshot:
        b"".join(snapshot.dump())
        database.run("SELECT nextval('document_id_seq'), nextval('never')")
        states = {state.name: (state.last_value, state.is_called) for state in snapshot.inventory().sequences}
    assert states == {"document_id_seq": (500, True), "never": (1, False)}


def test_the_connection_of_pg_dump_is_lost(database: Database) -> None:
    database.run(LARGE)
    with database.source().snapshot() as snapshot:
        chunks = snapshot.dump()
        next(chunks)
        database.run(f"{DUMPS} AND datname = current_database()")
        with pytest.raises(Unavailable, match="pg_dump"):
            b"".join(chunks)


def test_the_connection_of_the_snapshot_is_lost(database: Database) -> None:
    ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgkeep'"
    with database.source().snapshot() as snapshot:
        b"".join(snapshot.dump())
        with database.session() as session:
            session.execute("SET application_name = 'test'")
            session.execute(f"{ours} AND datname = current_database() AND pid <> pg_backend_pid()")
        with pytest.raises(Unavailable):
            snapshot.inventory()


def test_a_terminated_dump_is_no_dump(database: Database) -> None:
    database.run(LARGE)
    with database.source().snapshot() as snapshot:
        chunks = snapshot.dump()
        next(chunks)
        for child in children("pg_dump"):
            child.send_signal(signal.SIGTERM)
        with pytest.raises(Unavailable, match="pg_dump ended"):
            b"".join(chunks)


def test_nothing_answers(sandbox: Mapping[str, str]) -> None:
    nowhere = Server(host="127.0.0.1", port=1, user="pgkeep", password="secret")
    with pytest.raises(Unavailable, match="does not answer") as caught, enter(nowhere, "shop"):
        pass
    assert "secret" not in str(caught.value)


def test_an_unknown_database_and_a_wrong_password_are_the_users_business(database: Database) -> None:
    with pytest.raises(ConfigError, match="no database 'nowhere'"), enter(database.server, "nowhere"):
        pass
    with new_role(database) as role:
        stranger = database.seen_by(role).server
        wrong = Server(host=stranger.host, port=stranger.port, user=role.name, password="wrong-secret")
        with pytest.raises(ConfigError, match="does not let role") as caught, enter(wrong, database.name):
            pass
    assert "wrong-secret" not in repr(caught.value)


def test_a_database_that_lets_nobody_in_and_a_missing_password_are_settings_to_mend(database: Database) -> None:
    with pytest.raises(ConfigError, match="nobody may connect to 'template0'"), enter(database.server, "template0"):
        pass
    nobody = replace(database.server, password=None, options={"passfile": "/dev/null"})
    with pytest.raises(ConfigError, match="does not let role"), enter(nobody, database.name):
        pass


def enter(of: Server, dbname: str) -> "contextlib.AbstractContextManager[object]":
    return PostgresSource(server=of, dbname=dbname).snapshot()


def test_a_role_without_privileges_learns_what_to_grant(database: Database) -> None:
    database.run("SELECT lo_from_bytea(4711, 'x')", "CREATE TABLE hidden (id int); INSERT INTO hidden VALUES (1)")
    database.run("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
    with new_role(database) as role:
        seen = database.seen_by(role)
        with pytest.raises(ConfigError) as caught, seen.source().snapshot():
            pass
        name = quoted(role.name)
        assert f"GRANT pg_read_all_data TO {name};" in caught.value.next_step
        for grant in (f"GRANT pg_read_all_data TO {name}", f"ALTER ROLE {name} BYPASSRLS"):
            assert grant in refusal(seen)
            database.run(grant)
        assert f"GRANT SELECT ON LARGE OBJECT 4711 TO {name}" in refusal(seen)
        database.run(f"GRANT SELECT ON LARGE OBJECT 4711 TO {name}")
        with database.source().snapshot() as snapshot:
            assert dumped(seen.source())[1].totals == snapshot.inventory().totals


def refusal(database: Database) -> str:
    missing = probe_source(database.source()).missing
    with pytest.raises(ConfigError) as caught, database.source().snapshot():
        pass
    assert all(lack.grant in caught.value.next_step for lack in missing)
    return caught.value.next_step


def test_only_who_may_read_password_hashes_backs_them_up(database: Database) -> None:
    with database.source().snapshot() as snapshot:
        assert b"SCRAM-SHA-256" in b"".join(snapshot.globals())
    with new_role(database) as role:
        database.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {quoted(role.name)}")
        database.run(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {quoted(role.name)}")
        with database.seen_by(role).source().snapshot() as snapshot:
            script = b"".join(snapshot.globals())
        assert b"CREATE ROLE" in script
        assert b"SCRAM-SHA-256" not in script


def test_ignored_tables_come_without_rows(database: Database) -> None:
    database.run(
        'CREATE TABLE "Session.x" (id text); INSERT INTO "Session.x" VALUES (\'secret-session\')',
        "CREATE TABLE part (id int, t text) PARTITION BY RANGE (id)",
        "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (9); INSERT INTO part VALUES (1, 'secret-part')",
    )
    source = database.source(ignored_tables=('public."Session.x"', "public.part", "public.not_there"))
    dump, inventory = dumped(source)
    assert b"Session.x" in dump
    assert b"part1" in dump
    assert b"secret-session" not in dump
    assert b"secret-part" not in dump
    assert inventory.ignored == ('public."Session.x"', "public.part1")
    assert {table.name for table in inventory.tables} == {"document", 'odd "Name'}
    assert probe_source(source).unknown_ignored == ("public.not_there",)


def test_an_ignored_table_that_others_refer_to_could_not_be_restored(database: Database) -> None:
    source = database.source(ignored_tables=("public.document",))
    with pytest.raises(ConfigError, match=r'"odd ""Name" refers to public\.document'), source.snapshot():
        pass
    dumped(database.source(ignored_tables=("public.document", 'public."odd ""Name"')))


@pytest.mark.parametrize("name", ["a..b", "a.b.c.d", 'public."x'])
def test_an_ignored_name_that_is_none(database: Database, name: str) -> None:
    with pytest.raises(ConfigError, match="no table's name"), database.source(ignored_tables=(name,)).snapshot():
        pass


def test_a_second_writer_gives_up_after_its_patience(database: Database) -> None:
    impatient = database.source(patience=0.1)
    with database.source().exclusively(), pytest.raises(Unavailable, match="somebody else"), impatient.exclusively():
        pass


def test_a_lost_writers_lock_is_said_at_the_end(database: Database) -> None:
    holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid"
    with pytest.raises(Unavailable), database.source().exclusively():
        assert database.ask(f"{holders} FROM pg_database WHERE datname = current_database())") == [(True,)]


def test_server_side_settings_of_role_and_database_change_no_measure(database: Database) -> None:
    database.run("CREATE TABLE times (t timestamptz, i interval, f float8, b bytea)")
    database.run("INSERT INTO times VALUES (now(), '1 day 2 hours', 0.1::float8 + 0.2, 'x')")
    plain = dumped(database.source())[1]
    for setting in (
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "timezone = 'Asia/Tokyo'",
        "extra_float_digits = 0",
        "bytea_output = 'escape'",
        "search_path = 'public'",
        "default_transaction_isolation = 'serializable'",
        "idle_in_transaction_session_timeout = '1ms'",
        "statement_timeout = '1s'",
    ):
        database.run(f"ALTER DATABASE {quoted(database.name)} SET {setting}")
    assert dumped(database.source())[1].totals == plain.totals


@pytest.mark.parametrize("name", ['we"ird Room', "a=b", "-dash", "it's \\ there", "ünï ☃", "postgresql://x", "x" * 63])
def test_any_name_is_a_name(sandbox: Mapping[str, str], name: str) -> None:
    with new_database(server(sandbox, "source"), name=name, made=SAMPLE) as database:
        with database.source().snapshot() as snapshot:
            assert b"".join(snapshot.globals())
            assert b"".join(snapshot.dump()).startswith(b"PGDMP")
            assert snapshot.inventory().dbname == name
        with database.source().exclusively():
            held = True
        assert held


def test_an_empty_database_is_a_database(sandbox: Mapping[str, str]) -> None:
    with new_database(server(sandbox, "source")) as database:
        dump, inventory = dumped(database.source())
    assert dump.startswith(b"PGDMP")
    assert (inventory.totals.tables, inventory.totals.rows, inventory.totals.large_objects) == (0, 0, 0)


def test_no_program_is_left_and_no_secret_is_on_a_command_line(sandbox: Mapping[str, str]) -> None:
    with new_database(server(sandbox, "source"), made=LARGE) as database, new_role(database, "SUPERUSER LOGIN") as role:
        with database.seen_by(role).source().snapshot() as snapshot:
            dump = snapshot.dump()
            next(dump)
            (child,) = children("pg_dump")
            assert role.password not in " ".join(child.cmdline())
            assert database.name not in " ".join(child.cmdline())
            getattr(dump, "close")()  # noqa: B009
        assert children("pg_dump") == []


def test_a_probe_says_what_passed(database: Database) -> None:
    report = probe_source(database.source())
    assert report.missing == ()
    assert report.long_rows == ()
    assert report.unrestorable is None
    assert not isinstance(report.tools, PgkeepError)
    assert report.tools.major >= report.server_version // 10_000
    assert abs(report.clock_difference) < 60
