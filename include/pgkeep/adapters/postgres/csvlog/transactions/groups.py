"""The transactions of a window, in an order in which they can be run again; or why they cannot."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pgkeep.adapters.postgres.csvlog.model import Doubt, Exact, Group, LogRow, Statement
from pgkeep.errors import Disturbed
from pgkeep.ports import Inexact
from pgkeep.positions import LogCut
from pgkeep.visibility import Visible

from .assembly import Assembly, Judge, Transaction, has_ended
from .continuity import Continuity
from .moments import LogMoment, carried, moment_of
from .order import begins, ordered, overlaps
from .outcomes import UNREAD, Committed, Outcomes, Where

NAMED = 5
MISSING = "rows of the log are missing: a session's count of its rows has a gap"
RESTARTED = "the server was started again, or has crashed: what it had committed by the log may be lost"
BESIDE_DOUBT = "it ran beside a transaction of the window before that cannot be run again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What was found in a window. `reasons`: by which it cannot be carried, each with its count.

    `ambiguous`: transactions that another moment would tell on which side of the cut they are. `again`: the place from
    which the next window has to read, with `carried`; both hold also where the window cannot be carried.
    """

    groups: tuple[Group, ...]
    reasons: Mapping[str, int]
    ambiguous: int
    again: int
    carried: LogCut

    def exact(self) -> tuple[Group, ...]:
        """The transactions, in order. Raises Disturbed: another moment will do; Inexact: with its reasons."""
        if self.ambiguous:
            raise Disturbed(
                f"{self.ambiguous} transactions wrote at the very moment of the cut, and the log does not show on "
                "which side of it they are",
                next_step="nothing was stored; another moment will do",
            )
        if self.reasons:
            raise Inexact(counted(self.reasons))
        return self.groups


def counted(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons, with their counts."""
    named = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{count} x {reason}" for reason, count in named[:NAMED]]
    more = sum(count for _, count in named[NAMED:])
    return "; ".join([*texts, f"{more} x for other reasons"] if more else texts)


def collect(
    rows: Iterable[tuple[LogRow, Statement | None]],
    *,
    judge: Judge,
    committed: Committed,
    then: LogCut,
    before: Visible,
    now: LogMoment,
    begins_logged: bool,
) -> Collected:
    """What was committed between two cuts, by the log from where `then` says on, to `now`'s second marker at least.

    `rows`: those of the database and those of none, in the log's order, each with the statement that it shows.
    `judge`: what a statement does; `committed`: see outcomes; `before`: what the cut before saw. `begins_logged`: see
    Outcomes. Never raises for what is in the log.
    """
    reading = _Reading(then=then, now=now, judge=judge)
    for row, statement in rows:
        reading.take(row, statement)
    sorting = _Sorting(
        outcomes=Outcomes(
            before=moment_of(then, before), now=now, blind=then.blind, begins_logged=begins_logged, committed=committed
        )
    )
    for one in reading.assembly.transactions():
        sorting.take(one)
    again = sorting.again(reading.assembly.unfinished(now))
    return Collected(
        groups=ordered(sorting.groups),
        reasons=sorting.finished() + reading.reasons(),
        ambiguous=sorting.ambiguous,
        again=again,
        carried=reading.carried(again),
    )


@dataclass(kw_only=True)
class _Reading:
    """Reads the rows. `unread`: see LogCut; one whose next statement is shown had done what came before."""

    then: LogCut
    now: LogMoment
    judge: Judge
    assembly: Assembly = field(init=False)
    _continuity: Continuity = field(init=False)
    _unread: set[bytes] = field(init=False)
    _own: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._continuity = Continuity(then=self.then.lines, clock=self.then.clock)
        self.assembly = Assembly(judge=self.judge, odd={session.encode() for session in self.then.odd})
        self._unread = {vxid.encode() for vxid in self.then.unread}
        self._own = self.now.own | {session.encode() for session in self.then.own}

    def take(self, row: LogRow, statement: Statement | None) -> None:
        since = self._continuity.last_place(row.session)
        known = self._continuity.follows(row)
        if row.database and row.session not in self._own:
            self.assembly.take(row, statement, known=known, since=since)
        if statement:
            self._unread.discard(row.vxid)

    def reasons(self) -> Counter[str]:
        """Why nothing of the window is certain."""
        return +Counter(
            {
                MISSING: self._continuity.missing,
                RESTARTED: int(self.then.boot != self.now.boot),
                UNREAD: len(self._unread - self._still_unread()),
            }
        )

    def _still_unread(self) -> frozenset[bytes]:
        """Those that this cut does not see, for certain, whatever they wrote."""
        return frozenset(vxid for vxid in self._unread if self._is_seen(vxid) is False)

    @property
    def _blind(self) -> int:
        """What began before that place may have run beside one that is unread."""
        return self.now.second if self._unread - self._still_unread() else self.then.blind

    def _is_seen(self, vxid: bytes) -> bool | None:
        """Whether this cut sees what an unread transaction wrote; None: perhaps."""
        if vxid not in self.now.running or vxid in self.now.still:
            return vxid not in self.now.running
        xid = self.now.xids.get(vxid) or self.then.xids.get(vxid.decode())
        return self.now.snapshot.whole(xid) in self.now.snapshot if xid else None

    def carried(self, again: int) -> LogCut:
        return carried(
            self.now,
            again=again,
            lines=self._continuity.lines(again, connected=self.now.connected),
            unread=[vxid for vxid in self._unread if not self._is_seen(vxid)],
            blind=max(0, self._blind - again),
            odd=self.assembly.odd & self.now.connected,
        )


@dataclass(kw_only=True)
class _Sorting:
    """Puts each transaction where it belongs. `over`: what was over by this cut; `later`: where the rest begins."""

    outcomes: Outcomes
    groups: list[Group] = field(default_factory=list)
    settled: list[Group] = field(default_factory=list)
    doubted_until: int = -1
    reasons: Counter[str] = field(default_factory=Counter)
    ambiguous: int = 0
    later: list[int] = field(default_factory=list)
    over: list[Transaction] = field(default_factory=list)

    def take(self, one: Transaction) -> None:
        match where := self.outcomes.of(one):
            case Where.LATER:
                self.later.append(one.begun)
            case Where.AMBIGUOUS:
                self.ambiguous += 1
                self.later.append(one.begun)
            case Where.HERE | Where.BEFORE:
                self.over.append(one)
                self._place(one, where)
            case str():
                self.reasons.update(_doubts(one) or [where])
                self.over.append(one)

    def _place(self, one: Transaction, where: Where) -> None:
        doubts = _doubts(one)
        end = _end(one, self.outcomes)
        if where is Where.HERE:
            self.reasons.update(doubts)
            self.groups += [_group(one, end)] if one.steps and not doubts else []
        elif doubts or self.outcomes.untold(one):
            self.doubted_until = max(self.doubted_until, end)
        else:
            self.settled.append(_group(one, end))

    def again(self, unfinished: Iterable[int]) -> int:
        """The place from which on the next window needs to know all, also of what ran beside what is still to come."""
        again = min([self.outcomes.now.first, *self.later, *unfinished])
        return min([again, *(one.begun for one in self.over if _end(one, self.outcomes) > again)])

    def finished(self) -> Counter[str]:
        """All reasons: also what the groups do to one another."""
        beside = sum(begins(group) < self.doubted_until for group in self.groups)
        self.reasons.update({BESIDE_DOUBT: beside} if beside else {})
        return self.reasons + overlaps(self.groups, settled=self.settled)


def _doubts(one: Transaction) -> list[str]:
    return [step.reason for _, step in one.steps if isinstance(step, Doubt)]


def _end(one: Transaction, outcomes: Outcomes) -> int:
    """A place by which it had ended, for one that is over."""
    ends = [outcomes.now.second] if one.ended is None else [outcomes.now.second, one.ended]
    return min([*ends, outcomes.before.second] if has_ended(one, outcomes.before) else ends)


def _group(one: Transaction, ended: int) -> Group:
    steps = tuple(step for _, step in one.steps if isinstance(step, Exact))
    view = one.begun if one.view is None else one.view
    return Group(
        session=one.session,
        vxid=one.vxid,
        xid=one.xid,
        time=one.time,
        begun=one.begun,
        said=one.said,
        ended=ended,
        statements=steps,
        first_write={(write.schema, write.name): view for step in steps for write in step.writes},
    )
