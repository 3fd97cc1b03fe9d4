"""A small database that logs as PostgreSQL does, step by step, in any order in which sessions may take their steps.

Rows of one table have a key and a text. Statements: `put KEY MARK`, `add KEY MARK`, `add * MARK`, `drop KEY`. Each step
is a place at which another session may go on instead: between the row in the log and what it tells of, between the
commit and letting go of the locks, and between the two looks that make one sample of pg_locks.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace

from pgkeep.adapters.postgres.csvlog.model import Doubt, Exact, Group, Judgement, LogRow, Statement, Write
from pgkeep.adapters.postgres.csvlog.transactions.moments import LogMoment, Running, sampled
from pgkeep.visibility import Visible

Rows = dict[str, str]
Steps = Generator[None]
Pair = tuple[LogRow, Statement | None]
READ = Exact(sql=b"", writes=())


def judge(sql: bytes) -> Judgement:
    """What the statements of this database do; `doubt WHY`; all else reads."""
    match sql.decode().split():
        case ["put", key, _]:
            return _exact(sql, (key,), inserted=1)
        case ["add", "*", _]:
            return _exact(sql, None)
        case ["add", key, _] | ["drop", key]:
            return _exact(sql, (key,))
        case ["doubt", why]:
            return Doubt(reason=why)
    return READ


def _exact(sql: bytes, keys: tuple[str, ...] | None, *, inserted: int = 0) -> Exact:
    return Exact(sql=sql, writes=(Write(schema="public", name="t", keys=keys, inserted=inserted),))


def run_again(rows: Rows, groups: Iterable[Group]) -> Rows:
    """What the rows are after those. Raises KeyError if a key is put twice."""
    now = dict(rows)
    for statement in (statement for group in groups for statement in group.statements):
        match statement.sql.decode().split():
            case ["put", key, mark]:
                if key in now:
                    raise KeyError(key)
                now[key] = mark
            case ["add", "*", mark]:
                now = {key: text + mark for key, text in now.items()}
            case ["add", key, mark] if key in now:
                now[key] += mark
            case ["drop", key]:
                now.pop(key, None)
    return now


@dataclass(kw_only=True, eq=False)
class Live:
    """A transaction under way. `seen`: what its snapshot showed, kept where it is of the whole transaction."""

    session: str
    vxid: str
    block: bool = False
    xid: int = 0
    seen: Rows | None = None
    own: dict[str, str | None] = field(default_factory=dict)
    saved: dict[str, str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A session's life: transactions, each a list of statements; one statement may stand without BEGIN.

    `extended`: which protocol; `durations`: whether `duration:` rows are logged; `repeatable`: isolation level;
    `leaves`: the last is left open, and the session goes.
    """

    number: int
    transactions: tuple[tuple[str, ...], ...]
    extended: bool
    durations: bool
    repeatable: bool
    leaves: bool


class RefusedError(Exception):
    """The statement fails, and so does its transaction."""


@dataclass(kw_only=True)
class World:
    rows: Rows = field(default_factory=dict)
    log: list[Pair] = field(default_factory=list)
    running: dict[str, Live] = field(default_factory=dict)
    xids_held: dict[str, int] = field(default_factory=dict)
    under_way: set[int] = field(default_factory=set)
    done: dict[int, bool] = field(default_factory=dict)
    connected: set[str] = field(default_factory=set)
    history: dict[str, int] = field(default_factory=dict)
    locks: dict[str, Live] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    next_xid: int = 100
    stuck: bool = False
    waited: bool = False

    # --- sessions -----------------------------------------------------------------------------------------------

    def session(self, script: Script) -> Steps:
        name = f"{len(self.log) + 1:x}.{script.number:x}"
        self.connected.add(name)
        for number, statements in enumerate(script.transactions):
            last = number == len(script.transactions) - 1
            yield from self._transaction(script, name, f"{script.number}/{number + 1}", statements, last=last)
            yield
        self.connected.discard(name)
        self.note(name, f"{script.number}/0", "idle", "disconnection: ..")

    def _transaction(self, script: Script, name: str, vxid: str, statements: tuple[str, ...], *, last: bool) -> Steps:
        one = self.running[vxid] = Live(session=name, vxid=vxid)
        lonely = len(statements) == 1
        try:
            yield from self._statements(one, script, statements, leaves=last and script.leaves)
        except RefusedError:
            yield from self._fail(one, lonely=lonely)
        if vxid not in self.running:
            return
        yield from self._end(one, committed=True)
        if script.durations and not (script.extended and lonely):
            self.note(name, f"{script.number}/0", "INSERT", "duration: 1.000 ms")
            yield

    def _statements(self, one: Live, script: Script, statements: tuple[str, ...], *, leaves: bool) -> Steps:
        lonely = len(statements) == 1
        if not lonely:
            self.say(one, script, "BEGIN", tag="idle")
            one.block = True
            yield
        for statement in statements:
            yield from self._statement(one, script, statement)
        if not lonely and leaves:
            yield from self._end(one, committed=False)
        elif not lonely:
            self.say(one, script, "COMMIT")
            yield

    def _fail(self, one: Live, *, lonely: bool) -> Steps:
        self.note(one.session, one.vxid, "UPDATE", "..", xid=one.xid, severity="ERROR")
        yield
        yield from self._end(one, committed=False)
        if not lonely:
            outside = one.vxid.partition("/")[0] + "/0"
            self.note(one.session, outside, "idle in transaction (aborted)", "statement: ROLLBACK", b"ROLLBACK")

    def _statement(self, one: Live, script: Script, statement: str) -> Steps:
        self.say(one, script, statement)
        yield
        match statement.split():
            case ["SAVEPOINT", _]:
                one.saved = dict(one.own)
            case ["ROLLBACK", "TO", _]:
                one.own = dict(one.saved or {})
            case words:
                yield from self._write(one, script, words)
        yield
        if script.durations and (script.extended or one.block):
            self.note(one.session, one.vxid, "INSERT", "duration: 1.000 ms", xid=one.xid)
            yield

    def _write(self, one: Live, script: Script, words: list[str]) -> Steps:
        seen = dict(self.rows) if one.seen is None else one.seen
        if script.repeatable:
            one.seen = seen
        yield
        visible = {**seen, **one.own}
        match words:
            case ["put", key, mark]:
                yield from self._lock(one, key)
                if {**self.rows, **one.own}.get(key) is not None:
                    raise RefusedError
                one.own[key] = mark
            case ["add", "*", mark]:
                for key in sorted(key for key, text in visible.items() if text is not None):
                    yield from self._change(one, script, key, mark)
            case ["add", key, mark] if visible.get(key) is not None:
                yield from self._change(one, script, key, mark)
            case ["drop", key] if visible.get(key) is not None:
                yield from self._change(one, script, key, None)

    def _change(self, one: Live, script: Script, key: str, mark: str | None) -> Steps:
        yield from self._lock(one, key)
        if script.repeatable and key not in one.own and self.rows.get(key) != (one.seen or {}).get(key):
            raise RefusedError
        now = {**self.rows, **one.own}.get(key)
        if now is not None:
            one.own[key] = None if mark is None else now + mark
        yield

    def go_on(self, steps: Steps) -> bool | None:
        """One step. None: nothing is left; False: it waits for a lock."""
        self.waited = False
        try:
            next(steps)
        except StopIteration:
            return None
        return not self.waited

    def _lock(self, one: Live, key: str) -> Steps:
        if not one.xid:
            one.xid = self.next_xid
            self.next_xid += 1
            self.under_way.add(one.xid)
            self.xids_held[one.vxid] = one.xid
            yield
        while self.locks.setdefault(key, one) is not one:
            if self.stuck:
                self.stuck = False
                raise RefusedError  # a deadlock
            self.waited = True
            yield

    def _end(self, one: Live, *, committed: bool) -> Steps:
        if committed:
            self.rows = {key: text for key, text in {**self.rows, **one.own}.items() if text is not None}
        if one.xid:
            self.under_way.discard(one.xid)
            self.done[one.xid] = committed
        yield
        del self.running[one.vxid]
        yield
        self.xids_held.pop(one.vxid, None)
        self.locks = {key: holder for key, holder in self.locks.items() if holder is not one}

    # --- the log ------------------------------------------------------------------------------------------------

    def say(self, one: Live, script: Script, sql: str, *, tag: str | None = None) -> None:
        """A row that shows a statement."""
        simple = "idle in transaction" if one.block else "idle"
        self.note(
            one.session,
            one.vxid,
            "INSERT" if script.extended else tag or simple,
            f"..: {sql}",
            sql.encode(),
            xid=one.xid,
        )

    def note(
        self,
        session: str,
        vxid: str,
        tag: str,
        message: str,
        sql: bytes | None = None,
        *,
        xid: int = 0,
        severity: str = "LOG",
        after: bool = False,
        reason: str | None = None,
        database: str = "db",
        line: int | None = None,
    ) -> int:
        """A row of whatever kind, and its place."""
        self.lines[session] = self.lines.get(session, 0) + 1 if line is None else line
        row = LogRow(
            place=10 * len(self.log),
            time=b"",
            database=database.encode(),
            session=session.encode(),
            line=self.lines[session],
            tag=tag.encode(),
            started=b"",
            vxid=vxid.encode(),
            xid=xid,
            severity=severity.encode(),
            state=b"",
            message=message.encode(),
            detail=b"",
        )
        statement = None if sql is None else Statement(row=row, sql=sql, after=after, reason=reason)
        self.log.append((row, statement))
        return row.place

    def since(self, place: int) -> Iterator[Pair]:
        """The rows from there on, with places that count from there."""
        for row, statement in self.log[place // 10 :]:
            moved = replace(row, place=row.place - place)
            yield (
                moved,
                statement and Statement(row=moved, sql=statement.sql, after=statement.after, reason=statement.reason),
            )

    # --- cuts ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Visible:
        return Visible(
            xmin=min(self.under_way, default=self.next_xid),
            xmax=self.next_xid,
            under_way=frozenset(self.under_way),
        )

    def sample(self, found: list[Running]) -> Steps:
        vxids = [(one.session, vxid) for vxid, one in self.running.items()]
        yield
        found += [
            Running(session=session.encode(), vxid=vxid.encode(), xid=self.xids_held.get(vxid, 0))
            for session, vxid in vxids
        ]

    def cut(self, take: Callable[[LogMoment, Rows, int], None], base: Callable[[], int]) -> Steps:
        """A cut, given to `take` with the rows there were, and how much of the log there was. `base`: places' zero."""
        samples: tuple[list[Running], list[Running], list[Running]] = ([], [], [])
        first = self.note("1.1", "99/1", "DO", "pgkeep cut x 1")
        yield
        yield from self.sample(samples[0])
        connected, clock = [session.encode() for session in self.connected], len(self.log)
        yield
        snapshot, rows = self.snapshot(), dict(self.rows)
        yield
        yield from self.sample(samples[1])
        yield
        yield from self.sample(samples[2])
        yield
        second = self.note("1.1", "99/1", "DO", "pgkeep cut x 2")
        moment = sampled(
            samples,
            boot="boot",
            clock=clock,
            snapshot=snapshot,
            first=first - base(),
            second=second - base(),
            connected=connected,
            own=[b"1.1"],
        )
        take(moment, rows, len(self.log))
