"""What the log says was committed is what is in the tables: on real servers, at cuts while sessions write."""

import random
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

import psycopg
import pytest

from fix_csvlog_server import RECOMMENDED, LoggingServer
from fix_postgres import Database, eventually, new_database
from pgkeep.adapters.postgres.csvlog.groups import Collected, collect
from pgkeep.adapters.postgres.csvlog.model import Exact, LogRow, Verdict, Write
from pgkeep.adapters.postgres.csvlog.moments import Carried, Moment, Running, begun, sampled
from pgkeep.adapters.postgres.csvlog.rows import Rows
from pgkeep.adapters.postgres.csvlog.statements import statement
from pgkeep.visibility import Visible, visible

Connection = psycopg.Connection[tuple[object, ...]]
OFF = {"log_statement": "none", "log_duration": "off", "log_min_duration_statement": "-1"}
MODES = {
    "all, durations": RECOMMENDED,
    "all": RECOMMENDED | {"log_duration": "off"},
    "mod": RECOMMENDED | OFF | {"log_statement": "mod"},
    "durations of all": RECOMMENDED | OFF | {"log_min_duration_statement": "0"},
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


def judge(sql: bytes) -> Verdict:
    """Only INSERTs of a number write here; that number is the key."""
    if not sql.upper().startswith(b"INSERT INTO T VALUES ("):
        return Exact(sql=b"", writes=())
    key = sql.partition(b"(")[2].partition(b",")[0].strip(b" '").decode()
    return Exact(sql=sql, writes=(Write(schema="public", name="t", keys=(key,), inserted=1),))


@dataclass(kw_only=True)
class Cuts:
    """Makes cuts of a database, and keeps the keys that the log says were committed. `base`: the next read's start."""

    logging: LoggingServer
    database: Database
    begins_logged: bool
    kept: set[int] = field(default_factory=set)
    base: int = 0
    then: Carried | None = None
    before: Visible | None = None
    results: Counter[str] = field(default_factory=Counter)

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
        said = {int(key) for group in found.groups for one in group.statements for key in one.writes[0].keys or ()}
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

    def _moment(self, marking: Connection, reading: Connection) -> tuple[Moment, set[int]]:
        token = secrets.token_hex(8)
        self._mark(marking, token, 1)
        before = self._sample(marking)
        connected = [str(name).encode() for (name,) in marking.execute(CONNECTED).fetchall()]
        reading.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        ((snapshot,),) = reading.execute("SELECT pg_current_snapshot()::text").fetchall()
        samples = (before, self._sample(marking), self._sample(marking))
        self._mark(marking, token, 2)
        there = {int(str(key)) for (key,) in reading.execute("SELECT id FROM t").fetchall()}
        first, second = self._markers(token)
        ((boot,),) = marking.execute(BOOT).fetchall()
        moment = sampled(
            samples,
            boot=str(boot),
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

    def _collected(self, marking: Connection, now: Moment, then: Carried, before: Visible) -> Collected:
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
                        self.over.wait(self.random.random() / 100)
                    self.random.choice([self.left, self.killed, lambda _: None])(session)
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
        session.execute("SET statement_timeout = 5")
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


@pytest.fixture(params=[13, 15, 18])
def logging(request: pytest.FixtureRequest, logging_server_of: Callable[[int], LoggingServer]) -> LoggingServer:
    return logging_server_of(request.param)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_log_says_was_committed_is_there(logging: LoggingServer, mode: str) -> None:
    logging.configure(MODES[mode])
    with new_database(logging.server, made=MADE) as database:
        cuts = Cuts(logging=logging, database=database, begins_logged=mode != "mod")
        over = threading.Event()
        clients = [Client(logging, database, number=number, stop=over) for number in range(1, 4)]
        try:
            for client in clients:
                client.start()
            for _ in range(12):
                over.wait(0.2)
                cuts.cut()
        finally:
            over.set()
            for client in clients:
                client.join()
        cuts.cut()
        assert [client.failure for client in clients] == [None] * len(clients)
        print(logging.machine.name, mode, dict(cuts.results))
        if mode.startswith("all"):
            assert cuts.results["exact"] >= 3
            assert cuts.results["transactions"] >= 20
