"""What the PostgreSQL adapter does without a server: addresses, names, statements, programs."""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep import wiring
from pgkeep.adapters.postgres import Server, server_from_url
from pgkeep.adapters.postgres.creation import LONGEST_NAME, shortened
from pgkeep.adapters.postgres.loading import REFUSED_LINE, without_refused_line
from pgkeep.adapters.postgres.programs import NEEDED, Tools, find_tools
from pgkeep.adapters.postgres.relations import Ignored
from pgkeep.adapters.postgres.running import Command, ToolFailedError, read, through, write
from pgkeep.adapters.postgres.source import journal_lock_key
from pgkeep.adapters.postgres.takeover import property_statements, setting_statement
from pgkeep.errors import ConfigError
from pgkeep.inventory import Grant, Setting
from pgkeep.settings import Connection
from pgkeep.testing import SAMPLE_PROPERTIES

SERVER = Server(host="db.example", port=5433, user="keeper", password="top-secret", options={"sslmode": "require"})


# --- addresses ---------------------------------------------------------------------------------------------------


def test_a_url_is_read_as_libpq_does() -> None:
    url = "postgresql://kee%40per:p%2Fw@db.example:5433/we%22ird%20Name?sslmode=require"
    server, dbname = server_from_url(url, environ={})
    assert server == Server(
        host="db.example", port=5433, user="kee@per", password="p/w", options={"sslmode": "require"}
    )
    assert dbname == 'we"ird Name'


def test_what_a_url_leaves_out_comes_from_the_environment() -> None:
    environ = {"PGHOST": "elsewhere", "PGPORT": "6000", "PGUSER": "me", "PGPASSFILE": "/p", "PGDATABASE": "shop"}
    server, dbname = server_from_url("postgresql://", environ=environ)
    assert (server.label, server.user, server.options["passfile"], dbname) == ("elsewhere:6000", "me", "/p", "shop")
    assert server_from_url("postgresql://here:1/x", environ=environ)[0].label == "here:1"


def test_what_a_connection_leaves_out_comes_from_the_environment_for_us_and_for_programs_alike() -> None:
    environ = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/ca", "PGPASSFILE": "/p", "PGPORT": "6000", "PGUSER": "me"}
    connection = Connection(
        id="db", type="postgres", host="h", login="keeper", extra={"sslrootcert": "/own", "host": "x"}
    )
    found = wiring.server(connection, environ=environ)
    child = found.environment("shop")
    wanted = {"host": "h", "port": 6000, "user": "keeper", "sslmode": "verify-full", "passfile": "/p"}
    for name, value in (wanted | {"sslrootcert": "/own"}).items():
        assert found.parameters("shop")[name] == value
        assert child[f"PG{name.upper()}"] == str(value)


def test_a_connection_without_a_host_is_here() -> None:
    nowhere = Connection(id="db", type="postgres", host="")
    assert wiring.server(nowhere, environ={}).label == "localhost:5432"
    assert wiring.server(nowhere, environ={"PGHOST": "db.example"}).label == "db.example:5432"


@pytest.mark.parametrize(("url", "environ"), [("postgresql://h/d", {"PGSERVICE": "s"}), ("service=s", {})])
def test_a_service_is_refused(url: str, environ: dict[str, str]) -> None:
    """Its file would overrule what pg_dump is told, and not what we say ourselves."""
    with pytest.raises(ConfigError, match="PGSERVICE"):
        server_from_url(url, environ=environ)


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@h:x/db", "postgresql://a,b/db", "nonsense secret", "http://h/d"]
)
def test_an_address_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        server_from_url(url, environ={})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_shows_nowhere() -> None:
    assert "top-secret" not in repr(SERVER)
    assert SERVER.label == "db.example:5433"


def test_a_child_learns_how_to_connect_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLCERT", "/somebody/else")
    environment = SERVER.environment("a=b 'c")
    assert environment["PGDATABASE"] == "a=b 'c"
    assert (environment["PGHOST"], environment["PGPORT"], environment["PGUSER"]) == ("db.example", "5433", "keeper")
    assert (environment["PGPASSWORD"], environment["PGSSLMODE"]) == ("top-secret", "require")
    assert "PGSSLCERT" not in environment
    assert environment["PATH"] == os.environ["PATH"]


def test_options_that_libpq_does_not_know_are_left_out() -> None:
    server = Server(host="h", options={"cursor": "dictcursor", "dbname": "other", "sslmode": "disable"})
    parameters = server.parameters("shop")
    assert (parameters["dbname"], parameters["sslmode"]) == ("shop", "disable")
    assert "cursor" not in parameters


# --- names and statements ----------------------------------------------------------------------------------------


@given(name=st.text(min_size=1).filter(lambda text: "\0" not in text), room=st.integers(0, 40))
def test_a_shortened_name_leaves_room(name: str, room: int) -> None:
    short = shortened(name, room=room)
    assert name.startswith(short)
    assert len(short.encode()) <= LONGEST_NAME - room


def test_the_writers_key_is_the_databases_own_and_always_the_same() -> None:
    assert journal_lock_key("shop") == journal_lock_key("shop") != journal_lock_key("shop2")
    assert -(2**63) <= journal_lock_key("shop") < 2**63


def test_a_table_as_pg_dumps_options_want_it() -> None:
    assert Ignored(oid=1, text="x", schema="we.ird", name='a"*?$').pattern == '"we.ird"."a""*?$"'


@pytest.mark.parametrize(
    ("setting", "statement"),
    [
        (Setting(role=None, value="work_mem=12MB"), """ALTER DATABASE "d" SET "work_mem" TO '12MB'"""),
        (Setting(role="r", value="app.x=a=b"), """ALTER ROLE "r" IN DATABASE "d" SET "app"."x" TO 'a=b'"""),
        (
            Setting(role=None, value='search_path="$user", public, "a, ""b"""'),
            """ALTER DATABASE "d" SET "search_path" TO '$user', 'public', 'a, "b"'""",
        ),
        (Setting(role=None, value='search_path=""'), """ALTER DATABASE "d" SET "search_path" TO ''"""),
    ],
)
def test_settings(setting: Setting, statement: str) -> None:
    assert setting_statement("d", setting) == statement


def test_rights_are_given_only_where_they_are_not_the_usual_ones() -> None:
    assert not [line for line in property_statements("d", SAMPLE_PROPERTIES) if "GRANT" in line or "REVOKE" in line]
    grants = (
        Grant(grantee="", privilege="CONNECT", grantable=False),
        Grant(grantee="r", privilege="CREATE", grantable=True),
    )
    properties = replace(SAMPLE_PROPERTIES, default_grants=False, grants=grants, comment="it's")
    assert list(property_statements("d", properties)) == [
        'ALTER DATABASE "d" CONNECTION LIMIT -1',
        """COMMENT ON DATABASE "d" IS 'it''s'""",
        'ALTER DATABASE "d" OWNER TO "keeper"',
        'REVOKE ALL ON DATABASE "d" FROM PUBLIC, "keeper"',
        'GRANT CONNECT ON DATABASE "d" TO PUBLIC',
        'GRANT CREATE ON DATABASE "d" TO "r" WITH GRANT OPTION',
    ]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_setting_that_older_servers_refuse_is_taken_out_of_the_head_only(size: int) -> None:
    head = b"SET lock_timeout = 0;\n" + REFUSED_LINE + b"SELECT pg_catalog.set_config('search_path', '', false);\n"
    data = b"COPY t FROM stdin;\n" + REFUSED_LINE + b"\\.\n"
    script = head + data
    chunks = iter([script[i : i + size] for i in range(0, len(script), size)])
    assert b"".join(without_refused_line(chunks)) == head.replace(REFUSED_LINE, b"") + data


# --- programs ----------------------------------------------------------------------------------------------------


def make_tools(directory: Path, *, major: int) -> Path:
    directory.mkdir(parents=True)
    for name in NEEDED:
        (directory / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {major}.4 (Somebody 1)'\n")
        (directory / name).chmod(stat.S_IRWXU)
    return directory


def test_the_tools_of_the_servers_own_version_are_preferred(tmp_path: Path) -> None:
    directory = make_tools(tmp_path / "bin", major=77)
    found = find_tools(77, search_path=str(directory))
    assert found == Tools(directory=directory, major=77)


def test_newer_tools_will_do_and_older_will_not(tmp_path: Path) -> None:
    directory = make_tools(tmp_path / "bin", major=77)
    assert find_tools(76, directory=directory).major == 77
    with pytest.raises(ConfigError, match="77 in") as caught:
        find_tools(78, directory=directory)
    assert "postgresql-client-78" in caught.value.next_step


def test_half_an_installation_is_none(tmp_path: Path) -> None:
    directory = make_tools(tmp_path / "bin", major=77)
    (directory / "pg_restore").unlink()
    with pytest.raises(ConfigError, match="found: none"):
        find_tools(77, directory=directory)


# --- running them ------------------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> "Script":
    return Script(tmp_path)


class Script:
    """A program of one's own, where PostgreSQL's would be."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, body: str) -> Command:
        path = self.directory / "program"
        path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
        path.chmod(stat.S_IRWXU)
        tools = Tools(directory=self.directory, major=1)
        return Command(tools=tools, program="program", server=SERVER, dbname="shop")


def test_all_that_a_program_writes_is_read(script: Script) -> None:
    command = script("sys.stdout.buffer.write(b'x' * 5_000_000)")
    assert b"".join(read(command)) == b"x" * 5_000_000


def test_a_program_that_fails_after_writing_all_has_failed(script: Script) -> None:
    command = script(
        "os.write(1, b'everything\\n'); print('oh', os.environ['PGPASSWORD'], file=sys.stderr); sys.exit(3)"
    )
    chunks = read(command)
    assert next(chunks) == b"everything\n"
    with pytest.raises(ToolFailedError, match=r"program ended with exit code 3: oh \*\*\*"):
        next(chunks)


def test_the_row_that_a_program_complains_of_is_not_shown(script: Script) -> None:
    command = script(
        "print('ERROR:  no', 'DETAIL:  Key (id)=(1)', 'CONTEXT:  COPY t: 1', sep='\\n', file=sys.stderr); sys.exit(1)"
    )
    with pytest.raises(ToolFailedError, match=r": ERROR:  no$"):
        list(read(command))


def test_the_statement_that_pg_restore_quotes_is_not_shown(script: Script) -> None:
    said = ["program: error: no", "Command was: CREATE USER MAPPING", "OPTIONS (password 'x')", "program: warning: 1"]
    command = script(f"print({chr(10).join(said)!r}, file=sys.stderr); sys.exit(1)")
    with pytest.raises(ToolFailedError, match=r": program: error: no; program: warning: 1$"):
        list(read(command))


def test_a_flood_of_complaints_stops_nobody_and_only_the_last_are_kept(script: Script) -> None:
    command = script("[print('line', i, file=sys.stderr) for i in range(50_000)]; sys.exit(1)")
    with pytest.raises(ToolFailedError) as caught:
        b"".join(read(command))
    assert "line 49999" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_stream_left_early_ends_its_program(script: Script) -> None:
    command = script("print(os.getpid(), flush=True); time.sleep(600)")
    chunks = read(command)
    pid = int(next(chunks))
    chunks.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_is_fed_to_the_end(script: Script, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(script(f"open({str(out)!r}, 'wb').write(sys.stdin.buffer.read())"), [b"ab" * 1_000_000, b"c"], hear=str)
    assert out.read_bytes() == b"ab" * 1_000_000 + b"c"


def test_a_program_that_stops_reading_says_why(script: Script) -> None:
    with pytest.raises(ToolFailedError, match="exit code 4: enough"):
        write(
            script("sys.stdin.buffer.read(10); print('enough', file=sys.stderr); sys.exit(4)"),
            [b"x" * 100_000] * 100,
            hear=str,
        )


def test_what_feeds_a_program_fails_first(script: Script, tmp_path: Path) -> None:
    """The program is killed: an input that merely ends would look whole to it."""
    out = tmp_path / "out"

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise LookupError

    with pytest.raises(LookupError):
        write(script(f"sys.stdin.buffer.read(); open({str(out)!r}, 'w').close()"), broken(), hear=str)
    assert not out.exists()


def test_a_filter_passes_everything_through(script: Script) -> None:
    command = script("sys.stdout.buffer.writelines(iter(lambda: sys.stdin.buffer.read(65536), b''))")
    assert b"".join(through(command, [b"x" * 1_000_000] * 5, hear=str)) == b"x" * 5_000_000


def test_a_filter_fails_with_its_input_and_with_itself(script: Script) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise LookupError

    with pytest.raises(LookupError):
        b"".join(through(script("sys.stdin.buffer.read()"), broken(), hear=str))
    with pytest.raises(ToolFailedError, match="exit code 5"):
        b"".join(through(script("sys.exit(5)"), [b"x" * 100_000] * 100, hear=str))
