"""The rows of a CSV log (manual, "Using CSV-Format Log Output"; the server's csvlog.c writes them).

24 columns (PostgreSQL 13), 26 (14) or more, told by their position. Texts are quoted, numbers and moments are
not; nothing is an empty column, the empty text is `""`. A record ends with the newline that is outside of quotes. It
has to have that whole shape, or it is none: so what a crash left of one cannot swallow the next, nor pass for a row.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

from pgkeep.adapters.postgres.csvlog.model import LogRow

_SECOND = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_NUMBER = rb"\d{1,20}"
_WORD = rb'[^\s,"]{1,60}'
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
_TEXT = rb"(?:" + _QUOTED + rb")?"
_TAKEN = rb'(?:"([^"]*+(?:""[^"]*+)*+)")?'
_POSITION = rb"\d{0,20}"

_COLUMNS = (
    rb"(" + _SECOND + rb"\.\d{3} " + _WORD + rb")",
    _TEXT,  # the user
    _TAKEN,  # the database
    _POSITION,  # the process
    _TEXT,  # where the client is
    rb"([0-9a-f]{1,16}\.[0-9a-f]{1,16})",  # the session
    rb"(" + _NUMBER + rb")",  # its line
    _TAKEN,  # the command tag
    rb"(" + _SECOND + rb" " + _WORD + rb")",  # when the session began
    rb"([-/\d]{0,40})",  # the virtual transaction
    rb"(" + _NUMBER + rb")",  # the transaction
    rb"(" + _WORD + rb")",  # the severity
    rb"([0-9A-Z]{5})",  # the SQLSTATE
    _TAKEN,  # the message
    _TAKEN,  # the detail
    # hint, internal query and position, context, query and position: what is said while something runs has some
    rb"(" + rb",".join((_TEXT, _TEXT, _POSITION, _TEXT, _TEXT, _POSITION)) + rb")",
    _TEXT,  # the place in the server's source
    _TEXT,  # the application
)
_MORE = rb"(?:,(?:" + _QUOTED + rb"|-?" + _POSITION + rb"))*+\n"
_RECORD = re.compile(rb",".join(_COLUMNS) + _MORE, re.ASCII)

_BARE = rb'[^",\n]{0,100}+'
_BEGUN = re.compile(rb"(?:%b|%b)(?:,(?:%b|%b))*+" % (_QUOTED, _BARE, _QUOTED, _BARE))
_OPEN = re.compile(rb'"[^"]*+(?:""[^"]*+)*+\Z')
_TIME = re.compile(_SECOND + rb"\.\d+ ")
_LONGEST_TIME = 40
_NOTHING_RUNS = b",,,,,"

_NEW = object.__new__
(
    _PLACE,
    _TIME_OF,
    _DATABASE,
    _SESSION,
    _LINE,
    _TAG,
    _STARTED,
    _VXID,
    _XID,
    _SEVERITY,
    _STATE,
    _MESSAGE,
    _DETAIL,
    _ASIDE,
) = (LogRow.__dict__[field.name].__set__ for field in fields(LogRow))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Bytes of a log that are no record: what a crash left of some. `place` as in LogRow, `size` in bytes."""

    place: int
    size: int


class Rows:
    """The rows in consecutive `chunks` of a log, of `database` and of none; with None those of all.

    Rows of no database are what the server itself says: that it reads its settings anew, or that a process has crashed.
    `place`: where the first chunk begins; `end`: where the first byte is that was neither in a row that has been given
    out or passed over, nor lost, and so where the next read has to begin. `lost` is called for all else, in order, and
    before the next row is given out. Never fails, whatever the bytes are. Holds a chunk and a record at the most.
    """

    def __init__(
        self, chunks: Iterable[bytes], *, database: bytes | None, place: int = 0, lost: Callable[[Lost], None]
    ) -> None:
        self.end = place
        self._chunks = chunks
        self._database = None if database is None else database.replace(b'"', b'""')
        self._lost = lost
        self._losing: int | None = None

    def __iter__(self) -> Iterator[LogRow]:
        for data in self._whole_texts():
            yield from self._rows(data)
        self._report_lost(self.end)

    def _whole_texts(self) -> Iterator[bytes]:
        """Bytes from `end` on, whenever there are twice as many as were too few: so a long record is not slow."""
        held, size, too_few = list[bytes](), 0, 0
        for chunk in self._chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= 2 * too_few:
                data = b"".join(held)
                before = self.end
                yield data
                held = [data[self.end - before :]]
                size = too_few = len(held[0])
        if size > too_few:
            yield b"".join(held)

    def _rows(self, data: bytes) -> Iterator[LogRow]:
        base, at, wanted, record = self.end, 0, self._database, _RECORD.match
        while True:
            if found := record(data, at):
                if self._losing is not None:
                    self._report_lost(base + at)
                place = base + at
                at = found.end()
                self.end = base + at
                database = found[2]
                if wanted is None or database == wanted or not database:
                    yield _row(found, place)
            elif _may_go_on(data, at):
                return
            else:
                at = self._lose(data, base, at)

    def _lose(self, data: bytes, base: int, at: int) -> int:
        """Passes over what is no record, to where one may begin; not more than that is known of what is cut in two."""
        if self._losing is None:
            self._losing = base + at
        time = _TIME.search(data, at + 1)
        at = time.start() if time else max(at + 1, len(data) - _LONGEST_TIME)
        self.end = base + at
        return at

    def _report_lost(self, end: int) -> None:
        if self._losing is not None:
            self._lost(Lost(place=self._losing, size=end - self._losing))
            self._losing = None


def _may_go_on(data: bytes, at: int) -> bool:
    """Whether more bytes might make a record of what is there from `at` on."""
    if not _TIME.match(data, at):
        return len(data) - at < _LONGEST_TIME and data.find(b"\n", at) < 0
    begun = _BEGUN.match(data, at)
    end = begun.end() if begun else at
    return end == len(data) or _OPEN.match(data, end) is not None


def _row(found: "re.Match[bytes]", place: int) -> LogRow:
    """A LogRow like any other. Its own constructor has to get past its being frozen, which takes twice as long."""
    time, database, session, line, tag, started, vxid, xid, severity, state, message, detail, runs = found.groups(b"")
    row = _NEW(LogRow)
    _PLACE(row, place)
    _TIME_OF(row, time)
    _DATABASE(row, database.replace(b'""', b'"') if b'"' in database else database)
    _SESSION(row, session)
    _LINE(row, int(line))
    _TAG(row, tag)
    _STARTED(row, started)
    _VXID(row, vxid)
    _XID(row, int(xid))
    _SEVERITY(row, severity)
    _STATE(row, state)
    _MESSAGE(row, message.replace(b'""', b'"') if b'"' in message else message)
    _DETAIL(row, detail.replace(b'""', b'"') if b'"' in detail else detail)
    _ASIDE(row, runs != _NOTHING_RUNS)
    return row
