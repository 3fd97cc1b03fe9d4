"""I10: no statement of the application fails or waits because of what pgkeep has installed.

The same days of an application (`application.sql`) pass in two databases of one server, of which one has it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fix_postgres import Database, Role, Rows, new_database, new_role, quoted
from pgkeep.adapters.postgres import Server, installation

Connection = psycopg.Connection[tuple[object, ...]]
IDLE = psycopg.pq.TransactionStatus.IDLE

APPLICATION = Path(__file__).with_name("application.sql").read_text(encoding="utf-8")
_, *PARTS = re.split(r"^-- scene: (.*)$", APPLICATION, flags=re.MULTILINE)
SCENES = dict(zip(PARTS[::2], PARTS[1::2], strict=True))
FOR_SUPERUSERS = ("a session that replicates", "event triggers of its own")

# Which of them, by number, each of these table locks keeps out: https://www.postgresql.org/docs/current/explicit-locking.html
CONFLICTS = {
    "AccessShare": {7},
    "RowShare": {6, 7},
    "RowExclusive": {4, 5, 6, 7},
    "ShareUpdateExclusive": {3, 4, 5, 6, 7},
    "Share": {2, 3, 5, 6, 7},
    "ShareRowExclusive": {2, 3, 4, 5, 6, 7},
    "Exclusive": {1, 2, 3, 4, 5, 6, 7},
    "AccessExclusive": {0, 1, 2, 3, 4, 5, 6, 7},
}
HELD = """
    SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = pg_backend_pid() AND l.mode <> 'SIReadLock' AND n.nspname NOT IN ('pg_catalog', '_pgkeep')
"""
TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname), c.relkind::text, c.relpersistence::text, c.relreplident::text,
           ARRAY(SELECT k.conname::text FROM pg_constraint k WHERE k.conrelid = c.oid ORDER BY 1)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('information_schema', '_pgkeep') AND n.nspname !~ '^pg_' AND c.relkind IN ('r', 'p', 'm')
    ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A statement, what the application saw of it, and, by table, what its session then kept others from."""

    statement: str
    outcome: object
    kept_out: dict[str, set[int]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two databases of one server; the second has pgkeep in it."""

    plain: Database
    kept: Database


@pytest.fixture
def pair(any_major: Server) -> Iterator[Pair]:
    with new_database(any_major) as plain, new_database(any_major) as kept:
        with kept.session() as session:
            assert installation.install(session).event_triggers
        yield Pair(plain=plain, kept=kept)


@pytest.mark.parametrize("scene", SCENES)
def test_a_superuser_notices_nothing(scene: str, pair: Pair) -> None:
    same(play(scene, pair.plain), play(scene, pair.kept))


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_waits_for_somebody_who_changes_the_publication_meanwhile(scene: str, pair: Pair) -> None:
    with pair.kept.session() as pgkeep, pair.kept.session() as other:

        def meanwhile(session: Connection, statement: str) -> None:
            other.execute("ROLLBACK")
            if session.info.transaction_status == IDLE:
                installation.synchronise(pgkeep)
            if not statement.startswith("CREATE TABLE") or " SET UNLOGGED" in statement:
                hold(other)

        same(play(scene, pair.plain), play(scene, pair.kept, meanwhile=meanwhile))


def hold(other: Connection) -> None:
    """Keeps the publication locked, as an open transaction that has made a table does."""
    other.execute("BEGIN; SET LOCAL lock_timeout = '20ms'; SET LOCAL session_replication_role = replica")
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.RaiseException):
        other.execute("ALTER PUBLICATION pgkeep SET (publish_via_partition_root = false)")


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene not in FOR_SUPERUSERS])
def test_an_ordinary_role_notices_nothing(scene: str, pair: Pair) -> None:
    with new_role(pair.plain) as role, ExitStack() as stack:
        for database in (pair.plain, pair.kept):
            stack.callback(database.run, f"DROP OWNED BY {quoted(role.name)} CASCADE")
            database.run(f"GRANT CREATE ON DATABASE {quoted(database.name)} TO {quoted(role.name)}")
        same(play(scene, pair.plain, role), play(scene, pair.kept, role))


def test_what_the_event_triggers_prevent(pair: Pair) -> None:
    """Without them (an owner cannot make any) two acts are disturbed, from a cut to the next: I10's only gap."""
    pair.kept.run("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)")
    for (name,) in pair.kept.ask("SELECT evtname FROM pg_event_trigger"):
        pair.kept.run(f"ALTER EVENT TRIGGER {name} DISABLE")
    with pair.kept.session() as session:
        session.execute("ALTER TABLE a DROP CONSTRAINT a_pkey; INSERT INTO a VALUES (1)")
        for statement in ("UPDATE a SET id = 2", "ALTER TABLE b SET UNLOGGED"):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                session.execute(statement)
        installation.synchronise(session)
        session.execute("UPDATE a SET id = 2")


def play(
    scene: str, database: Database, role: Role | None = None, meanwhile: Callable[[Connection, str], None] | None = None
) -> list[Told]:
    """The scene, statement by statement, each after what others do `meanwhile`; at last all that is in the tables."""
    told: list[Told] = []
    name = quoted(role.name if role else str(database.server.user))
    with application(database, role) as session:
        session.execute("CREATE SCHEMA scene")
        session.execute("SET search_path = scene, public")
        for statement in filter(None, map(str.strip, SCENES[scene].split(";;\n"))):
            if meanwhile:
                meanwhile(session, statement)
            done = outcome(session, re.sub(r"\b(TO|BY) %I", rf"\1 {name}", statement))
            told.append(Told(statement=statement, outcome=done, kept_out=kept_out(session)))
        session.execute("ROLLBACK")
        session.execute("RESET search_path")
        told.append(Told(statement="what is there", outcome=contents(session), kept_out={}))
    return told


def same(plain: Sequence[Told], kept: Sequence[Told]) -> None:
    for without, having in zip(plain, kept, strict=True):
        assert having.outcome == without.outcome, without.statement
        more = {name: modes - without.kept_out.get(name, set()) for name, modes in having.kept_out.items()}
        assert not any(more.values()), (without.statement, more)


@contextmanager
def application(database: Database, role: Role | None = None) -> Iterator[Connection]:
    """A session of the application. It hears what is said to the server's log, too, so also pgkeep's complaints."""
    with (database if role is None else database.seen_by(role)).session() as session:
        session.execute("SET client_min_messages = log")
        yield session


def outcome(session: Connection, statement: str) -> object:
    """The tag and the rows of each result, or the error; and what was said meanwhile."""
    heard: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        heard.append(f"{notice.severity} {notice.message_primary}")

    session.add_notice_handler(hear)
    try:
        cursor = session.execute(statement)
        results = [(cursor.statusmessage, rows(cursor))]
        while cursor.nextset():
            results.append((cursor.statusmessage, rows(cursor)))
    except psycopg.Error as error:
        return (error.sqlstate, error.diag.message_primary, heard)
    finally:
        session.remove_notice_handler(hear)
    return (results, heard)


def rows(cursor: psycopg.Cursor[tuple[object, ...]]) -> Rows | None:
    return cursor.fetchall() if cursor.description else None


def kept_out(session: Connection) -> dict[str, set[int]]:
    if session.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
        return {}
    kept: dict[str, set[int]] = {}
    for name, mode in session.execute(HELD):
        kept.setdefault(str(name), set()).update(CONFLICTS[str(mode).removesuffix("Lock")])
    return kept


def contents(session: Connection) -> list[object]:
    count = "SELECT count(*), sum(hashtext(t::text)) FROM ONLY {} t"
    found = session.execute(TABLES).fetchall()
    return [(row, session.execute(count.format(row[0])).fetchone() if row[1] == "r" else None) for row in found]
