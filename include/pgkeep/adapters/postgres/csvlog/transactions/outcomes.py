"""Where a transaction belongs: in the window between two cuts, before it, after it, or nowhere.

With a known xid the snapshots and pg_xact_status tell. Without one, a block wrote nothing: by its COMMIT it would have
an xid. What was neither in a block nor has an xid was committed if no error is shown and its session went on. It is
in a snapshot if it had ended before, which is so if it ran before the first marker and was not in the sample after it;
and it is not if it first wrote behind the second marker. In between nothing is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from .assembly import Transaction, has_ended
from .moments import LogMoment

Committed = Callable[[int], bool | None]
"""Whether the transaction with that 64-bit id was committed, as pg_xact_status says; None: it is not known any more."""

NOT_TOLD = "unknown outcome: the log does not tell whether, or when, it was committed"
NO_SAVEPOINTS = "unknown outcome: savepoints are not logged"
FORGOTTEN = "unknown outcome: the server does not know it any more"
LOST_SIGHT = "unknown outcome: its session has gone, and the log does not tell how"
UNREAD = "it had begun before the log was read"
PREPARED = "two-phase commit, or the end of a server process that was killed"


class Where(Enum):
    NOWHERE = auto()
    """It was rolled back, or it wrote nothing."""
    BEFORE = auto()
    HERE = auto()
    LATER = auto()
    AMBIGUOUS = auto()
    """Another moment would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Judges transactions between the cuts `before` and `now`.

    `blind`: of what had begun before that place, nobody knows beside what it ran. `begins_logged`: BEGIN, COMMIT and
    savepoints are in the log.
    """

    before: LogMoment
    now: LogMoment
    blind: int
    begins_logged: bool
    committed: Committed

    def of(self, one: Transaction) -> Where | str:
        """Where it belongs; a text: why that is not known, or why it cannot be told what it did."""
        where = self._known(xid, one) if (xid := self._xid(one)) else self._unknown(one)
        if where is Where.HERE:
            return self.untold(one) or where
        return where

    def _xid(self, one: Transaction) -> int:
        """All 64 bits of its xid; 0 if it is not known."""
        xid = one.xid or self.now.xids.get(one.vxid, 0) or self.before.xids.get(one.vxid, 0)
        return self.now.snapshot.whole(xid) if xid else 0

    def _known(self, xid: int, one: Transaction) -> Where | str:
        if xid not in self.now.snapshot:
            return PREPARED if has_ended(one, self.now) else Where.LATER
        done = self.committed(xid)
        if done is False:
            return Where.NOWHERE
        if xid in self.before.snapshot:
            return Where.BEFORE
        if done is None:
            return FORGOTTEN
        return NOT_TOLD if one.failed else Where.HERE

    def _unknown(self, one: Transaction) -> Where | str:
        if one.loose:
            return self._loose(one)
        if one.over or one.complete or (one.failed and self._is_whole(one)):
            return Where.NOWHERE  # it had no xid when it had done all, so it wrote nothing; or what it did is undone
        if one.block:
            return Where.NOWHERE if has_ended(one, self.now) else Where.LATER
        return self._alone(one)

    def _loose(self, one: Transaction) -> Where | str:
        if one.ended is not None and one.ended < self.before.first:
            return Where.BEFORE
        return Where.LATER if one.begun > self.now.second else NOT_TOLD

    def _alone(self, one: Transaction) -> Where | str:
        before, now = is_seen(one, self.before), is_seen(one, self.now)
        if before:
            return Where.BEFORE
        if now is False:
            return Where.LATER
        if before is None or one.block is None or one.failed:
            return NOT_TOLD
        if now is None:
            return Where.AMBIGUOUS
        if one.lived or one.session in self.now.connected:
            return Where.HERE
        return LOST_SIGHT

    def untold(self, one: Transaction) -> str | None:
        """Why it cannot be told what it did, though it was committed."""
        if not self._is_whole(one):
            return NO_SAVEPOINTS
        if one.headless or one.begun < self.blind:
            return UNREAD
        return None

    def _is_whole(self, one: Transaction) -> bool:
        """Whether all of its statements are in the log, also those that undo others."""
        return self.begins_logged or (one.simple and one.statements == 1)


def is_seen(one: Transaction, at: LogMoment) -> bool | None:
    """Whether the snapshot sees what a transaction outside of a block wrote, if it was committed."""
    if has_ended(one, at):
        return True
    written = min((place for place, _ in one.steps), default=one.begun)
    return False if written > at.second or one.vxid in at.still else None
