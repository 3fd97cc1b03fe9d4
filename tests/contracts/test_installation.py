"""What pgkeep installs in a source, on every major version: whole, harmless to others, and gone when it is removed."""

import threading

import psycopg
import pytest

from fix_installation import LISTED, STATE, UNLISTED, decoded, install, listed, look, major, synchronise, unlisted
from fix_postgres import Database, Role, new_role, quoted
from pgkeep.adapters.postgres import installation
from pgkeep.errors import ConfigError, Unavailable

FROZEN = """
    CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''nobody changes this database''; END';
    CREATE EVENT TRIGGER frozen ON ddl_command_start EXECUTE FUNCTION refuse();
"""


def test_all_is_there_and_the_right_tables_are_listed(source: Database) -> None:
    found = install(source)
    assert (found.publication, found.event_triggers, found.version) == (True, True, 2)
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
    ((oid,),) = source.ask("SELECT 'keyed'::regclass::oid::int8")
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
        "cu": owner.name,
        "tz": "Asia/Tokyo",
        "o": [
            {"class": 1259, "id": oid, "object_type": "table", "object_identity": "public.keyed"},
        ],
    }
    assert {key: told[key] for key in expected} == expected


def test_nobody_else_can_tell_a_command(source: Database) -> None:
    """The token is what a message cannot have that somebody has made up, and what silences the event triggers."""
    token = install(source).token
    with new_role(source) as role, source.seen_by(role).session() as stranger:
        assert installation.look(stranger).token is None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute("SELECT token FROM _pgkeep.token")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute("SELECT _pgkeep.settle('keyed'::regclass)")
        with decoded(source) as messages:
            stranger.execute('SET pgkeep.event = \'{"q": "made up"}\'')
            stranger.execute("SET pgkeep.off = 'on'")
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


def test_a_table_that_cannot_be_listed_is_named(source: Database, caplog: pytest.LogCaptureFixture) -> None:
    install(source)
    source.run("ALTER TABLE keyless ADD COLUMN id serial PRIMARY KEY", "DROP FUNCTION _pgkeep.may_list")
    synchronise(source)
    assert "refuses to publish public.keyless" in caplog.text


def test_a_table_in_use_keeps_what_it_has(source: Database) -> None:
    with source.session() as reader:
        reader.execute("BEGIN; SELECT FROM keyless")
        assert not install(source, "keyless").full_identity
        reader.execute("COMMIT")
        assert install(source, "keyless").full_identity
        reader.execute("BEGIN; SELECT FROM keyless")
        with source.session() as session, pytest.raises(Unavailable, match=r"in use all the time.*: public\.keyless"):
            installation.remove(session)
        reader.execute("COMMIT")
    with source.session() as session:
        installation.remove(session)
    assert look(source).version is None


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


def test_two_at_once_install_it_once(source: Database) -> None:
    both = [threading.Thread(target=install, args=[source]) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert look(source).complete
    assert listed(source) == LISTED


def test_a_database_that_lets_nobody_change_it_says_so(source: Database) -> None:
    source.run(FROZEN)
    before = source.ask(STATE)
    with pytest.raises(ConfigError, match="nobody changes this database"):
        install(source)
    assert source.ask(STATE) == before
