"""What the log says was committed is what is in the tables: on real servers, at cuts while sessions write."""

import os
import random
import re
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import pytest

from fix_csvlog_server import RECOMMENDED, LoggingServer
from fix_postgres import Database, eventually, new_database
from pgkeep.adapters.postgres.csvlog.log.rows import Rows
from pgkeep.adapters.postgres.csvlog.log.statements import statement
from pgkeep.adapters.postgres.csvlog.model import Exact, Judgement, LogRow, Write
from pgkeep.adapters.postgres.csvlog.transactions.groups import MISSING, RESTARTED, Collected, collect
from pgkeep.adapters.postgres.csvlog.transactions.moments import LogMoment, Running, begun, sampled
from pgkeep.positions import LogCut
from pgkeep.visibility import Visible, visible

Connection = psycopg.Connection[tuple[object, ...]]
OFF = {"log_statement": "none", "log_duration": "off", "log_min_duration_statement": "-1"}
ALL = RECOMMENDED | {"log_connections": "off", "log_disconnections": "off"}
MODES = {
    "all, durations": ALL,
    "all, disconnections": ALL | {"log_duration": "off", "log_disconnections": "on", "log_connections": "on"},
    "mod": ALL | OFF | {"log_statement": "mod"},
    "durations of all": ALL | OFF | {"log_min_duration_statement": "0"},
}
MADE = """
    CREATE TABLE t (id int PRIMARY KEY, pair int UNIQUE DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO t VALUES (0, 0);
"""
SAMPLE = """
    SELECT coalesce(to_hex(trunc(extract(epoch FROM max(backend_start)))::int) || '.' || to_hex(pid), ''),
        virtualtransaction,
        coalesce((array_agg(transactionid ORDER BY age(transactionid) DESC)
            FILTER (WHERE locktype = 'transactionid' AND granted))[1]::text::bigint, 0)
    FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) GROUP BY virtualtransaction, pid
    HAVING bool_or(locktype = 'virtualxid' AND granted) AND pid <> pg_backend_pid()
"""
CONNECTED = """
    SELECT to_hex(trunc(extract(epoch FROM backend_start))::int) || '.' || to_hex(pid)
    FROM pg_stat_activity WHERE datname = current_database()
"""
BOOT = "SELECT backend_start::text FROM pg_stat_activity WHERE backend_type = 'checkpointer'"


KEY = re.compile(rb"INSERT INTO t VALUES \(\s*'?(\d+)'?,|UPDATE t SET .* WHERE id = (\d+)$", re.IGNORECASE)


def judge(sql: bytes) -> Judgement:
    """Only INSERTs and UPDATEs of a number write here; that number is the key."""
    found = KEY.match(sql)
    if not found:
        return Exact(sql=b"", writes=())
    key = (found[1] or found[2]).decode()
    return Exact(sql=sql, writes=(Write(schema="public", name="t", keys=(key,), inserted=int(bool(found[1]))),))


@dataclass(kw_only=True)
class Cuts:
    """Makes cuts of a database, and keeps the keys that the log says were committed. `base`: the next read's start."""

    logging: LoggingServer
    database: Database
    begins_logged: bool
    kept: set[int] = field(default_factory=set)
    base: int = 0
    then: LogCut | None = None
    before: Visible | None = None
    results: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[object, ...]] = field(default_factory=list)

    def cut(self) -> None:
        """One cut, and what the log says of the time since the last; compared with what was there."""
        with self.database.session() as marking, self.database.session() as reading:
            now, there = self._moment(marking, reading)
            if self.then is None or self.before is None:
                self.kept, self.before, self.then = there, now.snapshot, begun(now)
                self.base += now.first
                return
            found = self._collected(marking, now, self.then, self.before)
            self._compare(found, there)
            if not found.ambiguous:
                self.base += found.again
                self.before, self.then = now.snapshot, found.carried

    def _compare(self, found: Collected, there: set[int]) -> None:
        writes = [write for group in found.groups for one in group.statements for write in one.writes if write.inserted]
        said = {int(key) for write in writes for key in write.keys or ()}
        assert said <= there - self.kept, "what is not there, or was there before"
        if found.ambiguous:
            self.results["disturbed"] += 1
            return
        self.results["inexact" if found.reasons else "exact"] += 1
        self.results.update(found.reasons)
        if not found.reasons:
            assert self.kept | said == there
            self.results["transactions"] += len(found.groups)
        self.kept = there

    def _moment(self, marking: Connection, reading: Connection) -> tuple[LogMoment, set[int]]:
        token = secrets.token_hex(8)
        self._mark(marking, token, 1)
        before = self._sample(marking)
        connected = [str(name).encode() for (name,) in marking.execute(CONNECTED).fetchall()]
        ((clock,),) = marking.execute("SELECT extract(epoch FROM clock_timestamp())::bigint").fetchall()
        reading.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        ((snapshot,),) = reading.execute("SELECT pg_current_snapshot()::text").fetchall()
        samples = (before, self._sample(marking), self._sample(marking))
        self._mark(marking, token, 2)
        self.rows = reading.execute("SELECT id, pair FROM t ORDER BY id").fetchall()
        there = {int(str(key)) for key, _ in self.rows}
        first, second = self._markers(token)
        ((boot,),) = marking.execute(BOOT).fetchall()
        moment = sampled(
            samples,
            boot=str(boot),
            clock=int(str(clock)),
            snapshot=visible(str(snapshot)),
            first=first.place,
            second=second.place,
            connected=connected,
            own=[first.session],
        )
        return moment, there

    def _mark(self, marking: Connection, token: str, number: int) -> None:
        marking.execute(f"DO $$ BEGIN RAISE LOG 'pgkeep cut {token} {number}'; END $$")

    def _sample(self, marking: Connection) -> list[Running]:
        return [
            Running(session=str(session).encode(), vxid=str(vxid).encode(), xid=int(str(xid)))
            for session, vxid, xid in marking.execute(SAMPLE).fetchall()
        ]

    def _markers(self, token: str) -> tuple[LogRow, LogRow]:
        found = list[LogRow]()

        def both() -> bool:
            wanted = f"pgkeep cut {token} ".encode()
            found[:] = [row for row in self._rows() if row.message.startswith(wanted)]
            return len(found) == 2

        assert eventually(both)
        return found[0], found[1]

    def _rows(self) -> Iterator[LogRow]:
        data = b"".join(file.read_bytes() for file in self.logging.files())[self.base :]
        return iter(Rows([data], database=self.database.name.encode(), lost=lambda lost: None))

    def _collected(self, marking: Connection, now: LogMoment, then: LogCut, before: Visible) -> Collected:
        def committed(xid: int) -> bool | None:
            ((status,),) = marking.execute("SELECT pg_xact_status(%s::text::xid8)", [str(xid)]).fetchall()
            return None if status is None else status == "committed"

        return collect(
            ((row, statement(row)) for row in self._rows()),
            judge=judge,
            committed=committed,
            then=then,
            before=before,
            now=now,
            begins_logged=self.begins_logged,
        )


@dataclass(kw_only=True)
class Copies(Cuts):
    """Runs the transactions again, in the `copy`."""

    copy: Database

    def _compare(self, found: Collected, there: set[int]) -> None:
        super()._compare(found, there)
        with self.copy.session() as copying:
            for group in found.groups if not (found.ambiguous or found.reasons) else ():
                with copying.transaction():
                    for one in group.statements:
                        copying.execute(one.sql)
            if found.reasons and not found.ambiguous:
                copying.execute("TRUNCATE t")
                copying.cursor().executemany("INSERT INTO t VALUES (%s, %s)", self.rows)
            if not found.ambiguous:
                assert copying.execute("SELECT id, pair FROM t ORDER BY id").fetchall() == self.rows


class Client(threading.Thread):
    """A session, or one after another, with keys of its own. `failure`: what was not meant to happen."""

    def __init__(self, logging: LoggingServer, database: Database, *, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.logging, self.database, self.over = logging, database, stop
        self.random = random.Random(number)
        self.next = number * 1_000_000
        self.failure: BaseException | None = None

    def run(self) -> None:
        acts = [
            self.alone, self.alone, self.bound, self.block, self.savepoints, self.refused, self.refused_at_commit,
            self.too_slow, self.piped, self.several, self.chained, self.back,
        ]  # fmt: skip
        try:
            while not self.over.is_set():
                with closing(self.logging.connect(self.database.name)) as session:
                    for _ in range(self.random.randrange(1, 30)):
                        self.random.choice(acts)(session)
                        self.over.wait(self.random.random() / 25)
                    self.random.choice([self.left, self.killed, self.alone])(session)
        except BaseException as failure:
            self.failure = failure

    def insert(self) -> str:
        self.next += 1
        return f"INSERT INTO t VALUES ({self.next}, {self.next})"

    def alone(self, session: Connection) -> None:
        session.execute(self.insert())

    def bound(self, session: Connection) -> None:
        self.next += 1
        session.execute("INSERT INTO t VALUES (%s, %s)", [self.next, self.next])

    def block(self, session: Connection) -> None:
        with session.transaction():
            self.alone(session)
            self.bound(session)

    def back(self, session: Connection) -> None:
        with session.transaction(force_rollback=True):
            self.alone(session)
            self.bound(session)

    def savepoints(self, session: Connection) -> None:
        with session.transaction():
            with session.transaction(force_rollback=True):
                self.alone(session)
            with suppress(psycopg.Error), session.transaction():
                self.bound(session)
                self._refused(session)
            self.alone(session)

    def _refused(self, session: Connection) -> None:
        session.execute("INSERT INTO t VALUES (0, NULL)")

    def refused(self, session: Connection) -> None:
        with pytest.raises(psycopg.errors.UniqueViolation):
            self._refused(session)

    def refused_at_commit(self, session: Connection) -> None:
        self.next += 1
        with pytest.raises(psycopg.errors.UniqueViolation), session.transaction():
            session.execute(f"INSERT INTO t VALUES ({self.next}, 0)")

    def too_slow(self, session: Connection) -> None:
        self.next += 1
        session.execute("SET statement_timeout = 200")  # enough for RESET below on a busy machine
        with pytest.raises(psycopg.errors.QueryCanceled):
            session.execute(f"INSERT INTO t VALUES ({self.next}, (SELECT 1 FROM pg_sleep(1)))")
        session.execute("RESET statement_timeout")

    def piped(self, session: Connection) -> None:
        with suppress(psycopg.errors.UniqueViolation), session.pipeline():
            self.alone(session)
            self.bound(session)
            if self.random.random() < 0.5:
                self._refused(session)

    def several(self, session: Connection) -> None:
        self.next += 1
        session.execute(f"INSERT INTO t VALUES ({self.next}, NULL); SELECT 1")

    def chained(self, session: Connection) -> None:
        for text in ("BEGIN", self.insert(), "COMMIT AND CHAIN", self.insert(), self.insert(), "ROLLBACK AND CHAIN"):
            session.execute(text)
        session.execute(self.insert())
        session.execute("COMMIT")

    def left(self, session: Connection) -> None:
        session.execute("BEGIN")
        self.alone(session)

    def killed(self, session: Connection) -> None:
        session.execute("BEGIN")
        self.alone(session)
        self.database.ask(f"SELECT pg_terminate_backend({session.info.backend_pid})")


class Writer(Client):
    """Writes to the rows that all write to, in a way that shows in which order it was done."""

    def run(self) -> None:
        try:
            with closing(self.logging.connect(self.database.name)) as session:
                while not self.over.is_set():
                    self.random.choice([self.alone, self.bound, self.block])(session)
                    self.over.wait(self.random.random() / 20)
        except BaseException as failure:
            self.failure = failure

    def insert(self) -> str:
        factor, more = self.random.randrange(2, 5), self.random.randrange(9)
        return f"UPDATE t SET pair = (pair * {factor} + {more}) % 99991 WHERE id = {self.random.randrange(1, 41)}"

    def bound(self, session: Connection) -> None:
        session.execute(self.insert(), prepare=True)

    def block(self, session: Connection) -> None:
        with session.transaction():
            self.alone(session)


@contextmanager
def at_work(client: type[Client], logging: LoggingServer, database: Database) -> Iterator[threading.Event]:
    """Three clients at once; none of them fails. Gives what they stop at."""
    over = threading.Event()
    clients = [client(logging, database, number=number, stop=over) for number in range(1, 4)]
    try:
        for each in clients:
            each.start()
        yield over
    finally:
        over.set()
        for each in clients:
            each.join()
    assert [each.failure for each in clients] == [None] * len(clients)


@pytest.fixture(params=[13, 15, 18])
def logging(request: pytest.FixtureRequest, logging_server_of: Callable[[int], LoggingServer]) -> LoggingServer:
    return logging_server_of(request.param)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_log_says_was_committed_is_there(logging: LoggingServer, mode: str) -> None:
    logging.configure(MODES[mode])
    with new_database(logging.server, made=MADE) as database:
        cuts = Cuts(logging=logging, database=database, begins_logged=mode != "mod")
        with at_work(Client, logging, database) as over:
            for _ in range(60):
                over.wait(0.2)
                cuts.cut()
                if cuts.results["exact"] + cuts.results["inexact"] == 6:
                    break
        cuts.cut()
        print(logging.machine.name, mode, dict(cuts.results))
        if mode.startswith("all"):
            assert cuts.results["exact"] >= 2
            assert cuts.results["transactions"] >= 20
        assert MISSING not in cuts.results


def test_what_sessions_do_to_the_same_rows_is_run_again_in_their_order_or_not_at_all(logging: LoggingServer) -> None:
    logging.configure(ALL)
    made = "CREATE TABLE t (id int PRIMARY KEY, pair int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 40) i"
    with new_database(logging.server, made=made) as database, new_database(logging.server, made=made) as copy:
        cuts = Copies(logging=logging, database=database, begins_logged=True, copy=copy)
        cuts.cut()
        with at_work(Writer, logging, database) as over:
            for _ in range(100):
                over.wait(0.05)
                cuts.cut()
                if cuts.results["exact"] == 8:
                    break
        cuts.cut()
        print(logging.machine.name, dict(cuts.results))
        assert cuts.results["transactions"] >= 20


def test_two_phase_commit_is_noticed_and_a_restart_and_a_crash(logging: LoggingServer) -> None:
    logging.configure(ALL)
    Database(server=logging.server, name="postgres").run("ALTER SYSTEM SET max_prepared_transactions = 5")
    with new_database(logging.server, made=MADE) as database:
        cuts = Cuts(logging=logging, database=database, begins_logged=True)
        cuts.cut()
        logging.machine.stop()
        logging.machine.start()
        cuts.cut()
        assert cuts.results.pop(RESTARTED) == 1
        with database.session() as session:
            for text in ("BEGIN", "INSERT INTO t VALUES (1, 1)", "PREPARE TRANSACTION 'x'"):
                session.execute(text)
        cuts.cut()
        assert cuts.results.pop("two-phase commit") == 1
        database.run("COMMIT PREPARED 'x'")
        cuts.cut()
        assert cuts.results.pop("two-phase commit") >= 1
        _crash(database)
        cuts.cut()
        assert cuts.results[RESTARTED] == 1


def _crash(database: Database) -> None:
    """A session is killed while it writes, and the server begins anew."""
    with database.session() as session:
        process = session.info.backend_pid
        killer = threading.Timer(0.5, lambda: os.kill(process, signal.SIGKILL))
        killer.start()
        with pytest.raises(psycopg.OperationalError):
            session.execute("INSERT INTO t VALUES (2, (SELECT 1 FROM pg_sleep(60)))")

    def answers() -> bool:
        try:
            return database.ask("SELECT pg_is_in_recovery()") == [(False,)]
        except psycopg.OperationalError:
            return False

    assert eventually(answers)
