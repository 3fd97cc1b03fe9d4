"""From the rows of all sessions to their transactions: what each of them did, as far as the log shows it.

Rows of one (session, vxid) are one transaction. A row at `n/0`, or without a vxid, is outside of any: by then the
session's last one had ended.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pgkeep.adapters.postgres.csvlog.model import Doubt, Exact, Judgement, LogRow, Statement

from .control import Control, Kind, control
from .moments import LogMoment

Judge = Callable[[bytes], Judgement]

QUIET = frozenset(b"DEBUG DEBUG1 DEBUG2 DEBUG3 DEBUG4 DEBUG5 LOG INFO NOTICE WARNING".split())
FAILURES = frozenset((b"ERROR", b"FATAL", b"PANIC"))
IDLE = b"idle"
INSIDE = b"idle in transaction"
REFUSING = b"idle in transaction (aborted)"
MIXED = Doubt(reason="BEGIN, COMMIT or like it in a string of several statements")
ODD = Doubt(reason="its session was set in a way that may change what it says")
SETTING = ("SET ", "a call of set_config()")
"""How reasons begin that concern the rest of a session, too."""
OF_A_TRANSACTION = ("SET CONSTRAINTS", "SET TRANSACTION")
TWO_PHASE = Doubt(reason="two-phase commit")
LANGUAGE = Doubt(reason="messages of the server in another language than English")


@dataclass(kw_only=True, slots=True)
class Transaction:
    """One, while its rows are read. Only what writes or is doubtful is in `steps`, with its place. What is `unreadable`
    of that stays there, for it may have been anything, also a savepoint.

    `block`: it was begun by BEGIN, and so ends with COMMIT; None: not known. `headless`: there may have been statements
    before the first that is known. `view`: place of its first statement: what it saw was there then, or came later.
    `simple`: each statement was sent alone, in the simple protocol, outside of a block. `ended`: place of the first row
    by which it had ended; `lived`: the session went on after it as after a success. `touched`: it has had steps, though
    they may have been undone. `complete`: its last statement was logged when it had succeeded. `loose`: nothing but one
    statement that was logged outside of any. `time`, `said`: of its last statement, by which a block ends.
    """

    session: bytes
    vxid: bytes
    time: bytes
    begun: int
    block: bool | None
    headless: bool
    loose: bool = False
    xid: int = 0
    view: int | None = None
    steps: list[tuple[int, Exact | Doubt]] = field(default_factory=list)
    unreadable: set[Judgement] = field(default_factory=set)
    savepoints: list[tuple[str, int]] = field(default_factory=list)
    statements: int = 0
    simple: bool = True
    failed: bool = False
    over: Kind | None = None
    said: int = 0
    ended: int | None = None
    lived: bool = False
    touched: bool = False
    complete: bool = False

    @property
    def matters(self) -> bool:
        """Whether it ever did anything, or may have: a row with an xid of 0 says that nothing was written before it."""
        return self.touched or (self.headless and self.xid != 0)

    def add(self, place: int, verdict: Judgement) -> None:
        if isinstance(verdict, Doubt) or verdict.sql:
            self.touched = True
            self.steps.append((place, verdict))

    def obey(self, order: Control) -> None:
        """What a statement of that kind does, provided that no error follows."""
        match order.kind:
            case Kind.BEGIN:
                self.block = True
            case Kind.COMMIT | Kind.ROLLBACK | Kind.PREPARE:
                self.over = order.kind
            case Kind.SAVEPOINT | Kind.RELEASE if self.failed:
                pass  # refused
            case Kind.SAVEPOINT:
                self.savepoints.append((order.name, len(self.steps)))
            case Kind.RELEASE | Kind.ROLLBACK_TO:
                self._leave(order)
            case Kind.MIXED:
                self.block = None

    def fail(self) -> None:
        """An error: nothing of it will count, unless it goes back to a savepoint."""
        self.failed = True
        self.over = None

    def _leave(self, order: Control) -> None:
        depth = next((i for i in reversed(range(len(self.savepoints))) if self.savepoints[i][0] == order.name), None)
        if depth is None:
            return  # refused
        name, steps = self.savepoints[depth]
        del self.savepoints[depth:]
        if order.kind is Kind.ROLLBACK_TO:
            self.steps[steps:] = [step for step in self.steps[steps:] if step[1] in self.unreadable]
            self.savepoints.append((name, steps))
            self.failed = False


@dataclass(kw_only=True)
class Assembly:
    """Takes rows and keeps what may matter of their transactions.

    `odd`: sessions that were set in a way that may change what they say, or what is logged of it; more come to it.
    """

    judge: Judge
    odd: set[bytes] = field(default_factory=set)
    _ended: list[Transaction] = field(default_factory=list, init=False)
    _last: dict[bytes, Transaction] = field(default_factory=dict, init=False)
    _next: dict[bytes, tuple[bool | None, int]] = field(default_factory=dict, init=False)

    def take(self, row: LogRow, statement: Statement | None, *, known: bool, since: int) -> None:
        """A row of the database. `known`: see Continuity.follows; `since`: the place of the session's row before."""
        inside = not (row.vxid.endswith(b"/0") or not row.vxid)
        last = self._last.get(row.session)
        if inside and (last is None or last.vxid != row.vxid):
            last = self._begin(row, known=known)
        if inside and last:
            self._note(row, last)
        elif last:
            _end(last, row)
        if statement:
            place = since if statement.after else row.place
            if inside and last:
                self._run(statement, last, place)
            else:
                self._run_outside(statement, last, place)

    def transactions(self) -> Iterator[Transaction]:
        """All that may matter, each once, those of a session in their order."""
        yield from self._ended
        yield from (last for last in self._last.values() if last.matters)

    def unfinished(self, at: LogMoment) -> Iterator[int]:
        """Places from which is to be read again what may go on after that cut."""
        yield from (last.begun for last in self._last.values() if not has_ended(last, at))
        yield from (place for session, (_, place) in self._next.items() if session in at.connected)

    def _begin(self, row: LogRow, *, known: bool) -> Transaction:
        self._close(row)
        block, begun = self._next.pop(row.session, (False, row.place))
        new = self._last[row.session] = Transaction(
            session=row.session,
            vxid=row.vxid,
            time=row.time,
            begun=begun,
            block=False if row.tag == IDLE else block,
            headless=not known and row.tag != IDLE,
        )
        return new

    def _close(self, row: LogRow) -> None:
        """The session's last transaction has ended, for the next has a row."""
        last = self._last.get(row.session)
        if last is None:
            return
        last.ended = row.place if last.ended is None else last.ended
        last.lived = True
        if last.matters:
            self._ended.append(last)

    def _note(self, row: LogRow, last: Transaction) -> None:
        last.xid = row.xid or last.xid
        if row.severity in FAILURES:
            last.fail()
            self._next.pop(row.session, None)
        elif row.severity not in QUIET:
            last.add(row.place, LANGUAGE)

    def _run(self, statement: Statement, last: Transaction, place: int) -> None:
        order = control(statement.sql)
        if statement.reason:
            last.unreadable.add(Doubt(reason=statement.reason))
            self._next[statement.row.session] = (None, statement.row.place)
        if statement.after and order and order.kind in {Kind.COMMIT, Kind.ROLLBACK}:
            last.block = True  # AND CHAIN: what ended was the one before
            return
        self._know_beginning(statement.row, last, order)
        last.statements += 1
        last.complete = statement.after
        last.simple &= statement.row.tag == IDLE and not statement.after
        last.time, last.said = statement.row.time, statement.row.place
        if order is None or order.rest:
            # In the extended protocol a block may have its snapshot from long before, by a Parse that is not shown.
            seen = place if last.block is False or statement.row.tag.startswith(IDLE) else last.begun
            last.view = seen if last.view is None else min(last.view, seen)
        last.add(place, self._verdict(statement, order))
        if order:
            last.obey(order)
            self._expect(order, statement.row)

    def _know_beginning(self, row: LogRow, last: Transaction, order: Control | None) -> None:
        if last.statements == 0 and order and order.kind is Kind.BEGIN:
            last.headless = False
        elif row.tag.startswith(INSIDE) and not last.block:
            last.headless = True

    def _run_outside(self, statement: Statement, last: Transaction | None, place: int) -> None:
        """What was logged when its transaction had ended; or where one had failed, and so is refused."""
        order = control(statement.sql)
        if order and last and order.kind is Kind.PREPARE:
            last.add(place, TWO_PHASE)
        if order:
            self._expect(order, statement.row)
        if not statement.after and ((last and last.failed) or statement.row.tag == REFUSING):
            return
        loose = Transaction(
            session=statement.row.session,
            vxid=statement.row.vxid,
            time=statement.row.time,
            begun=place,
            block=None,
            headless=False,
            loose=True,
            said=statement.row.place,
            ended=statement.row.place,
        )
        loose.add(place, self._verdict(statement, order))
        if loose.steps:
            self._ended.append(loose)

    def _verdict(self, statement: Statement, order: Control | None) -> Judgement:
        if statement.reason:
            return Doubt(reason=statement.reason)
        match order:
            case Control(kind=Kind.MIXED):
                return MIXED
            case Control(kind=Kind.PREPARE | Kind.COMMIT_PREPARED):
                return TWO_PHASE
            case Control(rest=rest):
                return self._judged(rest, statement.row.session) if rest else Exact(sql=b"", writes=())
        return self._judged(statement.sql, statement.row.session)

    def _judged(self, sql: bytes, session: bytes) -> Judgement:
        verdict = self.judge(sql)
        if isinstance(verdict, Doubt):
            if verdict.reason.startswith(SETTING) and not verdict.reason.startswith(OF_A_TRANSACTION):
                self.odd.add(session)
            return verdict
        return ODD if session in self.odd and verdict.sql else verdict

    def _expect(self, order: Control, row: LogRow) -> None:
        """What the session's next transaction is begun by."""
        if order.chain:
            self._next[row.session] = (True, row.place)
        elif order.kind is Kind.MIXED:
            self._next[row.session] = (None, row.place)


def _end(last: Transaction, row: LogRow) -> None:
    """A row outside of any transaction. A client that leaves without a last word undoes what it has not ended: only
    in the simple protocol, or when the session was idle again, is the end a success.
    """
    last.ended = row.place if last.ended is None else last.ended
    last.lived = last.lived or row.tag == IDLE or last.simple


def has_ended(one: Transaction, at: LogMoment) -> bool:
    """Whether the transaction had ended when that snapshot was taken, for certain."""
    if one.ended is not None and one.ended < at.first:
        return True
    return one.begun < at.first and one.vxid not in at.running
