"""What cannot be taken from the CSV logs of real servers as it stands there has a reason, or is said to be lost."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from struct import pack

import psycopg
import pytest
from psycopg.types.numeric import Float4

from fix_csvlog_read import found_in
from fix_csvlog_server import LoggingServer
from fix_postgres import Database, eventually, new_database
from pgkeep.adapters.postgres.csvlog.log import parameters, statements
from pgkeep.cli import main

Connection = psycopg.Connection[tuple[object, ...]]
SCHEMA = "CREATE TABLE t (id serial PRIMARY KEY, a text, b float8)"


@pytest.fixture
def database(logging: LoggingServer) -> Iterator[Database]:
    logging.configure()
    with new_database(logging.server, made=SCHEMA) as found:
        yield found


def test_what_the_log_does_not_hold_has_a_reason(logging: LoggingServer, database: Database) -> None:
    with closing(logging.connect(database.name)) as connection:
        for length in ("0", "3"):
            connection.execute(f"SET log_parameter_max_length = {length}")
            connection.execute("INSERT INTO t (a) VALUES (%s)", ["abcdef"])
        connection.execute("RESET log_parameter_max_length")
        connection.execute("PREPARE p AS INSERT INTO t (a) VALUES ($1)")
        connection.execute("EXECUTE p('x')")
        connection.pgconn.send_query_params(b"SELECT 1", None)
        this = connection.info.backend_pid
    reasons = [None, parameters.NO_VALUE, None, parameters.CUT_OFF, None, None, statements.PREPARED, None]
    assert eventually(lambda: len(found_in(logging, database, this)) == len(reasons))
    assert [each.reason for each in found_in(logging, database, this)] == reasons


def test_what_functions_say_is_no_statement(logging: LoggingServer, database: Database) -> None:
    with closing(logging.connect(database.name)) as connection:
        said = "DO $$ BEGIN RAISE LOG 'statement: DELETE FROM t'; RAISE LOG 'execute a: x' USING DETAIL = 'b'; END $$"
        connection.execute(said.encode())
        connection.execute("SET log_min_error_statement = 'panic'")
        connection.execute(said.encode())
        connection.execute("SELECT 'end'")
        this = connection.info.backend_pid
    texts = [said, "SET log_min_error_statement = 'panic'", said, "SELECT 'end'"]
    assert eventually(lambda: len(found_in(logging, database, this)) >= len(texts))
    assert [each.sql.decode() for each in found_in(logging, database, this)] == texts


def test_what_only_the_protocol_can_ask_for(logging: LoggingServer, database: Database) -> None:
    """A portal that is run in two steps, and a function that is called without SQL; libpq does neither for psycopg."""
    database.run("INSERT INTO t (a) VALUES ('x'), ('y')")
    with closing(logging.connect(database.name)) as connection:
        this = connection.info.backend_pid
        for sql in (b"SELECT id FROM t", b"INSERT INTO t (a) SELECT a FROM t RETURNING id"):
            step = _message(b"E", b"p\0" + pack(">i", 1))
            _talk(
                connection,
                _message(b"P", b"\0" + sql + b"\0\0\0"),
                _message(b"B", b"p\0\0" + bytes(6)),
                step,
                step,
                _message(b"S", b""),
            )
        _talk(connection, _message(b"F", pack(">ihhh", 89, 0, 0, 0)))  # version()
    read, wrote = "SELECT id FROM t", "INSERT INTO t (a) SELECT a FROM t RETURNING id"
    expected = [
        (read, None),
        (read, None),
        (wrote, None),
        (wrote, statements.FETCHED),
        ('fastpath function call: "version" (OID 89)', statements.CALLED),
    ]
    assert eventually(lambda: len(found_in(logging, database, this)) == len(expected))
    assert [(each.sql.decode(), each.reason) for each in found_in(logging, database, this)] == expected


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + pack(">i", 4 + len(content)) + content


def _talk(connection: Connection, *messages: bytes) -> None:
    """Returns when the server is ready again."""
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
        line.setblocking(True)
        line.sendall(b"".join(messages))
        answer = b""
        while not answer.endswith(b"Z\0\0\0\5I"):
            answer += line.recv(1 << 16)


def test_a_server_that_was_killed_and_wrote_on(
    logging: LoggingServer,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A real log, torn as a kill tears it; printed by the command, file after file."""
    logging.rotate()  # what other tests have done to the server is in the files before
    database.run("INSERT INTO t (a) VALUES ('torn')", "INSERT INTO t (a) VALUES ('whole')")
    assert eventually(lambda: len(found_in(logging, database)) == 3)
    log = logging.current().read_bytes()
    at = log.index(b"VALUES ('torn')", log.index(b'"' + database.name.encode()))
    begin = log.rindex(b"\n", 0, at) + 1
    after = log.index(b"\n", at) + 1
    (tmp_path / "a.csv").write_bytes(log[after:])
    (tmp_path / "b.csv").write_bytes(log[:at] + log[begin:after])
    assert main(["csvlog", "parse", str(tmp_path), "--database", database.name]) == 0
    printed, _ = capsys.readouterr()
    assert [json.loads(line) for line in printed.splitlines()] == [
        "INSERT INTO t (a) VALUES ('torn')",
        "INSERT INTO t (a) VALUES ('whole')",
    ]
    size = len(log[begin:at])
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'b.csv'}, byte {begin}: {size} bytes that are no record"
    ]


def test_the_types_of_parameters_are_not_in_the_log(logging: LoggingServer, database: Database) -> None:
    """So values that came as parameters may mean something else as literals: whoever runs them again has to know it."""
    with closing(logging.connect(database.name)) as connection:
        connection.execute("INSERT INTO t (a, b) VALUES (%s, %s)", [True, Float4(0.1)])
        this = connection.info.backend_pid
    assert eventually(lambda: len(found_in(logging, database, this)) == 1)
    (found,) = found_in(logging, database, this)
    assert found.sql == b"INSERT INTO t (a, b) VALUES ('t', '0.1')"
    assert found.row.detail.lower().startswith(b"parameters: ")
    database.run(found.sql.decode())
    assert database.ask("SELECT a, b FROM t ORDER BY id") == [("true", 0.10000000149011612), ("t", 0.1)]
