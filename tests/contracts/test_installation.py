"""What pgkeep installs in a source, on every major version: whole, harmless to others, and gone when it is removed."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from fix_postgres import Database, Role, new_database, new_role, quoted
from pgkeep.adapters.postgres import Server, installation
from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.programs import find_tools
from pgkeep.errors import ConfigError, Unavailable

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


def test_all_is_there_and_the_right_tables_are_listed(source: Database) -> None:
    found = install(source)
    assert (found.publication, found.event_triggers, found.version) == (True, True, 1)
    assert found.token
    assert found.token not in repr(found)
    assert listed(source) == LISTED
    assert unlisted(source) == UNLISTED


def test_nothing_is_there_before_and_after(source: Database) -> None:
    before = source.ask(STATE)
    nothing = look(source)
    assert (nothing.publication, nothing.event_triggers, nothing.version, nothing.token) == (False, False, None, None)
    assert unlisted(source) == LISTED | UNLISTED
    install(source, "keyless")
    with source.session() as session:
        installation.remove(session)
        assert installation.look(session) == nothing
        installation.remove(session)
    assert source.ask(STATE) == before


def test_installing_again_changes_nothing_and_mends_what_is_broken(source: Database) -> None:
    found = install(source)
    assert install(source) == found
    source.run("ALTER EVENT TRIGGER pgkeep_drop_1 ENABLE")
    assert not look(source).event_triggers
    source.run("CREATE OR REPLACE FUNCTION _pgkeep.act() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    assert install(source) == found


def test_new_tables_are_listed_as_they_are_made(source: Database) -> None:
    install(source)
    source.run(
        "CREATE TABLE new1 (id int PRIMARY KEY)",
        "CREATE SCHEMA side CREATE TABLE new2 (id int PRIMARY KEY) CREATE TABLE new3 (x int)",
        "CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20)",
        "CREATE TABLE later (id int)",
        "ALTER TABLE later ADD PRIMARY KEY (id)",
    )
    assert listed(source) == LISTED | {"new1", "new2", "part2"}
    source.run("ALTER TABLE keyed DROP CONSTRAINT keyed_pkey", "ALTER TABLE new1 SET UNLOGGED", "DROP TABLE side.new2")
    assert listed(source) == (LISTED | {"part2"}) - {"keyed"}
    with decoded(source) as messages:
        synchronise(source)
    assert listed(source) == LISTED - {"keyed"} | {"part2", "later"}
    ((prefix, content),) = messages
    assert (prefix, content["schema"], content["name"]) == ("pgkeep:listed", "public", "later")


def test_a_table_with_a_writer_is_listed_after_him(source: Database) -> None:
    """His rows would be neither in the slot nor under the next cut's snapshot."""
    install(source)
    source.run("ALTER TABLE keyless ADD COLUMN id serial PRIMARY KEY")
    with source.session() as writer:
        writer.execute("BEGIN; INSERT INTO keyless VALUES (1)")
        synchronise(source)
        assert "keyless" not in listed(source)
        writer.execute("COMMIT")
    synchronise(source)
    assert "keyless" in listed(source)


def test_two_sessions_that_make_tables_do_not_meet(source: Database) -> None:
    install(source)
    with source.session() as one, source.session() as other:
        for session in (one, other):
            session.execute("SET lock_timeout = '10s'")
            session.execute("BEGIN")
        one.execute("CREATE TABLE by_one (id int PRIMARY KEY)")
        other.execute("CREATE TABLE by_other (id int PRIMARY KEY)")
        other.execute("ALTER TABLE keyed DROP CONSTRAINT keyed_pkey")
        other.execute("ALTER TABLE by_constraint SET UNLOGGED")
        other.execute("INSERT INTO keyed VALUES (1)")
        other.execute("UPDATE keyed SET id = 2")
        other.execute("COMMIT")
        one.execute("COMMIT")
    missed = {"by_other"} if major(source) >= 15 else set()
    assert listed(source) == (LISTED | {"by_one", "by_other"}) - {"keyed", "by_constraint"} - missed
    synchronise(source)
    assert listed(source) == (LISTED | {"by_one", "by_other"}) - {"keyed", "by_constraint"}


def test_a_cut_sees_the_list_of_its_moment(source: Database) -> None:
    install(source)
    with source.session() as cut:
        cut.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        before = installation.look(cut)
        source.run("CREATE TABLE new1 (id int PRIMARY KEY)")
        assert installation.look(cut) == before
    assert look(source) != before


def test_a_command_is_told_with_all_that_it_needs_to_be_repeated(source: Database, owner: Role) -> None:
    token = install(source).token
    with decoded(source) as messages, source.session() as session:
        session.execute(f"SET ROLE {quoted(owner.name)}; SET TimeZone = 'Asia/Tokyo'; SET search_path = x, public")
        session.execute("ALTER TABLE keyed ALTER COLUMN x TYPE int USING 0")
        session.execute("DROP TABLE keyed, keyless CASCADE")
    assert [(prefix, content["ev"]) for prefix, content in messages] == [
        ("pgkeep:ddl", "table_rewrite"),
        ("pgkeep:ddl", "ddl_command_end"),
        ("pgkeep:ddl", "sql_drop"),
        ("pgkeep:ddl", "ddl_command_end"),
    ]
    told = messages[1][1]
    assert told["tx"]
    expected: dict[str, object] = {
        "t": token,
        "ev": "ddl_command_end",
        "tag": "ALTER TABLE",
        "q": "ALTER TABLE keyed ALTER COLUMN x TYPE int USING 0",
        "sp": "x, public",
        "su": source.server.user,
        "cu": owner.name,
        "tz": "Asia/Tokyo",
        "o": [
            {
                "command_tag": "ALTER TABLE",
                "object_type": "table",
                "object_identity": "public.keyed",
                "in_extension": False,
            }
        ],
    }
    assert {key: told[key] for key in expected} == expected


def test_nobody_else_can_tell_a_command(source: Database) -> None:
    """The token is what a message cannot have that somebody has made up."""
    token = install(source).token
    with new_role(source) as role, source.seen_by(role).session() as stranger:
        assert installation.look(stranger).token is None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute("SELECT token FROM _pgkeep.token")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute("SELECT _pgkeep.settle('keyed'::regclass)")
        with decoded(source) as messages:
            stranger.execute('SET pgkeep.event = \'{"q": "made up"}\'')
            stranger.execute("CREATE TEMP TABLE mine (id int)")
    ((_, told),) = messages
    assert (told["t"], told["q"]) == (token, "CREATE TEMP TABLE mine (id int)")


def test_a_command_that_cannot_be_told_leaves_a_doubt(source: Database) -> None:
    install(source)
    with decoded(source) as messages:
        source.run(f"CREATE TABLE new1 (id int PRIMARY KEY); SELECT '{'x' * 100_000}'")
        source.run("DROP MATERIALIZED VIEW _pgkeep.token")
    assert [(prefix, set(content)) for prefix, content in messages] == [("pgkeep:doubt", {"reason"})] * 3
    assert "new1" in listed(source)


def test_what_the_operator_allows_gets_the_identity_full_and_gives_it_back(source: Database) -> None:
    source.run("ALTER TABLE keyless REPLICA IDENTITY NOTHING")
    asked = ["keyless", "public.late", "public.keyed", "public.whole"]
    found = install(source, *asked)
    assert listed(source) == LISTED | {"keyless", "late"}
    assert len(found.full_identity) == 2
    assert install(source, *asked) == found
    with source.session() as session:
        installation.remove(session)
    rows = source.ask("SELECT relname, relreplident::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384")
    identities = {(str(name), str(identity)) for name, identity in rows if identity != "d"}
    assert identities == {("keyless", "n"), ("by_index", "i"), ("by_constraint", "i"), ("whole", "f")}
    with pytest.raises(ConfigError, match="not_there"):
        install(source, "public.not_there")


def test_a_table_in_use_keeps_what_it_has(source: Database) -> None:
    with source.session() as reader:
        reader.execute("BEGIN; SELECT FROM keyless")
        assert not install(source, "keyless").full_identity
        reader.execute("COMMIT")
        assert install(source, "keyless").full_identity
        reader.execute("BEGIN; SELECT FROM keyless")
        with source.session() as session, pytest.raises(Unavailable):
            installation.remove(session)
        reader.execute("COMMIT")
    with source.session() as session:
        installation.remove(session)
    assert look(source).version is None


def test_an_owner_installs_it_without_event_triggers(source: Database, owner: Role) -> None:
    source.run("CREATE TABLE not_his (id int PRIMARY KEY)")
    his = source.seen_by(owner)
    found = install(his)
    assert (found.publication, found.event_triggers, found.version) == (True, False, 1)
    assert listed(source) == LISTED
    his.run("CREATE TABLE new1 (id int PRIMARY KEY)", "ALTER TABLE keyed DROP CONSTRAINT keyed_pkey")
    assert listed(source) == LISTED
    synchronise(his)
    assert listed(source) == LISTED - {"keyed"} | {"new1"}
    assert install(his) == look(his)
    with his.session() as session:
        installation.remove(session)
    assert look(source).version is None


def test_without_the_right_to_create_it_is_refused(source: Database) -> None:
    with (
        new_role(source) as role,
        source.seen_by(role).session() as session,
        pytest.raises(ConfigError, match="permission"),
        translated(source.server),
    ):
        installation.install(session)


def test_a_superuser_does_not_call_what_somebody_with_fewer_rights_has_made(source: Database, owner: Role) -> None:
    install(source.seen_by(owner))
    for act in (install, synchronise):
        with pytest.raises(ConfigError, match=re.escape(owner.name)):
            act(source)
    with source.session() as session:
        installation.remove(session)
    assert install(source).event_triggers


def test_nothing_of_it_hangs_on_the_role_that_has_installed_it(source: Database) -> None:
    with new_role(source, "LOGIN SUPERUSER") as role, new_role(source) as heir:
        found = install(source.seen_by(role))
        source.run(f"REASSIGN OWNED BY {quoted(role.name)} TO {quoted(heir.name)}")
        source.run(f"DROP OWNED BY {quoted(role.name)}", f"ALTER ROLE {quoted(role.name)} NOSUPERUSER")
    assert look(source) == found


@pytest.mark.parametrize("event_triggers", [True, False])
def test_the_script_does_the_same(source: Database, tmp_path: Path, event_triggers: bool) -> None:
    """An administrator runs it, twice; then a role with no more than REPLICATION puts the tables on the list."""
    text = installation.script(server_version=major(source) * 10_000, event_triggers=event_triggers)
    file = tmp_path / "script.sql"
    file.write_text(text, encoding="utf-8")
    psql = find_tools(major(source)).directory / "psql"
    for _ in range(2):
        subprocess.run(
            [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file],
            env=source.server.environment(source.name),
            check=True,
            capture_output=True,
        )
    assert not listed(source)
    with new_role(source, "LOGIN REPLICATION") as role:
        found = install(source.seen_by(role))
    assert (found.publication, found.event_triggers) == (True, event_triggers)
    assert listed(source) == LISTED


@pytest.mark.parametrize("made", ["CREATE SCHEMA _pgkeep", "CREATE PUBLICATION pgkeep FOR ALL TABLES"])
def test_somebody_elses_is_not_touched(source: Database, made: str) -> None:
    source.run(made, "ALTER TABLE keyless REPLICA IDENTITY FULL")
    before = source.ask(STATE)
    with pytest.raises(ConfigError, match="has not made"):
        install(source)
    with source.session() as session:
        installation.remove(session)
    assert source.ask(STATE) == before


def test_somebody_elses_in_our_schema_is_not_dropped(source: Database) -> None:
    install(source)
    source.run("CREATE TABLE _pgkeep.his (id int)")
    with source.session() as session, pytest.raises(ConfigError, match="_pgkeep"):
        installation.remove(session)
    source.run("DROP TABLE _pgkeep.his")
    with source.session() as session:
        installation.remove(session)
    assert look(source).version is None


def test_the_owner_of_all_tables_can_still_dump_them(source: Database, owner: Role) -> None:
    install(source, "keyless")
    his = source.seen_by(owner)
    source.run(f"ALTER VIEW seen OWNER TO {quoted(owner.name)}")
    pg_dump = find_tools(major(source)).directory / "pg_dump"
    done = subprocess.run([pg_dump], env=his.server.environment(his.name), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_role_of_that_name_works_where_it_worked_before(source: Database) -> None:
    """`"$user"` comes first in everybody's search path: a schema named as a role is that role's."""
    assert source.server.user == "pgkeep"
    install(source)
    source.run("CREATE TABLE mine (id int PRIMARY KEY)")
    assert "mine" in listed(source)
    assert source.ask("SELECT to_regclass('public.mine') IS NOT NULL") == [(True,)]
