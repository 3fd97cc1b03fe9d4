"""The log between two places, in the order in which the server wrote it.

The two places say by themselves which bytes that is (`others`), so nothing depends on how fast anybody reads. What
they do not say is in which order the files between were written: that is by the time in the first row that is unread.
It is believed only where the files were also written last in that order, and none goes on after the next has begun.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pgkeep.ports import Inexact
from pgkeep.positions import LogPlace, LogSeen

from .files import HEAD, STEP, LogFiles, begins
from .place import gone, known, place_in, require_same
from .row_time import RowTime, last_row_time, row_time

TAIL = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Bytes `start` to `end` of a file. `place`: how many bytes of the stretch come before them; `begins`: see LogSeen.

    A row may break off at a segment's end, where the server crashed; at each segment's beginning a row begins.
    """

    name: str
    start: int
    end: int
    begins: str
    place: int = 0

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """All that was written from one place to another."""

    since: LogPlace
    until: LogPlace
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(segment.size for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dated:
    """A segment and when it was written: its first and last row, and its file for the last time."""

    segment: Segment
    began: RowTime | None
    ended: RowTime | None
    modified: int

    @property
    def name(self) -> str:
        return self.segment.name

    @property
    def shown(self) -> str:
        """What the clock showed when its first row was written; such texts of one zone have the order of time."""
        return self.began.moment.isoformat(timespec="microseconds") if self.began else ""


def between(files: LogFiles, *, since: LogPlace, until: LogPlace) -> Stretch:
    """The stretch from `since` to `until`, a place that was found after it.

    A file that was made and removed in between is not missed here: the rows' line numbers show it, if any session that
    wrote to it went on. Raises Inexact: the file of `since` is gone or is another, or the order of the files cannot be
    known; LogUnavailable, ConfigError.
    """
    require_same(files, since)
    before, now = known(since), known(until)
    if since.file not in now:
        raise gone(since.file)
    unread = [_unread(name, seen, before.get(name), must_go_on=name == since.file) for name, seen in now.items()]
    ordered = _ordered(files, [segment for segment in unread if segment.size], first=since.file, last=until.file)
    return Stretch(since=since, until=until, segments=tuple(_placed(ordered)))


def read_on(files: LogFiles, stretch: Stretch, *, after: int = 0) -> Iterator[bytes]:
    """The bytes of a stretch but for the first `after`, some megabytes at a time.

    Raises Inexact, at the latest behind the last byte of a file, if it was changed meanwhile; Unavailable, ConfigError.
    """
    for segment in stretch.segments:
        start = segment.start + max(0, after - segment.place)
        if start < segment.end:
            yield from _content(files, replace(segment, start=start))


def place_at(files: LogFiles, stretch: Stretch, offset: int) -> LogPlace:
    """The place `offset` bytes after the beginning of a stretch. Raises Inexact, Unavailable, ConfigError."""
    passed = [segment for segment in stretch.segments if segment.place <= offset]
    if not passed:
        return stretch.until
    this = passed[-1]
    ahead = {segment.name for segment in stretch.segments[len(passed) :]} | {stretch.until.file}
    before = {name: seen for name, seen in known(stretch.since).items() if name in ahead}
    behind = {name: seen for name, seen in known(stretch.until).items() if name not in ahead}
    others = {name: seen for name, seen in {**behind, **before}.items() if name != this.name}
    at = this.start + offset - this.place
    return place_in(files, file=this.name, offset=at, begins=this.begins, others=others)


def _unread(name: str, now: LogSeen, before: LogSeen | None, *, must_go_on: bool) -> Segment:
    """What of a file comes after `before`, as far as it was there. Raises Inexact."""
    anew = before is None or before.size == 0 or before.begins != now.begins
    start = 0 if before is None or anew else before.size
    if must_go_on and anew and before is not None and before.size:
        raise Inexact(f"the log file {name} was written anew before all of it was read")
    if now.size < start:
        raise Inexact(f"the log file {name} was cut off")
    return Segment(name=name, start=start, end=now.size, begins=now.begins)


def _ordered(files: LogFiles, unread: Sequence[Segment], *, first: str, last: str) -> list[Segment]:
    """Raises Inexact if no order is certain."""
    if first == last and any(segment.name != first for segment in unread):
        raise Inexact("log files were written in turn: their names come again, or two servers share a directory")
    if len(unread) < 2:
        return list(unread)
    modified = {file.name: file.modified for file in files.listing()}
    dated = [_dated(files, segment, modified.get(segment.name)) for segment in unread]
    dated.sort(key=lambda one: (one.name != first, one.name == last, one.modified, one.shown))
    for one, following in pairwise(dated):
        _require_in_turn(one, following)
        if one.name != first and following.name != last:
            _require_certain(one, following)
    return [one.segment for one in dated]


def _dated(files: LogFiles, segment: Segment, modified: int | None) -> _Dated:
    if modified is None:
        raise gone(segment.name)
    began, ended = _first_time(files, segment), last_row_time(_backwards(files, segment))
    if began and ended and began.zone == ended.zone and began.moment > ended.moment:
        ended = began  # no row was found but one before the segment: its own stands right behind one that broke off
    return _Dated(segment=segment, modified=modified, began=began, ended=ended)


def _require_in_turn(one: _Dated, following: _Dated) -> None:
    both = f"the log files {one.name} and {following.name}"
    if one.ended is None or following.began is None:
        raise Inexact(f"one of {both} has no rows of a log where it should have")
    if one.modified > following.modified or not one.ended.may_precede(following.began):
        raise Inexact(f"{both} overlap in time: their names come again, or a clock went back")


def _require_certain(one: _Dated, following: _Dated) -> None:
    """Of two that could as well stand in the other order."""
    same_clock = one.began and following.began and one.began.zone == following.began.zone
    if one.shown >= following.shown if same_clock else one.modified == following.modified:
        raise Inexact(f"which of the log files {one.name} and {following.name} was written first is not certain")


def _first_time(files: LogFiles, segment: Segment) -> RowTime | None:
    """None: the segment begins within a row, as one may that is read on from any place."""
    return row_time(begins(_read(files, segment.name, segment.start, HEAD)))


def _backwards(files: LogFiles, segment: Segment) -> Iterator[bytes]:
    """Pieces of a file from a segment's end on, the last first; each goes a little into the one behind it."""
    for end in range(segment.end, 0, -TAIL):
        start = max(0, end - TAIL)
        yield _read(files, segment.name, start, min(end + HEAD, segment.end) - start)


def _placed(segments: Sequence[Segment]) -> Iterator[Segment]:
    place = 0
    for segment in segments:
        yield replace(segment, place=place)
        place += segment.size


def _content(files: LogFiles, segment: Segment) -> Iterator[bytes]:
    for offset in range(segment.start, segment.end, STEP):
        length = min(STEP, segment.end - offset)
        content = _read(files, segment.name, offset, length)
        if len(content) < length:
            raise Inexact(f"the log file {segment.name} was cut off while it was read")
        yield content
    if begins(_read(files, segment.name, 0, HEAD)) != segment.begins:
        raise Inexact(f"the log file {segment.name} was written anew while it was read")


def _read(files: LogFiles, name: str, offset: int, length: int) -> bytes:
    content = files.read(name, offset, length)
    if content is None:
        raise gone(name)
    return content
