"""DDL of real servers, caught by event triggers and replayed by psql: the dumps of both databases are the same."""

import contextlib
import difflib
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from fix_ddl import AFRESH, CARRIED, Afresh, Step
from fix_postgres import eventually, quoted
from pgkeep.adapters.postgres.ddl import DdlEvent, DdlReplay
from pgkeep.adapters.postgres.installation.statements import FIRST_WITH_MESSAGES, event_trigger_statements, structure
from pgkeep.adapters.postgres.logical.definitions import Told, definitions, untold
from pgkeep.adapters.postgres.programs import Tools, examine, in_the_wheel, on_the_machine
from pgkeep.ports import Inexact
from pgkeep.sandbox.postgres_servers import ROLE, Owner, choose_data, find_owner, initialise, reachable_programs
from pgkeep.sandbox.tcp_ports import choose

MAJORS = (15, 16, 18)
PROGRAMS = ("initdb", "postgres", "pg_dump", "psql")

# What is installed, but that the messages go to a table of our own instead of the WAL.
CAPTURE = f"""
{structure(FIRST_WITH_MESSAGES - 1)}
CREATE TABLE _pgkeep.event (id bigserial, content text);
CREATE OR REPLACE FUNCTION _pgkeep.send(prefix text, content text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN INSERT INTO _pgkeep.event (content) SELECT content WHERE prefix <> 'pgkeep:listed'; END $$;
{event_trigger_statements()}
"""
REMOVE = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'pgkeep%' LOOP
        EXECUTE 'DROP EVENT TRIGGER ' || name;
    END LOOP;
END $$;
DROP PUBLICATION pgkeep; DROP SCHEMA _pgkeep CASCADE
"""
HEAD = """
SET session_replication_role = replica; SET standard_conforming_strings = on; SET xmloption = content;
SET check_function_bodies = off; SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 3;
SET bytea_output = hex; SET TimeZone = UTC; SET client_encoding = UTF8; SET client_min_messages = warning;
"""
ROLES = """
CREATE ROLE boss; CREATE ROLE alice; CREATE ROLE bob; CREATE ROLE member; CREATE ROLE "Odd ""Role"" :x"
"""
# What is lost when a database comes back on another server: there the roles are made with their names only.
RIGHTS = "ALTER ROLE boss SUPERUSER; GRANT alice TO member"
NO_RIGHTS = "ALTER ROLE boss NOSUPERUSER; REVOKE alice FROM member"
# In both databases before it begins.
COMMON = r"""
CREATE SCHEMA app AUTHORIZATION alice;
CREATE SCHEMA alice AUTHORIZATION alice;
CREATE SCHEMA "Odd Schema" AUTHORIZATION "Odd ""Role"" :x";
SET ROLE alice;
CREATE TABLE app.base (id int PRIMARY KEY, a int, b varchar(10), c text, d timestamp, e real, i interval, n numeric);
INSERT INTO app.base SELECT i, i * 7, 'b' || i, 'c' || i, timestamp '2024-01-31 10:00' + i * interval '1 day',
    i / 3.0, i * interval '1 day 1 hour', i / 7.0 FROM generate_series(1, 20) i;
CREATE TABLE app.child (id int PRIMARY KEY, base_id int, status text DEFAULT 'new');
INSERT INTO app.child SELECT i, i FROM generate_series(1, 10) i;
CREATE TABLE app.granted (id int);
GRANT ALL ON app.granted TO bob WITH GRANT OPTION;
CREATE TABLE app.lonely (i interval, r real, b bytea);
INSERT INTO app.lonely VALUES ('1 day 2:03', 1/3.0, '\x00ff41');
CREATE TABLE app.written (id int PRIMARY KEY);
CREATE TABLE app.listed (id int) PARTITION BY LIST (id);
CREATE TABLE app.listed_1 PARTITION OF app.listed FOR VALUES IN (1);
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION app.tick() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
CREATE SEQUENCE app.counter;
CREATE PROCEDURE app.make() LANGUAGE plpgsql AS 'BEGIN CREATE TABLE app.made_by_call (id int); END';
CREATE FUNCTION app.on_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'CREATE TABLE app.made_by_trigger_' || NEW.id || ' (id int)'; RETURN NEW; END $$;
CREATE TRIGGER on_written BEFORE INSERT ON app.written FOR EACH ROW EXECUTE FUNCTION app.on_written();
GRANT USAGE, CREATE ON SCHEMA app TO bob;
RESET ROLE;
"""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A server with the roles; `tools`: its programs."""

    tools: Tools
    port: int
    password: str

    def connect(self, dbname: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._conninfo(dbname), autocommit=True)

    def run(self, dbname: str, *statements: str) -> None:
        with contextlib.closing(self.connect(dbname)) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, dbname: str, query: str) -> list[tuple[object, ...]]:
        with contextlib.closing(self.connect(dbname)) as connection:
            return connection.execute(query).fetchall()

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        name = f"room_{secrets.token_hex(4)}"
        self.run("postgres", f"CREATE DATABASE {name} TEMPLATE template0", RIGHTS)
        try:
            self.run(name, COMMON)
            yield name
        finally:
            self.run("postgres", f"DROP DATABASE {name} WITH (FORCE)")

    def events(self, dbname: str, step: Step) -> list[DdlEvent]:
        """Runs it, and returns what the event triggers said."""
        with contextlib.closing(self.connect(dbname)) as connection:
            connection.execute("DELETE FROM _pgkeep.event")
            connection.execute(f"SET SESSION AUTHORIZATION {quoted(step.role)}")
            for name, value in {"search_path": step.path, **step.settings}.items():
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            connection.execute(step.sql.encode())
        found = self.ask(dbname, "SELECT content FROM _pgkeep.event ORDER BY id")
        return [DdlEvent.parse(str(content).encode()) for (content,) in found]

    def psql(self, dbname: str, sql: bytes) -> None:
        """As a restore does it."""
        self._tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", dbname=dbname, given=sql)

    def dump(self, dbname: str) -> list[str]:
        """The whole database as pg_dump writes it, without the random word."""
        text = self._tool("pg_dump", dbname=dbname).decode()
        return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]

    def _tool(self, program: str, *arguments: str, dbname: str, given: bytes = b"") -> bytes:
        command = [str(self.tools.directory / program), *arguments, f"--dbname={self._conninfo(dbname)}"]
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr == b""
        return done.stdout

    def _conninfo(self, dbname: str) -> str:
        return conninfo.make_conninfo(
            hostaddr="127.0.0.1", port=self.port, user=ROLE, password=self.password, dbname=dbname
        )


@pytest.fixture(scope="module", params=MAJORS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    owner = find_owner()
    home = tmp_path_factory.mktemp("ddl")
    data = choose_data(home, owner)
    made = Cluster(
        tools=reachable_programs(programs(request.param), owner),
        port=choose(["ddl"], taken=())["ddl"],
        password=secrets.token_hex(8),
    )
    try:
        with running(made, data / "ddl", owner):
            made.run("postgres", ROLES)
            yield made
    finally:
        shutil.rmtree(data)


@contextlib.contextmanager
def running(cluster: Cluster, data: Path, owner: Owner) -> Iterator[None]:
    initialise(data, cluster.tools, owner, password=cluster.password)
    settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", f"port={cluster.port}")
    options = [option for setting in settings for option in ("-c", setting)]
    with subprocess.Popen(
        [str(cluster.tools.directory / "postgres"), "-D", str(data), *options],
        cwd=data,
        user=owner.uid,
        group=owner.gid,
        extra_groups=None if owner.uid is None else [],
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            assert eventually(lambda: answers(cluster))
            yield
        finally:
            server.terminate()


def answers(cluster: Cluster) -> bool:
    try:
        cluster.run("postgres")
    except psycopg.OperationalError:
        return False
    return True


def programs(major: int) -> Tools:
    """The machine's or the wheel's; a missing one fails the test."""
    found = [examine(place, needed=PROGRAMS) for place in (*on_the_machine("initdb"), *in_the_wheel())]
    return next(tools for tools in found if tools and tools.major == major)


def transactions(events: Sequence[DdlEvent], replay: DdlReplay) -> Iterator[bytes]:
    for event in events:
        if sql := replay.statement(event):
            yield b"BEGIN;\n" + sql + b"COMMIT;\n"


def unexplained(cluster: Cluster, dbname: str, events: Sequence[DdlEvent], before: Mapping[str, str]) -> str | None:
    """An object that was changed, though no event told of it."""
    told = Told()
    for event in events:
        told.note(event)
    with contextlib.closing(cluster.connect(dbname)) as connection:
        return untold(connection, now=definitions(connection), then=before, told=told)


def defined(cluster: Cluster, dbname: str) -> dict[str, str]:
    with contextlib.closing(cluster.connect(dbname)) as connection:
        return definitions(connection)


def whole_window(events: Sequence[DdlEvent]) -> list[bytes]:
    replay = DdlReplay()
    sql = list(transactions(events, replay))
    replay.finish()
    return sql


def test_a_replay_makes_the_same_schema(cluster: Cluster) -> None:
    with cluster.database() as source, cluster.database() as target:
        cluster.run(source, CAPTURE, f"GRANT CREATE ON DATABASE {source} TO alice")
        replay = DdlReplay()
        sql = [HEAD.encode()]
        strange = dict[str, str | None]()
        for step in CARRIED:
            if step.since <= cluster.tools.major:
                before, events = defined(cluster, source), cluster.events(source, step)
                sql += transactions(events, replay)
                strange[step.sql] = unexplained(cluster, source, events, before)
        assert {sql: what for sql, what in strange.items() if what} == {}
        replay.finish()
        cluster.run(source, REMOVE)
        cluster.run("postgres", NO_RIGHTS)
        cluster.psql(target, b"".join(sql))
        assert list(difflib.unified_diff(cluster.dump(source), cluster.dump(target), lineterm="", n=1)) == []
        assert replay.roles == {"alice", "bob", "member", "boss", 'Odd "Role" :x'}
        assert_nothing_lent(cluster, target)


def test_an_index_that_was_never_valid_is_dropped_all_the_same(cluster: Cluster) -> None:
    """It is in no dump, so that the target does not have it."""
    with cluster.database() as source, cluster.database() as target:
        cluster.run(source, CAPTURE)
        bad = Step(sql="CREATE UNIQUE INDEX CONCURRENTLY bad ON app.base ((id / 2))")
        with pytest.raises(psycopg.errors.UniqueViolation):
            cluster.events(source, bad)
        again = Step(sql="CREATE INDEX CONCURRENTLY IF NOT EXISTS bad ON app.base (a)")
        drop = Step(sql="DROP INDEX app.bad")
        events = [*cluster.events(source, again), *cluster.events(source, drop)]
        assert [event.tag for event in events] == ["CREATE INDEX", "DROP INDEX", "DROP INDEX"]
        cluster.psql(target, HEAD.encode() + b"".join(whole_window(events)))


def test_a_statement_that_fails_ends_the_replay(cluster: Cluster) -> None:
    with cluster.database() as source, cluster.database() as target:
        cluster.run(source, CAPTURE, "CREATE TABLE app.only_here (id int)")
        sql = whole_window(cluster.events(source, Step(sql="ALTER TABLE app.only_here ADD COLUMN x int", role="boss")))
        with pytest.raises(AssertionError, match="only_here"):
            cluster.psql(target, HEAD.encode() + b"".join(sql) + b"CREATE TABLE app.later (id int);")
        assert cluster.ask(target, "SELECT to_regclass('app.later')") == [(None,)]


def test_a_prepared_statement_is_known_by_its_text(cluster: Cluster) -> None:
    with cluster.database() as source, contextlib.closing(cluster.connect(source)) as connection:
        cluster.run(source, CAPTURE)
        connection.pgconn.exec_params(b"/* \xc3\xa4 */ CREATE TABLE app.prepared (id int)", None)
        ((content,),) = connection.execute("SELECT content FROM _pgkeep.event").fetchall()
        (sql,) = whole_window([DdlEvent.parse(str(content).encode())])
        assert b"SELECT 'CREATE TABLE app.prepared (id int)' \\gexec\n" in sql


def test_who_is_no_superuser_needs_membership(cluster: Cluster) -> None:
    """Then nothing is lent: the role has what rights it has."""
    with cluster.database() as source, cluster.database() as target:
        cluster.run(source, CAPTURE)
        sql = b"".join(whole_window(cluster.events(source, Step(sql="CREATE TABLE by_alice (id int)", role="member"))))
        assert b"LOCK TABLE pg_catalog.pg_authid" in sql
        cluster.run("postgres", NO_RIGHTS, "GRANT member TO bob")
        cluster.run(target, "GRANT USAGE, CREATE ON SCHEMA app TO member")
        cluster.psql(target, b"SET client_min_messages = warning; SET SESSION AUTHORIZATION bob;\n" + sql)
        owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'by_alice'"
        assert cluster.ask(target, owner) == [("member",)]
        cluster.run("postgres", "REVOKE member FROM bob")


def assert_nothing_lent(cluster: Cluster, target: str) -> None:
    assert cluster.ask(target, f"SELECT has_database_privilege('alice', '{target}', 'CREATE')") == [(False,)]
    assert cluster.ask(target, "SELECT rolname FROM pg_roles WHERE rolsuper") == [(ROLE,)]
    assert cluster.ask(target, "SELECT FROM pg_auth_members WHERE member = 'member'::regrole") == []


@pytest.mark.parametrize("step", AFRESH, ids=lambda step: step.sql[:60])
def test_what_cannot_be_replayed_says_why(cluster: Cluster, captured: str, step: Afresh) -> None:
    events = cluster.events(captured, step)
    with pytest.raises(Inexact, match=step.reason):
        whole_window(events)


@pytest.fixture(scope="module")
def captured(cluster: Cluster) -> Iterator[str]:
    with cluster.database() as name:
        cluster.run(name, CAPTURE)
        yield name
        for (subscription,) in cluster.ask(name, "SELECT subname FROM pg_subscription"):
            cluster.run(name, f"DROP SUBSCRIPTION {subscription}")
