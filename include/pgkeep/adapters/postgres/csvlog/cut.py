"""A moment of the database, and where it is in the log.

Rows stand in the log when a statement begins, and say nothing of when its transaction ended. So the moment is framed:

    our mark 1 in the log -> who runs a transaction -> the snapshot -> who runs one, twice -> our mark 2 in the log

What stands before mark 1 and was not running had ended before the snapshot; what stands behind mark 2 began after it.
"""

import contextlib
import random
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pgkeep.adapters.postgres.gate import Session, connect, literal, translated
from pgkeep.adapters.postgres.moment import Moment, open_moment
from pgkeep.adapters.postgres.server import Server

from .transactions.moments import Running

# As the log calls a session: the second in which its process began, and its number, both in hexadecimal digits.
SESSION = "to_hex(floor(extract(epoch FROM a.backend_start))::int8) || '.' || to_hex(a.pid)"
# Every transaction holds a lock on its own virtual id, from before its first row in the log until it has ended; and one
# on its xid, when it has one. Subtransactions hold locks on theirs, too, until they are released: these are younger.
RUNNING = f"""
    WITH held AS MATERIALIZED (SELECT * FROM pg_locks WHERE granted)
    SELECT v.virtualxid, coalesce({SESSION}, ''), coalesce((
        SELECT x.transactionid::text::int8 FROM held x
        WHERE x.virtualtransaction = v.virtualxid AND x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock'
        ORDER BY age(x.transactionid) DESC LIMIT 1), 0)
    FROM held v LEFT JOIN pg_stat_activity a ON a.pid = v.pid
    WHERE v.locktype = 'virtualxid' AND v.virtualxid = v.virtualtransaction AND v.pid <> pg_backend_pid()
        AND (a.pid IS NULL OR a.datname = current_database())
"""  # noqa: S608 - no value of anybody's is in it
CONNECTED = f"SELECT {SESSION} FROM pg_stat_activity a WHERE a.datname = current_database()"  # noqa: S608
CLOCK = "SELECT extract(epoch FROM clock_timestamp())::int8"
# The checkpointer, too, begins anew after a crash that the postmaster survives.
BOOT = """
    SELECT extract(epoch FROM pg_postmaster_start_time()) || ' ' || coalesce((
        SELECT extract(epoch FROM backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer'), 0)
"""
LOOKED_AT = 100_000
"""Of transaction ids, the newest, each of which is asked for (20 ms): while an old transaction runs there are many."""
# A subtransaction that was released holds no lock any more, but is in progress until the whole transaction has ended.
HELD = f"""
    SELECT (x & 4294967295)::text
    FROM (SELECT pg_snapshot_xmin(s)::text::int8 AS oldest, pg_snapshot_xmax(s)::text::int8 AS next
          FROM pg_current_snapshot() s) now,
         generate_series(greatest(oldest, next - {LOOKED_AT}), next - 1) x
    WHERE pg_xact_status(x::text::xid8) = 'in progress'
    UNION SELECT transactionid::text FROM pg_locks
    WHERE locktype = 'transactionid' AND granted AND mode = 'ExclusiveLock' ORDER BY 1
"""  # noqa: S608 - no value of anybody's is in it
TEMPORARY = """
    SELECT DISTINCT relname FROM pg_class WHERE relpersistence = 't' AND relkind IN ('r', 'v', 'S', 'p') ORDER BY 1
"""
OURS = f"SELECT {SESSION} FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()"  # noqa: S608
TRIES, PAUSE = 25, 0.02
"""How often a quiet moment is looked for, and the longest pause between, in seconds."""
WRITE = "DO {}"
BODY = "BEGIN RAISE LOG 'pgkeep cut %', {}; END"


Look = tuple[Running, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is asked at the moment itself, one answer right after the other. `exported`: the name of its snapshot.

    `marks`: the messages that stand in the log before and behind it. `looks`: at the running transactions, before the
    snapshot, after it, and after that. `connected`: the sessions of the database. `clock`: see LogCut; `held`: see
    LogPosition.
    """

    marks: tuple[bytes, bytes]
    looks: tuple[Look, Look, Look]
    connected: frozenset[bytes]
    clock: int
    held: tuple[int, ...]
    exported: str

    @property
    def quiet(self) -> bool:
        """Whether nobody in the database was in the middle of a transaction without an xid: such a one may be told
        neither to have ended before the moment, nor after it.
        """
        return not any(one.session in self.connected and not one.xid for look in self.looks for one in look)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramedMoment:
    """`own`: the sessions that look. `temporary`: names of the temporary tables that any session has. `boot`: see
    LogCut.
    """

    moment: Moment
    frame: Frame
    own: frozenset[bytes]
    temporary: tuple[str, ...]
    boot: str


@contextmanager
def framed_moment(server: Server, dbname: str) -> Iterator[FramedMoment]:
    """Opens a moment now, framed by marks in the log; a quiet one, if there soon is one.

    Raises ConfigError, Unavailable.
    """
    with contextlib.ExitStack() as stack:
        watcher, seer = (stack.enter_context(contextlib.closing(connect(server, dbname))) for _ in range(2))
        ours = [name.encode() for session in (watcher, seer) for name in _column(session, server, OURS)]
        for _ in range(TRIES):
            frame = _frame(watcher, seer, server, own=ours)
            if frame.quiet:
                break
            time.sleep(random.uniform(0, PAUSE))  # noqa: S311 - not in step with whoever works regularly
        moment = stack.enter_context(open_moment(server, dbname, exported=frame.exported))
        own = [name.encode() for session in moment.connections for name in _column(session, server, OURS)]
        (boot,) = _column(watcher, server, BOOT)
        yield FramedMoment(
            moment=moment,
            frame=frame,
            own=frozenset((*ours, *own)),
            temporary=tuple(_column(watcher, server, TEMPORARY)),
            boot=boot,
        )


def _frame(watcher: Session, seer: Session, server: Server, *, own: Collection[bytes]) -> Frame:
    token = secrets.token_hex(16)
    with translated(server):
        seer.execute("ROLLBACK")
        seer.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    first = _mark(watcher, server, f"{token} 1")
    before = _running(watcher, server)
    connected, (clock,) = _column(watcher, server, CONNECTED), _column(watcher, server, CLOCK)
    (exported,) = _column(seer, server, "SELECT pg_export_snapshot()")
    held = tuple(map(int, _column(watcher, server, HELD)))
    after, later = _running(watcher, server), _running(watcher, server)
    second = _mark(watcher, server, f"{token} 2")
    looks = tuple(tuple(one for one in look if one.session not in own) for look in (before, after, later))
    return Frame(
        marks=(first, second),
        looks=(looks[0], looks[1], looks[2]),
        connected=frozenset(name.encode() for name in connected),
        clock=int(clock),
        held=held,
        exported=exported,
    )


def _mark(watcher: Session, server: Server, text: str) -> bytes:
    """Writes it into the log. The statement, which is logged as well, is no field of its own there."""
    with translated(server):
        watcher.execute(WRITE.format(literal(BODY.format(literal(text)))))
    return f"pgkeep cut {text}".encode()


def _running(watcher: Session, server: Server) -> Look:
    with translated(server):
        found = watcher.execute(RUNNING).fetchall()
    return tuple(
        Running(vxid=str(vxid).encode(), session=str(session).encode(), xid=int(str(xid)))
        for vxid, session, xid in found
    )


def _column(watcher: Session, server: Server, query: str) -> list[str]:
    with translated(server):
        return [str(value) for (value,) in watcher.execute(query)]
