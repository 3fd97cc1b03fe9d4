"""A random application at work on a real server: at every moment between two transactions the same comes back.

Its sessions take turns in one thread, so a seed is a whole story. PGKEEP_SEED: another seed, or several (`7`, `7-40`);
PGKEEP_MAJOR: another version than the sandbox's.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from contracts.test_capture import backup_of, entry
from fix_content import Chain, Content, Session, Stretch, alike, content, same, schema, sequences
from fix_postgres import Database, new_database, new_role, no_database, quoted, server
from fix_random import MADE, Dice
from pgkeep.adapters.postgres import LogicalCapture, Server
from pgkeep.adapters.postgres.target import PostgresFresh
from pgkeep.delta import until
from pgkeep.errors import Disturbed, NotRestorable
from pgkeep.inventory import Inventory, differences, updated
from pgkeep.model import Backup
from pgkeep.ports import Inexact

SLOT = "pgkeep_room_random"
SESSIONS, WINDOWS, STEPS, STOPS = 3, 4, 45, 5
PATIENCE = "SET lock_timeout = '40ms'"
SETTINGS = f"{PATIENCE}; SET search_path = public, other; SET TimeZone = UTC; SET client_min_messages = error"
GRANTS = """
    GRANT ALL ON SCHEMA public, other TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA public, other TO {role};
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public, other TO {role}; ALTER TABLE t4 OWNER TO {role};
    ALTER TABLE t8 OWNER TO {role}; ALTER TABLE t9 OWNER TO {role};
"""
GAPS = re.compile("carried whole, and altered in a way that looks at its rows|REINDEX amid DDL in one string")
"""docs/changes.md: what makes a gap though the schema was changed by nothing but statements that are carried."""


class Application:
    """Three sessions that take turns; `said`: all that they sent, with what became of it."""

    def __init__(self, database: Database, seed: int, stack: ExitStack) -> None:
        self.database, self.dice = database, Dice(seed)
        role = quoted(stack.enter_context(new_role(database, "NOLOGIN")).name)
        database.run(GRANTS.format(role=role))
        self.begin = ("BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", f"BEGIN; SET LOCAL ROLE {role}")
        self.said = list[str]()
        self.marked = set[Session]()
        self.altering: Session | None = None
        self.moments = list[tuple[int, Content | None]]()
        self.sessions = [stack.enter_context(database.session()) for _ in range(SESSIONS)]
        self.observer = stack.enter_context(database.session())
        self.observer.execute(PATIENCE)
        for session in self.sessions:
            session.execute(SETTINGS)

    def work(self, steps: int, *, ddl: float) -> None:
        for _ in range(steps):
            session = self.dice.random.choice(self.sessions)
            if not in_transaction(session):
                self.marked.discard(session)
                self.send(session, self.dice.one(*self.begin))
            self._step(session, ddl=ddl)

    def _step(self, session: Session, *, ddl: float) -> None:
        what = self.dice.random.random()
        if what < 0.25:
            self.end(session)
        elif what < 0.35:
            self.send(session, "SAVEPOINT a")
            self.marked.add(session)
        elif what < 0.42 and session in self.marked:
            self.send(session, "ROLLBACK TO a")
        else:
            self._try(session, self.dice.statement(session, ddl=self._allowed(session, ddl)))

    def _allowed(self, session: Session, ddl: float) -> float:
        """Two at once that alter the schema would be a gap."""
        self.altering = self.altering if self.altering and in_transaction(self.altering) else session
        return ddl if self.altering is session else 0.0

    def _try(self, session: Session, statement: str) -> None:
        """An error undoes the statement more often than the transaction."""
        careful = self.dice.chance(0.7)
        if careful:
            self.send(session, "SAVEPOINT careful")
        if not self.send(session, statement) and careful:
            self.send(session, "ROLLBACK TO careful")
        if session.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            self.send(session, "ROLLBACK")

    def end(self, session: Session) -> None:
        """Its transaction ends; what the database holds then is kept in mind if nobody stands in the way."""
        if self.dice.chance(0.15):
            self.send(session, "ROLLBACK")
            return
        ((xid,),) = session.execute("SELECT pg_current_xact_id_if_assigned()::text").fetchall()
        if self.send(session, "COMMIT") and xid is not None:
            self.said.append(f"-- that was transaction {xid}")
            try:
                self.moments.append((int(str(xid)), content(self.observer)))
            except psycopg.errors.LockNotAvailable:
                self.moments.append((int(str(xid)), None))
                self.said.append("-- not seen")

    def send(self, session: Session, statement: str) -> bool:
        number = self.sessions.index(session)
        try:
            session.execute(statement.encode())
        except psycopg.Error as error:
            self.said.append(f"/* {number} */ {statement}; -- {str(error).splitlines()[0]}")
            return False
        self.said.append(f"/* {number} */ {statement};")
        return True

    def calm(self) -> None:
        """Nobody holds a table alone: a dump of the schema would wait for him."""
        query = "SELECT pid FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND locktype = 'relation'"
        holding = {pid for (pid,) in self.observer.execute(query)}
        for session in filter(in_transaction, self.sessions):
            if session.info.backend_pid in holding:
                self.end(session)


def in_transaction(session: Session) -> bool:
    return session.info.transaction_status != psycopg.pq.TransactionStatus.IDLE


def begin(application: Application, capture: LogicalCapture, last: Backup | None) -> tuple[Chain, Backup]:
    application.calm()
    for session in filter(in_transaction, application.sessions):  # a slot waits for whoever is writing
        application.end(session)
    with capture.begin(last) as window:
        start = content(application.observer)
        dump = b"".join(window.dump())
        chain = Chain(base=window.inventory(), dump=dump, start=start)
        application.moments.clear()
        return chain, backup_of(window, window.link(gap="the first"), after=last)


def collect(application: Application, capture: LogicalCapture, last: Backup, start: Content) -> Stretch:
    """The next window, at a moment at which no table is rewritten. Transactions begin and end while it is read."""
    application.calm()
    with capture.window(last) as window:
        moments = tuple(application.moments)
        end, stood = content(application.observer), sequences(application.observer)
        defined = schema(application.database)
        application.said.append("-- here a window ends")
        application.work(application.dice.random.choice([0, 6]), ddl=0.1)
        application.calm()
        changes = b"".join(window.changes())
        update = window.update()
        backup = backup_of(window, window.link(gap=None), after=last)
    del application.moments[: len(moments)]
    return Stretch(
        start=start,
        moments=moments,
        end=end,
        sequences=stood,
        schema=defined,
        changes=changes,
        update=update,
        backup=backup,
    )


def story(application: Application, capture: LogicalCapture) -> Iterator[Chain]:
    """Chains of windows; a new one after a gap."""
    chain, last = begin(application, capture, None)
    for _ in range(WINDOWS):
        application.work(STEPS, ddl=application.dice.random.choice([0.1, 0.3, 0.5]))
        try:
            stretch = patient(application, capture, last, chain.stretches[-1].end if chain.stretches else chain.start)
        except Inexact as gap:
            if not GAPS.search(gap.reason):
                pytest.fail(f"a gap: {gap.reason}")
            application.said.append(f"-- a gap: {gap.reason}")
            yield chain
            chain, last = begin(application, capture, last)
            continue
        chain.stretches.append(stretch)
        last = stretch.backup
        if application.dice.chance(0.5):  # else the slot shows it again
            application.database.source().release(entry(last))
    yield chain


def patient(application: Application, capture: LogicalCapture, last: Backup, start: Content) -> Stretch:
    for _ in range(7):
        try:
            return collect(application, capture, last, start)
        except Disturbed as why:
            application.said.append(f"-- disturbed: {why}")
    pytest.fail("no moment could be had")


class Proof:
    """A copy that is carried on from moment to moment, by the product's own means."""

    def __init__(self, fresh: PostgresFresh, dice: Dice) -> None:
        self.fresh, self.dice = fresh, dice

    def chain(self, chain: Chain) -> None:
        self.fresh.load(iter([chain.dump]), sequences=chain.base.sequences)
        expected = chain.base
        for stretch in chain.stretches:
            self.stops(stretch)
            if stretch.changes:
                self.fresh.apply([stretch.changes])
            expected = updated(expected, stretch.update)
            self.end(stretch, expected)
        self.fresh.settle()

    def end(self, stretch: Stretch, expected: Inventory) -> None:
        database = Database(server=self.fresh.target.server, name=self.fresh.name)
        with database.session() as session:
            found, stood = content(session), sequences(session)
        same(found.rows, stretch.end.rows)
        alike(found.shape, stretch.end.shape)
        assert stood == stretch.sequences
        assert schema(database).replace(database.name, "x") == stretch.schema
        assert not differences(source=expected, restored=self.fresh.inventory(expected), partly=True)

    def stops(self, stretch: Stretch) -> None:
        """Some of the moments within."""
        count = min(STOPS, len(stretch.moments))
        for i in sorted(self.dice.random.sample(range(len(stretch.moments)), count)):
            before = stretch.moments[i - 1][1] if i else stretch.start
            xid, wanted = stretch.moments[i]
            if wanted and before and stretch.changes:
                self.stop(stretch, xid, wanted, before=before)

    def stop(self, stretch: Stretch, xid: int, wanted: Content, *, before: Content) -> None:
        name = f"{self.fresh.name}_stop"
        self.fresh.admin.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(self.fresh.name)}".encode())
        try:
            copy = replace(self.fresh, name=name)
            copy.apply(until([stretch.changes], time=None, xid=xid))
            with Database(server=self.fresh.target.server, name=name).session() as session:
                found = content(session)
        except NotRestorable:  # it has changed nothing that is kept
            found = before
        finally:
            self.fresh.admin.execute(f"DROP DATABASE {quoted(name)} WITH (FORCE)".encode())
        stale = {name for name, oid in wanted.oids.items() if oid in stretch.stale()}
        same(found.without(stale), wanted.without(stale), where=f"after transaction {xid}")
        alike(found.shape, wanted.shape)


def seeds() -> list[int]:
    first, _, last = os.environ.get("PGKEEP_SEED", "1-2").partition("-")
    return list(range(int(first), int(last or first) + 1))


def servers(request: pytest.FixtureRequest) -> tuple[Server, Server]:
    """Where it works, and where it comes back."""
    if major := os.environ.get("PGKEEP_MAJOR"):
        return (request.getfixturevalue("server_of")(int(major)),) * 2
    sandbox = request.getfixturevalue("sandbox")
    return server(sandbox, "source"), server(sandbox, "scratch")


@pytest.mark.parametrize("seed", seeds())
def test_a_random_application(seed: int, request: pytest.FixtureRequest) -> None:
    source, scratch = servers(request)
    application = None
    try:
        with ExitStack() as stack:
            database = stack.enter_context(new_database(source, made=MADE))
            application = Application(database, seed, stack)
            capture = LogicalCapture(source=database.source(), slot=SLOT, measured=1 << 24, kept=1 << 30)
            target = stack.enter_context(no_database(scratch)).target()
            for chain in list(story(application, capture)):
                expected = chain.base
                for stretch in chain.stretches:
                    expected = updated(expected, stretch.update)
                with target.fresh(expected) as fresh:
                    Proof(fresh, application.dice).chain(chain)
    except BaseException:
        print(f"PGKEEP_SEED={seed}", *(application.said if application else ()), sep="\n")
        raise
