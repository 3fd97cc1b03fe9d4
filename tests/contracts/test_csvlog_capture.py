"""Changes from the CSV log of real servers: restored and compared, or a gap with its reason. Nothing silently wrong."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from contracts.test_capture import backup_of
from fix_csvlog_server import RECOMMENDED, LoggingServer
from fix_majors import NEWEST, OLDEST
from fix_pgoutput_sql import apply, content
from fix_postgres import Database, new_database
from pgkeep.adapters.postgres import CsvlogCapture
from pgkeep.delta import sections
from pgkeep.errors import Disturbed
from pgkeep.model import Backup
from pgkeep.ports import Inexact

MADE = """
    CREATE TABLE kept (id int PRIMARY KEY, name text, at timestamptz, about jsonb, flag boolean DEFAULT true);
    CREATE TABLE pair (a int, b text, n numeric, PRIMARY KEY (a, b));
    CREATE TABLE once (id uuid PRIMARY KEY, mail text UNIQUE);
    CREATE TABLE keyless (n int);
    CREATE TABLE numbered (id serial PRIMARY KEY, t text);
    CREATE TABLE stamped (id int PRIMARY KEY, at timestamptz DEFAULT now());
    CREATE TABLE watched (id int PRIMARY KEY, t text);
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO keyless VALUES (1); RETURN NEW; END';
    CREATE TRIGGER note AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION note();
    CREATE FUNCTION sneak() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO keyless VALUES (2); RETURN 1; END';
    INSERT INTO kept SELECT i, 'old ' || i, '2026-01-01Z' FROM generate_series(1, 10) i;
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1);
"""
BUDGET = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Log:
    """A database whose changes are collected from the log."""

    logging: LoggingServer
    database: Database
    directory: Path | None = None
    measured: int = BUDGET

    @property
    def capture(self) -> CsvlogCapture:
        return CsvlogCapture(
            source=self.database.source(),
            measured=self.measured,
            directory=self.directory,
        )

    def begun(self) -> Backup:
        with self.capture.begin(None) as window:
            return backup_of(window, window.link(gap="the first"))

    def carried(self, last: Backup) -> tuple[bytes, Backup]:
        """As the story does it: another moment, if one was spoilt. Raises Inexact."""
        for _ in range(20):
            try:
                with self.capture.window(last) as window:
                    changes = b"".join(window.changes())
                    window.update()
                    return changes, backup_of(window, window.link(gap=None), after=last)
            except Disturbed:
                continue
        raise AssertionError("there was no quiet moment")

    def gap(self, last: Backup) -> Backup:
        """The next cut, behind what could not be carried."""
        with self.capture.window(last) as window:
            with pytest.raises(Inexact):
                b"".join(window.changes())
            return backup_of(window, window.link(gap="as said"), after=last)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return self.logging.connect(self.database.name)


@pytest.fixture(params=[OLDEST, 15, NEWEST])
def log(request: pytest.FixtureRequest, logging_server_of: Callable[[int], LoggingServer]) -> Iterator[Log]:
    logging = logging_server_of(request.param)
    logging.configure()
    with new_database(logging.server, made=MADE) as database:
        yield Log(logging=logging, database=database)


@pytest.fixture
def newest(logging_server_of: Callable[[int], LoggingServer]) -> Iterator[Log]:
    logging = logging_server_of(NEWEST)
    logging.configure()
    with new_database(logging.server, made=MADE) as database:
        yield Log(logging=logging, database=database)


def simple(log: Log) -> None:
    with log.connect() as session:
        session.execute("INSERT INTO kept VALUES (11, 'it''s', '2026-02-03 04:05:06+01', '{\"a\": 1}', false)")
        session.execute("UPDATE kept SET name = 'new' WHERE id = 3; DELETE FROM kept WHERE id IN (4, 5)")
        session.execute("INSERT INTO keyless VALUES (7), (7), (NULL)")


def parameters(log: Log) -> None:
    with log.connect() as session:
        for prepare in (False, True):
            values = [20 + prepare, "$1 ''\\ \n", "2026-02-03T04:05:06Z", '{"b": [1, null]}']
            query = "INSERT INTO kept (id, name, at, about) VALUES (%s, %s, %s, %s)"
            session.execute(query, values, prepare=prepare)
            session.execute("UPDATE pair SET n = %s WHERE a = %s AND b = %s", [1.5, 1, "x"], prepare=prepare)
        session.execute("INSERT INTO pair VALUES (%s, %s, %s)", [1, "x", 2])


def transactions(log: Log) -> None:
    with log.connect() as session:
        with session.transaction():
            session.execute("INSERT INTO kept (id, name) VALUES (30, 'whole')")
            session.execute("INSERT INTO once VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'x@y')")
        with session.transaction(force_rollback=True):
            session.execute("INSERT INTO kept (id, name) VALUES (31, 'rolled back')")
        with session.transaction():
            session.execute("INSERT INTO kept (id, name) VALUES (32, 'before')")
            with contextlib.suppress(psycopg.errors.UniqueViolation), session.transaction():
                session.execute("INSERT INTO kept (id, name) VALUES (33, 'undone')")
                session.execute("INSERT INTO kept (id, name) VALUES (1, 'there already')")
            session.execute("UPDATE kept SET name = 'after' WHERE id = 32")
        with pytest.raises(psycopg.errors.UniqueViolation):
            session.execute("INSERT INTO kept (id, name) VALUES (2, 'there already')")


def sessions(log: Log) -> None:
    with log.connect() as one, log.connect() as other:
        one.execute("BEGIN")
        one.execute("INSERT INTO kept (id, name) VALUES (40, 'one')")
        other.execute("INSERT INTO kept (id, name) VALUES (41, 'other')")
        other.execute("UPDATE kept SET name = 'mine' WHERE id = 7")
        one.execute("UPDATE kept SET name = 'yours' WHERE id = 8")
        one.execute("COMMIT")
        one.execute("SELECT count(*), max(name) FROM kept")
        one.execute("SELECT nextval('numbered_id_seq')")


def nothing(log: Log) -> None:
    with log.connect() as session:
        session.execute("SELECT * FROM kept WHERE id = 1 FOR UPDATE")
        session.execute("SET application_name = 'x'; SHOW search_path")


CARRIED = [simple, parameters, transactions, sessions, nothing]


@pytest.mark.parametrize("work", CARRIED)
def test_what_is_carried_comes_back(log: Log, work: Callable[[Log], None]) -> None:
    last = log.begun()
    with new_database(log.database.server, made=MADE) as copy:
        work(log)
        changes, end = log.carried(last)
        assert bool(changes) is (work is not nothing)
        apply(copy, [changes])
        assert content(copy) == content(log.database)
        assert log.carried(end)[0] == b"", "once"
    assert end.link
    assert end.link.exact == "not proven"


HIDDEN = "-c log_statement=none -c log_duration=off -c log_min_error_statement=panic"


def hidden(log: Log) -> Database:
    """The database, for a superuser who has switched the log off for his session."""
    return Database(server=log.database.server.with_settings(HIDDEN), name=log.database.name)


DOUBTFUL = {
    "INSERT INTO numbered (t) VALUES ('x')": r"numbered",
    "INSERT INTO stamped VALUES (1)": r"stamped",
    "INSERT INTO watched VALUES (1, 'x')": r"watched",
    "DELETE FROM parent WHERE id = 1": r"parent|refer",
    "SELECT sneak()": r"sneak|function",
    "DO 'BEGIN INSERT INTO keyless VALUES (9); END'": r"DO",
    "INSERT INTO kept (id) SELECT 50": r"selected",
    "WITH x AS (INSERT INTO kept (id) VALUES (51) RETURNING id) SELECT * FROM x": r"WITH|INSERT",
    "UPDATE kept SET name = name || 'x' WHERE id = 1": r"kept",
    "TRUNCATE keyless": r"TRUNCATE",
    "COPY kept (id) FROM PROGRAM 'echo 52'": r"COPY",
    "CREATE TABLE later (id int)": r"schema|CREATE",
    "SET standard_conforming_strings = off; INSERT INTO keyless VALUES (1)": r"SET|standard",
    "SELECT lo_create(0)": r"large objects|lo_create",
}


@pytest.mark.parametrize("statement", DOUBTFUL)
def test_what_is_not_certain_is_a_gap_with_its_reason(newest: Log, statement: str) -> None:
    last = newest.begun()
    newest.database.run(statement)
    with pytest.raises(Inexact, match=DOUBTFUL[statement]):
        newest.carried(last)


@pytest.mark.parametrize("measured", [BUDGET, 0])
def test_what_the_log_did_not_show_is_noticed(newest: Log, measured: int) -> None:
    """A superuser has switched the log off for his session."""
    log = Log(logging=newest.logging, database=newest.database, measured=measured)
    last = log.begun()
    for statement in ("INSERT INTO keyless VALUES (5)", "UPDATE kept SET name = 'hidden' WHERE id = 9"):
        hidden(log).run(statement)
        log.database.run("INSERT INTO kept (id) VALUES (60)", "DELETE FROM kept WHERE id = 60")
        with log.capture.window(last) as window:
            with pytest.raises(Inexact, match=r"log explains|log does not explain|by the log"):
                b"".join(window.changes())
            last = backup_of(window, window.link(gap="as said"), after=last)
    assert log.carried(last)[0] == b""


UNSEEN = {
    "a row goes, another is changed": ("DELETE FROM kept WHERE id = 9", "UPDATE kept SET name = 'x' WHERE id = 5"),
    "a row goes, others are changed": ("DELETE FROM kept WHERE id = 9", "UPDATE kept SET flag = false WHERE id < 3"),
    "another row is changed": ("UPDATE kept SET name = 'y' WHERE id = 9", "UPDATE kept SET name = 'x' WHERE id = 5"),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_what_is_explained_hides_nothing_else(newest: Log, case: str) -> None:
    last = newest.begun()
    not_logged, logged = UNSEEN[case]
    hidden(newest).run(not_logged)
    newest.database.run(logged)
    with pytest.raises(Inexact, match=r"of public\.kept were written|public\.kept has"):
        newest.carried(last)


def test_what_a_savepoint_hid_from_the_cut_is_noticed(newest: Log) -> None:
    last = newest.begun()
    with hidden(newest).session() as session:
        session.autocommit = False
        session.execute("INSERT INTO pair VALUES (1, 'a', 1)")
        session.execute("SAVEPOINT s")
        session.execute("UPDATE kept SET name = 'z' WHERE id = 9")
        session.execute("RELEASE s")
        newest.database.run("INSERT INTO kept (id) VALUES (97)")  # a younger one than all of it
        _, last = newest.carried(last)
        session.commit()
        newest.database.run("DELETE FROM pair")  # what the transaction itself wrote
    with pytest.raises(Inexact, match=r"of public\.kept were written"):
        newest.carried(last)


def test_a_session_that_was_set_oddly_is_not_trusted_after_the_gap_either(newest: Log) -> None:
    last = newest.begun()
    with newest.connect() as session:
        session.execute("SET extra_float_digits = 0")
        last = newest.gap(last)
        session.execute("INSERT INTO kept (id) VALUES (80)")
        with pytest.raises(Inexact, match="its session was set"):
            newest.carried(last)


def test_a_block_in_the_extended_protocol_may_have_looked_when_it_began(newest: Log) -> None:
    last = newest.begun()
    with newest.connect() as one, newest.connect() as other:
        one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        one.pgconn.prepare(b"p", b"UPDATE kept SET name = $1 WHERE id = 90")
        other.execute("INSERT INTO kept (id, name) VALUES (90, 'new')")
        other.execute("SELECT 1")
        one.pgconn.exec_prepared(b"p", [b"not seen"])
        one.pgconn.exec_params(b"INSERT INTO pair VALUES ($1, 'b', 1)", [b"7"])
        one.execute("COMMIT")
    with pytest.raises(Inexact, match="at the same time"):
        newest.carried(last)


def test_a_transaction_has_the_time_of_its_end(newest: Log) -> None:
    last = newest.begun()
    with newest.connect() as session:
        session.execute("BEGIN")
        session.execute("INSERT INTO kept (id) VALUES (95)")
        ((moment,),) = session.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'").fetchall()
        time.sleep(0.01)
        session.execute("COMMIT")
    changes, _ = newest.carried(last)
    (words,) = {section.words for section, _ in sections([changes]) if section.kind == "transaction"}
    assert words[3] > str(moment).replace(" ", "T")


def test_after_a_gap_it_goes_on(log: Log) -> None:
    last = log.begun()
    log.database.run("SELECT sneak()")
    last = log.gap(last)
    assert last.link
    assert last.link.exact is None
    with new_database(log.database.server, made=MADE) as copy:
        copy.run("INSERT INTO keyless VALUES (2)")
        simple(log)
        apply(copy, [log.carried(last)[0]])
        assert content(copy) == content(log.database)


@pytest.mark.parametrize(
    "settings", [{"log_statement": "mod", "log_duration": "off"}, {**RECOMMENDED, "log_duration": "off"}]
)
def test_in_other_modes_it_is_right_or_a_gap(newest: Log, settings: dict[str, str]) -> None:
    newest.logging.configure({**RECOMMENDED, **settings})
    last = newest.begun()
    with new_database(newest.database.server, made=MADE) as copy:
        for work in CARRIED:
            work(newest)
            try:
                changes, last = newest.carried(last)
            except Inexact:
                return
            apply(copy, [changes])
            assert content(copy) == content(newest.database)


def test_markers_and_rotation(newest: Log) -> None:
    """Read from the directory; the log is rotated within a window, and each transaction can be told from the others."""
    log = Log(logging=newest.logging, database=newest.database, directory=newest.logging.directory)
    last = log.begun()
    log.database.run("INSERT INTO kept (id) VALUES (70)")
    log.logging.rotate()
    log.database.run("INSERT INTO kept (id) VALUES (71)")
    changes, _ = log.carried(last)
    found = [section.words for section, _ in sections([changes]) if section.kind == "transaction"]
    assert len({words[3] for words in found}) == 2, "each has its time"


def test_no_migration_waits_for_what_was_compared(log: Log) -> None:
    log.database.run("CREATE VIEW seen AS SELECT k.id, p.b FROM kept k JOIN pair p ON p.a = k.id")
    last = log.begun()
    simple(log)
    with log.capture.window(last) as window:
        assert b"".join(window.changes())
        log.database.run("SET lock_timeout = 100; LOCK TABLE kept, pair, once, keyless IN ACCESS EXCLUSIVE MODE")
        log.database.run("SET lock_timeout = 100", "ALTER TABLE pair ADD COLUMN more int")


@pytest.mark.parametrize("table", ["kept", "once"])
def test_a_migration_is_not_waited_for(newest: Log, table: str) -> None:
    """One of the tables has to be opened to be compared, the other already for the view that reads from it."""
    newest.database.run("CREATE VIEW seen AS SELECT k.id, p.b FROM pair p JOIN kept k ON p.a = k.id")
    last = newest.begun()
    simple(newest)
    with newest.capture.window(last) as window, newest.connect() as migration:
        migration.execute("SET deadlock_timeout = '150ms'")
        migration.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Disturbed, match="about to be changed"):
            b"".join(window.changes())
        migration.execute("LOCK TABLE kept, pair, keyless, parent IN ACCESS EXCLUSIVE MODE NOWAIT")
        migration.execute("ROLLBACK")
    assert newest.carried(last)[0]


def test_a_log_that_is_gone_says_so(newest: Log) -> None:
    last = newest.begun()
    gone = newest.logging.current()
    newest.logging.rotate()
    gone.unlink()
    assert "was removed" in (newest.capture.broken(last) or "")


@pytest.mark.parametrize("half", [0.3, 0.97])
def test_a_row_that_broke_off_is_a_gap(newest: Log, half: float) -> None:
    """A disk was full, say; the next row stands right behind it, and the two would pass for one."""
    last = newest.begun()
    newest.database.run("INSERT INTO kept (id) VALUES (80)")
    current = newest.logging.current()
    row = current.read_bytes().splitlines(keepends=True)[-1]
    with current.open("ab") as log:
        log.write(row[: int(len(row) * half)])
    newest.database.run("INSERT INTO kept (id) VALUES (81)")
    with newest.capture.window(last) as window, pytest.raises(Inexact, match="are no row of it"):
        b"".join(window.changes())
    newest.logging.rotate()
    current.unlink()  # other tests read this server's log, too


def test_other_log_settings_say_so(newest: Log) -> None:
    last = newest.begun()
    newest.logging.configure({**RECOMMENDED, "log_statement": "ddl"})
    assert "log settings" in (newest.capture.broken(last) or "")
