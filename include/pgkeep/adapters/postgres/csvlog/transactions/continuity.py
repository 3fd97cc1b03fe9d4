"""Whether rows of the log are missing: each session counts its rows, from 1 and without gaps.

`session_line_num` counts what a session writes to the CSV log, of whatever kind and under all settings: a gap is a row
that was written and is not there. Before it is let in, a session has no database, but counts already.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pgkeep.adapters.postgres.csvlog.model import LogRow

UNKNOWN = -1
OUTSIDE = (b"", b"authentication", b"startup", b"initializing")
"""What a session shows to be doing as long as it is not let in."""


@dataclass(kw_only=True, slots=True)
class _Counted:
    """A session's rows. `before`: the line before the first of them, or UNKNOWN; `breaks`: after a gap, by index."""

    before: int
    places: "array[int]" = field(default_factory=lambda: array("Q"))
    lines: "array[int]" = field(default_factory=lambda: array("Q"))
    breaks: set[int] = field(default_factory=set)
    tag: bytes = b""

    @property
    def last(self) -> int:
        return self.lines[-1] if self.lines else self.before

    def line_before(self, place: int) -> int:
        """Of the session's last row before that place; UNKNOWN where the row after it is not its successor."""
        index = bisect_left(self.places, place)
        if index in self.breaks:
            return UNKNOWN
        return self.lines[index - 1] if index else self.before


@dataclass(kw_only=True)
class Continuity:
    """`then`: the last line of each session that might go on after the cut before, which was at `clock`, in seconds.

    `missing`: how many gaps there are. A session that began before that cut, and was not there any more, or not yet let
    in, may go on at any line; in the log, a session is called by the second in which it began.
    """

    then: Mapping[str, int]
    clock: int
    missing: int = field(default=0, init=False)
    _sessions: dict[bytes, _Counted] = field(default_factory=dict, init=False)

    def follows(self, row: LogRow) -> bool:
        """Takes a row down. False: what the session did just before it is not known."""
        counted = self._sessions.get(row.session)
        if counted is None:
            counted = self._sessions[row.session] = _Counted(before=self._before(row.session) if row.line > 1 else 0)
        last, index = counted.last, len(counted.lines)
        follows = row.line == last + 1
        if not follows and row.database:
            counted.breaks.add(index)
            self.missing += last != UNKNOWN
        counted.places.append(row.place)
        counted.lines.append(row.line)
        counted.tag = row.tag
        return follows

    def last_place(self, session: bytes) -> int:
        """Of the session's last row so far; 0 if none was read."""
        counted = self._sessions.get(session)
        return counted.places[-1] if counted and counted.places else 0

    def lines(self, place: int, *, connected: Iterable[bytes]) -> dict[str, int]:
        """The last line before that place, of each session that may go on after it."""
        on = {session for session, counted in self._sessions.items() if _may_go_on(counted, place)}
        return {session.decode(): self._line(session, place) for session in sorted(on | {*connected})}

    def _line(self, session: bytes, place: int) -> int:
        counted = self._sessions.get(session)
        return counted.line_before(place) if counted else self._before(session)

    def _before(self, session: bytes) -> int:
        """The line before the first row that is read of a session."""
        began = int(session.partition(b".")[0], 16)
        return self.then.get(session.decode(), UNKNOWN if began <= self.clock else 0)


def _may_go_on(counted: _Counted, place: int) -> bool:
    """Whether rows of it will be read again, or it is on its way in."""
    return counted.places[-1] >= place or counted.tag in OUTSIDE
