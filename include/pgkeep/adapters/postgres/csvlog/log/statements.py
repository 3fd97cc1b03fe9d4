"""Which rows of a log are statements that a client sent (the server's postgres.c and fastpath.c write them).

    statement: SQL                            simple protocol
    execute NAME[/PORTAL]: SQL                extended protocol; an unnamed statement is `<unnamed>`
    execute fetch from NAME[/PORTAL]: SQL     goes on with a portal that has already run
    fastpath function call: "NAME" (OID n)
    duration: 1.234 ms  ..                    before any of these, when it had succeeded; alone, and before `parse` and
                                              `bind`, it tells of no statement

The server writes this in the language of its lc_messages. A statement in another than English cannot be found surely,
so whoever reads a log has to see to it that it is English; what does look like one here has a reason.
"""

import re
from functools import lru_cache

from pgkeep.adapters.postgres.csvlog.model import LogRow, Statement

from .parameters import ends, filled

CALLED = "a function that was called without SQL (fastpath)"
FETCHED = "an earlier statement that a client went on with"
PREPARED = "EXECUTE of a statement that was prepared by SQL"
UNNAMED = "the name of a prepared statement cannot be told from its text"
UNKNOWN_DETAIL = "a statement with a DETAIL that is not known"
FOREIGN = "the log is not in English (lc_messages)"

_STATEMENT, _EXECUTE, _FETCH = b"statement: ", b"execute ", b"execute fetch from "
_DURATION, _CALL = b"duration: ", b"fastpath function call: "
_AFTER = re.compile(rb"duration: \d+\.\d{3} ms  ", re.ASCII)
_PREPARE = (b"prepare: ", b"Prepare: ")

_WORDS = (
    rb"abort|alter|analy[sz]e|begin|call|checkpoint|close|cluster|comment|commit|copy|create|deallocate|declare|delete|"
    rb"discard|do|drop|end|execute|explain|fetch|grant|import|insert|listen|load|lock|merge|move|notify|prepare|"
    rb"reassign|refresh|reindex|release|repack|reset|revoke|rollback|savepoint|security|select|set|show|start|table|"
    rb"truncate|unlisten|update|vacuum|values|with"
)
_BEFORE = rb"(?:[ \t\n\r\f\v(;]|--[^\n\r]*+[\n\r])*+"
_BEGINNING = re.compile(rb": (?=%b(?:/\*|(?:%b)\b))" % (_BEFORE, _WORDS), re.IGNORECASE)
_READING = re.compile(rb"%b(?:select|values|table|show|fetch|explain|with)\b" % _BEFORE, re.IGNORECASE)
_WRITING = re.compile(rb"\b(?:insert|update|delete|merge|into|analy[sz]e)\b", re.IGNORECASE)
_PREPARING = re.compile(rb"%bprepare\b(?!\s+transaction\b)" % _BEFORE, re.IGNORECASE)
"""Of a statement that was prepared by SQL and run by the protocol, the log shows the text that prepared it."""
_READINGS = 8
_SHORT = 65536

_SEVERITIES = frozenset((b"DEBUG", b"LOG", b"INFO", b"NOTICE", b"WARNING", b"ERROR", b"FATAL", b"PANIC"))
_SUCCESS, _LOG = b"00000", b"LOG"
_WAITING = b"idle"
_FOREIGN_WAITING = re.compile(rb"(?!disconnection: )[^\s:]+ ?: ")
_FOREIGN_RUNNING = re.compile(rb"[^:\d]{1,60}:? ?\d+\.\d{3} \S+(?:,? |\Z)", re.ASCII)
_FOREIGN_DETAIL = re.compile(rb"[^:$]{1,60}: \$1 = (?:NULL|')")


def statement(row: LogRow, *, whole: bool = False) -> Statement | None:
    """The statement of a row; None where it is none. `whole`: as in `filled`."""
    if row.aside or row.state != _SUCCESS:
        return None
    if row.severity != _LOG:
        return None if row.severity in _SEVERITIES else _foreign(row)
    if not row.message.startswith(_DURATION):
        return _sent(row, row.message, after=False, whole=whole)
    duration = _AFTER.match(row.message)
    return _sent(row, row.message[duration.end() :], after=True, whole=whole) if duration else None


def _sent(row: LogRow, message: bytes, *, after: bool, whole: bool) -> Statement | None:
    if message.startswith(_STATEMENT):
        return Statement(row=row, sql=message[len(_STATEMENT) :], after=after, reason=_reason(row.detail))
    if message.startswith(_EXECUTE):
        return _executed(row, message, after=after, whole=whole)
    if message.startswith(_CALL):
        return Statement(row=row, sql=message, after=after, reason=CALLED)
    return _foreign(row) if not after and _is_foreign(row) else None


def _reason(detail: bytes) -> str | None:
    if not detail:
        return None
    return PREPARED if detail.startswith(_PREPARE) else UNKNOWN_DETAIL


def _executed(row: LogRow, message: bytes, *, after: bool, whole: bool) -> Statement:
    sql, reason = _read_short(message) if len(message) <= _SHORT else _read(message)
    if reason:
        return Statement(row=row, sql=sql, after=after, reason=reason)
    text, reason = filled(sql, row.detail, whole=whole)
    return Statement(row=row, sql=text, after=after, reason=reason)


def _read(message: bytes) -> tuple[bytes, str | None]:
    """The SQL of `execute ..`, without its values, and why that is no statement to run again."""
    sql = _after_name(message)
    if sql is None:
        return message.partition(b": ")[2], UNNAMED
    if _PREPARING.match(sql):
        return sql, PREPARED
    is_harmless = not message.startswith(_FETCH) or (_READING.match(sql) and not _WRITING.search(sql))
    return sql, None if is_harmless else FETCHED


_read_short = lru_cache(maxsize=256)(_read)


def _after_name(message: bytes) -> bytes | None:
    """A name may hold anything, `: ` and SQL too; so may SQL. None: there is not just one way to read the message."""
    places = [found.end() for _, found in zip(range(_READINGS), _BEGINNING.finditer(message), strict=False)]
    if not places or len(places) == _READINGS:
        return None
    first, *others = (message[place:] for place in places)
    return None if others and (not ends(first) or any(map(ends, others))) else first


def _is_foreign(row: LogRow) -> bool:
    """Whether it looks like a statement or a duration, in another language. Not all of them do."""
    if not row.database:
        return False
    known = _FOREIGN_WAITING if row.tag.startswith(_WAITING) else _FOREIGN_RUNNING
    return bool(known.match(row.message) or _FOREIGN_DETAIL.match(row.detail) or _BEGINNING.search(row.message))


def _foreign(row: LogRow) -> Statement:
    return Statement(row=row, sql=row.message, after=False, reason=FOREIGN)
