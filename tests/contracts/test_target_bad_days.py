"""What must not happen to a database that comes back, or to the one whose place it takes: real PostgreSQL only."""

import contextlib
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import psycopg
import pytest

from fix_postgres import (
    LARGE,
    SAMPLE,
    Database,
    children,
    drop,
    eventually,
    new_database,
    new_role,
    no_database,
    quoted,
    server,
)
from pgkeep import records
from pgkeep.adapters.postgres import PostgresSource, PostgresTarget
from pgkeep.adapters.postgres.programs import examine, in_the_wheel
from pgkeep.errors import ConfigError, NotRestorable, Unavailable
from pgkeep.inventory import Inventory, Properties, Setting, differences
from pgkeep.ports import Refused

RICH = """
    CREATE TABLE types (
        id serial PRIMARY KEY, f float8, f4 float4, n numeric, iv interval, ts timestamptz, d date, b bytea, j json,
        jb jsonb, a int[], r int4range, u uuid, c regclass, e inet, bt bit(3), tv tsvector, p point, m money,
        g text GENERATED ALWAYS AS ('x' || 'y') STORED);
    INSERT INTO types (f, f4, n, iv, ts, d, b, j, jb, a, r, u, c, e, bt, tv, p, m)
        SELECT random(), random(), 1.00, '1 day 2 hours', now(), now(), '\\x00ff', '{"b":1, "a":2}', '{"b":1,"a":2}',
               '{1,NULL,3}', '[1,5)', gen_random_uuid(), 'pg_class', '10.0.0.1/8', B'101', 'a:1 b:2', '(1,2)', 12.34
        FROM generate_series(1, 50);
    INSERT INTO types DEFAULT VALUES;
    CREATE TABLE part (id int, t text) PARTITION BY RANGE (id);
    CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (9);
    INSERT INTO part VALUES (1, 'one');
    CREATE TABLE parent (a int);
    CREATE TABLE child () INHERITS (parent);
    INSERT INTO child VALUES (1);
    CREATE TABLE no_columns ();
    INSERT INTO no_columns DEFAULT VALUES;
    CREATE UNLOGGED TABLE unlogged (a int);
    INSERT INTO unlogged VALUES (1);
    CREATE SEQUENCE down INCREMENT -1;
    CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM part;
    SELECT nextval('down'), lo_from_bytea(4711, repeat('large ', 10000)::bytea), lo_create(4712),
           lo_from_bytea(4713, '\\x00'), lo_put(lo_create(4714), 9000, 'after a hole');
"""


WORDS = """
    CREATE TABLE words (word text);
    INSERT INTO words VALUES ('1');
    CREATE FUNCTION good(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'
"""
REFUSING = """FUNCTION good(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$BEGIN RAISE 'no secret % here', $1 USING {}; END$$"""


def raising(using: str) -> bytes:
    """Changes that fail, on the second line, by a check that says in words of its own why."""
    made = " ".join(REFUSING.format(using).split())
    return (
        f"CREATE {made};\nCREATE TABLE words (word text CHECK (good(word))); INSERT INTO words VALUES ('');\n".encode()
    )


def everything_of(error: BaseException) -> str:
    """What a log shows of it: its causes, too."""
    return "".join(traceback.format_exception(error))


@dataclass(frozen=True, kw_only=True)
class Captured:
    dump: bytes
    inventory: Inventory

    def chunks(self) -> Iterator[bytes]:
        return (self.dump[i : i + 4096] for i in range(0, len(self.dump), 4096))

    def needing(self, role: str) -> Inventory:
        return replace(self.inventory, roles=(role,))

    def with_properties(self, **changes: object) -> "Captured":
        properties: Properties = replace(self.inventory.properties, **changes)  # type: ignore[arg-type]
        return replace(self, inventory=replace(self.inventory, properties=properties))


def capture(source: PostgresSource) -> Captured:
    with source.snapshot() as snapshot:
        return Captured(dump=b"".join(snapshot.dump()), inventory=snapshot.inventory())


@pytest.fixture
def captured(sandbox: Mapping[str, str]) -> Iterator[Captured]:
    with new_database(server(sandbox, "source"), made=SAMPLE) as source:
        yield capture(source.source())


@pytest.fixture
def place(sandbox: Mapping[str, str]) -> Iterator[Database]:
    with no_database(server(sandbox, "scratch")) as place:
        yield place


def bring_back(place: Database, captured: Captured, *, replacing: bool = False) -> str | None:
    with place.target().fresh(captured.inventory) as fresh:
        fresh.load(captured.chunks())
        return fresh.take_place(replace=replacing)


def test_every_kind_of_thing_comes_back_equal(sandbox: Mapping[str, str], place: Database) -> None:
    with new_database(server(sandbox, "source"), made=SAMPLE + RICH) as source:
        captured = capture(source.source())
        with place.target().fresh(captured.inventory) as fresh:
            fresh.load(captured.chunks())
            restored = fresh.inventory(captured.inventory)
    assert differences(source=captured.inventory, restored=restored) == ()
    assert restored.totals == captured.inventory.totals
    assert captured.inventory.large_objects.count == 4


def test_one_changed_value_is_a_difference(captured: Captured, place: Database) -> None:
    bring_back(place, captured)
    place.run("UPDATE document SET about = '{}' WHERE id = 7")
    found = differences(source=captured.inventory, restored=capture(place.source()).inventory)
    assert [line.split(":")[0] for line in found] == ["table public.document"]


def test_the_database_itself_comes_back(sandbox: Mapping[str, str], place: Database) -> None:
    with new_database(server(sandbox, "source"), made=SAMPLE) as source, new_role(source) as role:
        name, owner = quoted(source.name), quoted(role.name)
        source.run(
            f"ALTER DATABASE {name} OWNER TO {owner}",
            f"COMMENT ON DATABASE {name} IS 'it''s \\ a \"shop\"'",
            f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",
            f"GRANT CREATE ON DATABASE {name} TO {owner} WITH GRANT OPTION",
            f'ALTER DATABASE {name} SET search_path = "$user", public, \'Odd, "Name\'',
            f"ALTER DATABASE {name} SET work_mem = '12MB'",
            f"ALTER ROLE {owner} IN DATABASE {name} SET statement_timeout = '77s'",
        )
        before = capture(source.source())
        try:
            bring_back(place, before)
            after = capture(place.source())
            assert after.inventory.properties == before.inventory.properties
            assert after.inventory.roles == before.inventory.roles
            assert role.name in before.inventory.roles
        finally:
            drop_with_role(place, role.name)


def drop_with_role(place: Database, role: str) -> None:
    maintenance = Database(server=place.server, name="postgres")
    maintenance.run(f"DROP DATABASE IF EXISTS {quoted(place.name)} WITH (FORCE)", f"DROP ROLE IF EXISTS {quoted(role)}")


def test_a_missing_role_is_made_without_login(captured: Captured, place: Database) -> None:
    inventory, maintenance = captured.needing("made by a restore"), Database(server=place.server, name="postgres")
    made = "SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'made by a restore'"
    try:
        with place.target().fresh(inventory):
            assert maintenance.ask(made) == [(False, False)]
        assert maintenance.ask(made) == []
        with place.target().fresh(inventory) as fresh:
            fresh.take_place(replace=False)
        assert maintenance.ask(made) == [(False, False)]
    finally:
        drop_with_role(place, "made by a restore")


def test_a_role_that_has_come_to_be_needed_stays(captured: Captured, place: Database) -> None:
    maintenance = Database(server=place.server, name="postgres")
    try:
        with new_database(place.server) as other, place.target().fresh(captured.needing("made by a restore")):
            other.run(f'ALTER DATABASE {quoted(other.name)} OWNER TO "made by a restore"')
        assert place.beside() == set()
        assert maintenance.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'made by a restore'") == [(1,)]
    finally:
        drop_with_role(place, "made by a restore")


def test_a_role_without_rights_learns_what_to_grant(captured: Captured, place: Database) -> None:
    maintenance = Database(server=place.server, name="postgres")
    with new_role(maintenance) as role:
        seen = place.seen_by(role)
        with pytest.raises(ConfigError) as caught, seen.target().fresh(captured.inventory):
            pass
        assert caught.value.next_step.endswith(f"ALTER ROLE {quoted(role.name)} CREATEDB;")
        maintenance.run(f"ALTER ROLE {quoted(role.name)} CREATEDB")
        inventory = captured.needing("nobody's role")
        with pytest.raises(ConfigError, match="nobody's role") as caught, seen.target().fresh(inventory):
            pass
        assert 'CREATE ROLE "nobody\'s role";' in caught.value.next_step


def test_an_older_server_is_refused(captured: Captured, place: Database) -> None:
    newer = replace(captured.inventory, server_version=990_000)
    with pytest.raises(ConfigError, match="PostgreSQL 99"), place.target().fresh(newer):
        pass


def test_a_locale_that_the_server_does_not_know(captured: Captured, place: Database) -> None:
    odd = captured.with_properties(collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8")
    with pytest.raises(ConfigError, match="xx_XX"), place.target().fresh(odd.inventory):
        pass
    assert place.beside() == set()


def test_a_setting_that_the_server_does_not_know_is_left_out(captured: Captured, place: Database) -> None:
    known = Setting(role=None, value="work_mem=12MB")
    bring_back(place, captured.with_properties(settings=(Setting(role=None, value="no_such_thing=1"), known)))
    assert capture(place.source()).inventory.properties.settings == (known,)


@pytest.mark.parametrize("cut", [0, 3, 2000])
def test_half_a_dump_is_no_dump(captured: Captured, place: Database, cut: int) -> None:
    with pytest.raises(NotRestorable, match="pg_restore"), place.target().fresh(captured.inventory) as fresh:
        fresh.load([captured.dump[:cut]])
    assert place.beside() == set()


def test_something_else_than_a_dump(captured: Captured, place: Database) -> None:
    with pytest.raises(NotRestorable, match="pg_restore"), place.target().fresh(captured.inventory) as fresh:
        fresh.load([b"this is no archive"] * 1000)


def test_a_dump_that_does_not_fit_stops_at_its_first_error(captured: Captured, place: Database) -> None:
    with place.target().fresh(captured.inventory) as fresh:
        replace_database = Database(server=place.server, name=fresh.name)
        replace_database.run("CREATE TABLE document (id text)")
        with pytest.raises(NotRestorable, match="pg_restore"):
            fresh.load(captured.chunks())
    assert children("pg_restore") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            b"INSERT INTO document VALUES ('secret');\nINSERT INTO document VALUES ('secret');\n",
            'line 2: duplicate key value violates unique constraint "document_pkey"',
        ),
        (b"BEGIN;\nCOPY document FROM stdin;\nsecret\tsecret\tsecret\n\\.\n", "line .*: extra data"),
        (b"INSERT INTO nowhere VALUES ('secret');\n", 'line 1: relation "nowhere" does not exist'),
        (b"SELECT\n'secret'::int;\n", r"line 2: invalid input syntax for type integer: \.\.\. \(22P02\)"),
        (b"SELECT secret secret secret;\n", "line 1: syntax error at or near"),
        (raising("ERRCODE = 'P0001'"), "line 2: a function or trigger raised P0001"),
        (raising("ERRCODE = 'check_violation'"), r"line 2: check violation \(23514\)"),
    ],
)
def test_changes_that_do_not_fit_say_why_and_show_no_row(
    place: Database, captured: Captured, changes: bytes, said: str
) -> None:
    with place.target().fresh(captured.inventory) as fresh:
        Database(server=place.server, name=fresh.name).run("CREATE TABLE document (id text PRIMARY KEY)")
        with pytest.raises(Refused, match=said) as refused:
            fresh.apply([changes])
    assert "secret" not in everything_of(refused.value)
    assert place.beside() == set()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            "CREATE MATERIALIZED VIEW sums AS SELECT word::int FROM words; UPDATE words SET word = 'secret'",
            r"MATERIALIZED VIEW DATA sums .*; invalid input syntax for type integer: \.\.\.",
        ),
        (
            "ALTER TABLE words ADD CHECK (good(word)); CREATE OR REPLACE " + REFUSING.format("ERRCODE = 'P0001'"),
            'TABLE DATA words .*; COPY failed for table "words": the server refuses it, in words that may hold data',
        ),
        (
            "CREATE INDEX ON words (good(word)); CREATE OR REPLACE " + REFUSING.format("ERRCODE = 'check_violation'"),
            "INDEX words_good_idx .*; the server refuses it, in words that may hold data",
        ),
    ],
)
def test_a_dump_that_does_not_fit_says_why_and_shows_no_row(
    sandbox: Mapping[str, str], place: Database, caplog: pytest.LogCaptureFixture, broken: str, said: str
) -> None:
    with new_database(server(sandbox, "source"), made=WORDS) as source:
        source.run(*broken.split("; ", 1))
        captured = capture(source.source())
    with place.target().fresh(captured.inventory) as fresh, pytest.raises(NotRestorable, match=said) as caught:
        fresh.load(captured.chunks())
    assert "secret" not in everything_of(caught.value) + caplog.text


def test_newer_programs_than_the_server_show_no_row_either(sandbox: Mapping[str, str], place: Database) -> None:
    """From 17 on they restore into an older server by way of psql."""
    newer = next(tools for tools in filter(None, map(examine, in_the_wheel())) if tools.major >= 17)
    with new_database(server(sandbox, "source"), made=WORDS) as source:
        source.run("ALTER TABLE words ADD CHECK (good(word))")
        source.run("CREATE OR REPLACE " + REFUSING.format("ERRCODE = 'P0001'"))
        captured = capture(source.source())
    target = PostgresTarget(server=place.server, dbname=place.name, bin_dir=newer.directory)
    said = "raised P0001|in its log"
    with target.fresh(captured.inventory) as fresh, pytest.raises(NotRestorable, match=said) as caught:
        fresh.load(captured.chunks())
    assert "secret" not in everything_of(caught.value)


def test_a_view_that_can_be_computed_no_more_shows_no_row(
    sandbox: Mapping[str, str], place: Database, caplog: pytest.LogCaptureFixture
) -> None:
    view = "CREATE MATERIALIZED VIEW sums AS SELECT word::int FROM words"
    with new_database(server(sandbox, "source"), made=f"{WORDS}; {view}") as source:
        captured = capture(source.source())
    with place.target().fresh(captured.inventory) as fresh:
        fresh.load(captured.chunks())
        fresh.apply([b"UPDATE words SET word = 'secret';\n"])
        fresh.settle()
    assert "invalid input syntax for type integer: ... (22P02)" in caplog.text
    assert "secret" not in caplog.text


def test_a_connection_that_ends_while_changes_are_applied(place: Database, captured: Captured) -> None:
    with place.target().fresh(captured.inventory) as fresh, pytest.raises(Refused, match="terminating connection"):
        fresh.apply([b"SELECT pg_terminate_backend(pg_backend_pid());\n"])


def test_a_superuser_hears_why_in_english(place: Database, captured: Captured) -> None:
    Database(server=place.server, name="postgres").run(f"CREATE DATABASE {quoted(place.name)}")
    with place.target().fresh(captured.inventory) as fresh:
        beside = Database(server=place.server, name=fresh.name)
        beside.run(f"ALTER DATABASE {quoted(fresh.name)} SET lc_messages = 'POSIX'")
        fresh.apply([b"CREATE TABLE heard AS SELECT current_setting('lc_messages');\n"])
        assert beside.ask("TABLE heard") == [("C",)]


def test_pg_restore_is_killed(sandbox: Mapping[str, str], place: Database) -> None:
    with new_database(server(sandbox, "source"), made=LARGE) as source:
        captured = capture(source.source())

    def killing() -> Iterator[bytes]:
        for number, chunk in enumerate(captured.chunks()):
            if number == 1000:
                for child in children("pg_restore"):
                    child.kill()
            yield chunk

    with pytest.raises(Unavailable, match="SIGKILL"), place.target().fresh(captured.inventory) as fresh:
        fresh.load(killing())
    assert place.beside() == set()


def test_an_empty_database_is_taken_over(captured: Captured, place: Database) -> None:
    Database(server=place.server, name="postgres").run(f"CREATE DATABASE {quoted(place.name)}")
    place.target().require_free(replace=False)
    assert bring_back(place, captured) is None
    assert place.beside() == set()
    assert capture(place.source()).inventory.totals == captured.inventory.totals


@pytest.mark.parametrize(
    "thing",
    [
        "CREATE TABLE t (id int)",
        "CREATE SCHEMA s",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE mood AS ENUM ('good')",
        "SELECT lo_create(0)",
        "CREATE SEQUENCE s",
        "CREATE ACCESS METHOD am TYPE INDEX HANDLER bthandler",
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)",
    ],
)
def test_any_thing_makes_a_database_not_empty(place: Database, thing: str) -> None:
    Database(server=place.server, name="postgres").run(f"CREATE DATABASE {quoted(place.name)}")
    place.target().require_free(replace=False)
    place.run(thing)
    with pytest.raises(ConfigError, match="or with `replace`"):
        place.target().require_free(replace=False)
    place.target().require_free(replace=True)
    place.run("DROP SUBSCRIPTION IF EXISTS s")  # a database that has one cannot be dropped


def test_a_server_is_the_same_whatever_database_is_meant(place: Database) -> None:
    target = PostgresTarget(server=place.server, dbname="another")
    ((system,),) = Database(server=place.server, name="postgres").ask(
        "SELECT system_identifier FROM pg_control_system()"
    )
    assert target.system() == place.target().system() == str(system)


def test_what_everybody_connects_to_is_no_target(place: Database) -> None:
    for name in ("template0", "template1", "postgres"):
        with pytest.raises(ConfigError, match=r"template|connect to"):
            PostgresTarget(server=place.server, dbname=name).require_free(replace=True)


def test_sessions_on_the_replaced_database_end_and_find_the_new_one(captured: Captured, place: Database) -> None:
    """An application that reconnects at once, again and again, does not keep the old database in use."""
    bring_back(place, captured)
    place.run("CREATE TABLE only_in_the_old ()")
    stop, answers = threading.Event(), list[bool]()

    def application() -> None:
        while not stop.is_set():
            with contextlib.suppress(psycopg.OperationalError), place.session() as session:
                while not stop.is_set():
                    answers.append(session.execute("SELECT to_regclass('only_in_the_old')").fetchone() == (None,))

    busy = threading.Thread(target=application)
    busy.start()
    try:
        assert eventually(lambda: False in answers)
        kept = bring_back(place, captured, replacing=True)
        assert eventually(lambda: answers[-1])
    finally:
        stop.set()
        busy.join()
    assert kept is not None
    assert replace(place, name=kept).ask("SELECT to_regclass('only_in_the_old')") == [("only_in_the_old",)]


class Unquestioning(PostgresTarget):
    """Does not look before it takes a place, so that what comes afterwards is the first to fail."""

    def require_free(self, *, replace: bool) -> None:
        pass


def test_a_replaced_database_that_cannot_be_looked_into_stays_and_the_restore_is_done(
    captured: Captured, place: Database, caplog: pytest.LogCaptureFixture
) -> None:
    maintenance = Database(server=place.server, name="postgres")
    with new_role(maintenance, "LOGIN CREATEDB") as role:
        name, owner = quoted(place.name), quoted(role.name)
        maintenance.run(
            f"CREATE DATABASE {name} TEMPLATE template0 OWNER {owner}",
            f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC, {owner}",
        )
        try:
            target = Unquestioning(server=place.seen_by(role).server, dbname=place.name)
            with target.fresh(captured.with_properties(owner=role.name).inventory) as fresh:
                kept = fresh.take_place(replace=True)
            assert place.beside() == {kept}
            assert f"{kept} stays at" in caplog.text
        finally:
            drop(place)


def test_a_failed_takeover_changes_nothing(captured: Captured, place: Database) -> None:
    bring_back(place, captured)
    place.run("COMMENT ON TABLE document IS 'the old one'")
    odd = captured.with_properties(owner="nobody of that name")
    with place.target().fresh(captured.inventory) as fresh:
        fresh.load(captured.chunks())
        fresh.source = odd.inventory
        with pytest.raises(ConfigError, match="nobody of that name"):
            fresh.take_place(replace=True)
    assert place.beside() == set()
    assert place.ask("SELECT obj_description('document'::regclass)") == [("the old one",)]


@pytest.mark.parametrize("moment", ["before it is marked", "later"])
def test_what_a_killed_restore_left_is_dropped_by_the_next(
    sandbox: Mapping[str, str], captured: Captured, place: Database, moment: str
) -> None:
    program = """
import os, sys
from pgkeep import records
from pgkeep.adapters.postgres import PostgresTarget, creation, server_from_url
from pgkeep.inventory import Inventory

if sys.argv[3] == "before it is marked":
    creation.mark = lambda *_, **__: os.kill(os.getpid(), 9)
target = PostgresTarget(server=server_from_url(sys.argv[1])[0], dbname=sys.argv[2])
with target.fresh(records.from_bytes(Inventory, sys.stdin.buffer.read())):
    os.kill(os.getpid(), 9)
"""
    killed = subprocess.run(
        [sys.executable, "-c", program, sandbox["PGKEEP_SCRATCH_URL"], place.name, moment],
        input=records.to_bytes(captured.inventory),
        env=dict(sandbox),
        check=False,
    )
    assert killed.returncode == -9
    assert len(place.beside()) == 1
    holders = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgkeep' AND datname = 'postgres'"
    assert eventually(lambda: Database(server=place.server, name="postgres").ask(holders) == [(1,)])
    assert bring_back(place, captured) is None
    assert place.beside() == set()


def test_somebodys_database_that_only_has_such_a_name_stays(captured: Captured, place: Database) -> None:
    with new_database(place.server, name=f"{place.name}_pgkeep_{0:012x}", made="CREATE TABLE mine (id int)") as other:
        assert bring_back(place, captured) is None
        assert place.beside() == {other.name}


def test_a_restore_under_way_is_left_alone_by_another(captured: Captured, place: Database) -> None:
    with place.target().fresh(captured.inventory) as first:
        with place.target().fresh(captured.inventory) as second:
            assert {first.name, second.name} == place.beside()
        assert {first.name} == place.beside()
        first.load(captured.chunks())
        assert first.take_place(replace=False) is None


@pytest.mark.parametrize("name", ['we"ird Room', "a=b", "-dash", "it's \\ there", "ünï ☃", "postgresql://x", "ü" * 31])
def test_any_name_is_a_name(sandbox: Mapping[str, str], captured: Captured, name: str) -> None:
    with no_database(server(sandbox, "scratch"), name=name) as place:
        assert bring_back(place, captured) is None
        kept = bring_back(place, captured, replacing=True)
        assert kept is not None
        assert place.ask("SELECT current_database()") == [(name,)]
        assert replace(place, name=kept).ask("SELECT count(*) FROM document") == [(500,)]
        replace(place, name=kept).target().require_free(replace=True)
        Database(server=place.server, name="postgres").run(f"DROP DATABASE {quoted(kept)}")
