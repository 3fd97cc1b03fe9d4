"""What clients sent to real servers is what their CSV logs are read as: statement by statement, session by session."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from fix_csvlog_read import found_in, pid
from fix_csvlog_server import RECOMMENDED, LoggingServer
from fix_postgres import Database, eventually, new_database
from pgkeep.adapters.postgres.csvlog.log.rows import Lost, Rows
from pgkeep.adapters.postgres.csvlog.log.statements import statement
from pgkeep.adapters.postgres.csvlog.model import Statement

Connection = psycopg.Connection[tuple[object, ...]]
Value = str | int | bytes | list[str] | None
Work = list[tuple[str, str]]
"""What a session did: the kind of statement, and its text as the log has to give it."""

SCHEMA = "CREATE TABLE t (id serial PRIMARY KEY, a text, b text, c bytea, d text[])"
INSERT = "INSERT INTO t (a, b, c, d) VALUES ({}, {}, {}, {})"
ODD = "it's \"$1\", $2 = 'x'\n\\n\\\\ %s 100% é\r\n\t;--/*"
VALUES: tuple[tuple[Value, ...], ...] = (
    ("1", None, b"", []),
    (ODD, "parameters: $1 = '1', $2 = NULL", bytes(range(256)), ["a", 'b"', "c'\\", "NULL", "{,}"]),
    ("", "'", b"\\x", [""]),
    ('2026-01-31 14:05:00.123 UTC,"shop",', '"\n""\n', b"\n", ["\n"]),
    ("m" * 1_000_000 + "'\"\n" * 9, "1", None, None),
)
MODES: Mapping[str, Mapping[str, str]] = {
    "mod": RECOMMENDED | {"log_statement": "mod", "log_duration": "off"},
    "all": RECOMMENDED | {"log_duration": "off"},
    "all and durations": RECOMMENDED,
    "durations": RECOMMENDED | {"log_statement": "none", "log_duration": "off", "log_min_duration_statement": "0"},
    "everything": RECOMMENDED | {"log_min_duration_statement": "0"},
}


@pytest.fixture
def database(logging: LoggingServer) -> Iterator[Database]:
    logging.configure()
    with new_database(logging.server, made=SCHEMA) as found:
        yield found


def literal(value: str | None) -> str:
    """One that says the same whatever standard_conforming_strings is."""
    if value is None:
        return "NULL"
    escaped = value.replace("'", "''").replace("\\", "\\\\")
    return f" E'{escaped}'" if "\\" in value else f"'{escaped}'"


def written(value: Value) -> str | None:
    """As the server writes a parameter's value."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, list):
        return "{" + ",".join('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in value) + "}"
    return None if value is None else str(value)


def shown(value: Value) -> str:
    """As above; the server quotes elements of arrays only where they need it."""
    if isinstance(value, list):
        return literal("{" + ",".join(each if each == "a" else str(written([each]))[1:-1] for each in value) + "}")
    return literal(written(value))


def extended(connection: Connection, *, prepare: bool | None = None, binary: bool = False) -> Work:
    """Parameters that travel beside the statement."""
    place = "%b" if binary else "%s"
    done = Work()
    for values in VALUES:
        connection.execute(INSERT.format(*[place] * 4), values, prepare=prepare)
        done.append(("write", INSERT.format(*map(shown, values))))
    connection.execute(f"SELECT '$1', {place}, {place} AS \"$2\" -- $3", ["x", ODD], prepare=prepare)
    done.append(("read", f"SELECT '$1', 'x', {literal(ODD)} AS \"$2\" -- $3"))
    return done


def pipelined(connection: Connection) -> Work:
    with connection.pipeline():
        done = extended(connection)
        connection.execute("UPDATE t SET a = %s WHERE id = %s", ["piped", 1])
    return [*done, ("write", "UPDATE t SET a = 'piped' WHERE id = '1'")]


def simple(connection: Connection) -> Work:
    """Everything is in the text."""
    cursor = psycopg.ClientCursor(connection)
    done = Work()
    for values in VALUES:
        query = INSERT.format(*["%s"] * 4)
        cursor.execute(query, values)
        done.append(("write", cursor.mogrify(query, values)))
    for kind, text in (
        ("write", "INSERT INTO t (a) VALUES ('$1'); DELETE FROM t WHERE a = '$1' /* $1 */"),
        ("read", "SELECT 1"),
        ("read", "BEGIN"),
        ("write", "UPDATE t SET b = 'x' WHERE id = 1"),
        ("read", "SAVEPOINT \"statement: 'x'\""),
        ("read", "COMMIT"),
        ("write", 'CREATE TABLE "execute a: SELECT $1" (a int)'),
    ):
        cursor.execute(text.encode())
        done.append((kind, text))
    return done


def named(connection: Connection) -> Work:
    """Prepared statements whose names could be taken for something else."""
    done = Work()
    for name in ("a:b", "a: b\nc", 'it\'s "$1"', "parse", "x" * 100, "é: %s"):
        connection.pgconn.prepare(name.encode(), b"INSERT INTO t (a, b) VALUES ($2, $1)")
        connection.pgconn.exec_prepared(name.encode(), [b"one", ODD.encode()])
        done.append(("write", f"INSERT INTO t (a, b) VALUES ({literal(ODD)}, 'one')"))
    return done


WORKS: Mapping[str, Callable[[Connection], Work]] = {
    "extended": extended,
    "prepared": lambda connection: extended(connection, prepare=True),
    "binary": lambda connection: extended(connection, binary=True),
    "pipelined": pipelined,
    "simple": simple,
    "named": named,
}


@pytest.mark.parametrize("mode", MODES)
def test_what_was_executed_is_what_is_read(logging: LoggingServer, database: Database, mode: str) -> None:
    logging.configure(MODES[mode])
    for work in WORKS.values():
        with closing(logging.connect(database.name)) as connection:
            done = [text for kind, text in work(connection) if kind == "write" or mode != "mod"]
            this = connection.info.backend_pid
        assert eventually(lambda this=this, done=done: len(found_in(logging, database, this)) >= len(done))  # type: ignore[misc]
        found = found_in(logging, database, this)
        assert [each.sql.decode() for each in found] == done
        assert {each.reason for each in found} == {None}
        assert {each.after for each in found} == {mode == "durations"}


def test_running_it_again_gives_the_same(logging: LoggingServer, database: Database) -> None:
    done = 0
    for work in WORKS.values():
        with closing(logging.connect(database.name)) as connection:
            done += len(work(connection))
            connection.execute('DROP TABLE IF EXISTS "execute a: SELECT $1"')
    with new_database(logging.server, made=SCHEMA) as other, other.session() as session:
        assert eventually(lambda: len(found_in(logging, database)) > done)
        for each in found_in(logging, database)[1:]:  # not once more the schema
            session.execute(each.sql)
        everything = "SELECT * FROM t ORDER BY id"
        assert other.ask(everything) == database.ask(everything)
        assert len(other.ask(everything)) > len(VALUES)


def test_sessions_at_once_in_files_that_change(logging: LoggingServer, database: Database) -> None:
    """Read while they are written, in pieces, each file from where the last read ended."""

    def work(number: int) -> tuple[int, list[str]]:
        with closing(logging.connect(database.name)) as connection:
            done = list[str]()
            for turn in range(150):
                text = f"{number}.{turn}\n" + ODD * (turn % 7)
                connection.execute("INSERT INTO t (a, b) VALUES (%s, %s)", [text, "x" * (turn * number * 40)])
                done.append(f"INSERT INTO t (a, b) VALUES ({literal(text)}, '{'x' * (turn * number * 40)}')")
            return connection.info.backend_pid, done

    reader = _Reader(logging=logging, database=database)
    with ThreadPoolExecutor() as pool:
        works = [pool.submit(work, number) for number in range(4)]
        for _ in range(2):
            reader.read()
            logging.rotate()
        while not all(each.done() for each in works):
            reader.read()
    expected = dict(each.result() for each in works)
    assert eventually(lambda: reader.read() >= sum(map(len, expected.values())))
    assert {this: reader.texts(this) for this in expected} == expected
    assert len(logging.files()) > 2
    assert not reader.lost


class _Reader:
    """Reads all files on, every time."""

    def __init__(self, *, logging: LoggingServer, database: Database) -> None:
        self._logging = logging
        self._database = database.name.encode()
        self._places = dict[Path, int]()
        self._found = list[Statement]()
        self.lost = list[Lost]()

    def read(self) -> int:
        """How many statements there are so far."""
        for file in self._logging.files():
            place = self._places.get(file, 0)
            with file.open("rb") as opened:
                opened.seek(place)
                chunks = iter(lambda opened=opened: opened.read(4099), b"")  # type: ignore[misc]
                rows = Rows(chunks, database=self._database, place=place, lost=self.lost.append)
                self._found += (each for each in map(statement, rows) if each)
            self._places[file] = rows.end
        return len([each for each in self._found if b"INSERT" in each.sql])

    def texts(self, this: int) -> list[str]:
        return [each.sql.decode() for each in self._found if pid(each) == this]
