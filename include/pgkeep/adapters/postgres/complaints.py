"""What PostgreSQL's programs say, without what is in somebody's script, archive or table: the line of the script or the
entry of the archive, and of the server's message what `reasons` knows to hold no value.

psql is asked for SQLSTATEs. What continues a message on further lines (DETAIL, HINT, the statement itself, a value with
line ends in it) is not heard at all, nor what the server only remarks: a function may have raised it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pgkeep.ancestry import MOST, Failures

from . import reasons

SAID = re.compile(r"psql:<stdin>:(?P<line>\d+): (?:[^:]+: +(?P<state>[0-9A-Z]{5}): (?P<message>.*)|error: (?P<own>.*))")
NO_FAILURE = ("00", "01", "02")
"""SQLSTATE classes of notices and warnings."""
LOST = "connection to server was lost"
LONGEST = 200
RESTORED = re.compile(r"pg_restore: error: (?:could not execute query: )?(?P<said>.*)")
THE_SERVERS = re.compile(r'(?P<before>(?:[^"]|"[^"]*")*?)\b\w+ ?:  (?P<message>.*)')
"""libpq puts two spaces between the severity, which may be in another language, and the server's message."""
NO_CONNECTION = ("connection to server ", "connection to database ", "could not connect to ")
"""How the messages of a connection begin that did not come about: they can be shown whole."""
UNTOLD = "the server refuses it, in words that may hold data: they are in its log"
ENTRY = re.compile(r"pg_restore: (?P<entry>from TOC entry .*)")
CANNOT = re.compile("psql: error: .*")
"""psql did not even begin."""
REFUSED_SETTING = '"transaction_timeout"'
"""What pg_restore from 17 on says to every server, and older ones do not know: nothing is lost by it."""
ROWS = re.compile("(?:DETAIL|CONTEXT|LOCATION): ")
"""Lines in which PostgreSQL shows the row that it complains of: somebody's data. (And where in its own source.)"""


@dataclass(slots=True)
class Complaints:
    """Counts what fails, and keeps what is said of it. `told`: of a line that a program says, what is kept, or None."""

    told: Callable[[str], str | None]
    count: int = 0
    said: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Takes a line of the program's; nothing of it is kept anywhere else."""
        if (told := self.told(line)) is None:
            return
        self.count += 1
        if len(self.said) < MOST:
            self.said.append(told[:LONGEST])

    @property
    def failures(self) -> Failures:
        return Failures(count=self.count, said=tuple(self.said))


def of_psql(line: str) -> str | None:
    """What a statement of a script fails with."""
    if CANNOT.match(line):
        return line
    found = SAID.match(line)
    if found is None or (found["state"] or "XX").startswith(NO_FAILURE):
        return None
    return f"line {found['line']}: {_reason(found)}"


def of_pg_restore(line: str) -> str | None:
    """What a part of an archive fails with. (Or what the psql that stands in for pg_restore says of it.)"""
    if REFUSED_SETTING in line:
        return None
    found = RESTORED.match(line)
    return of_psql(line) if found is None else _restored(found["said"])


def of_restoring(line: str) -> str | None:
    """As `of_pg_restore`, and which entry of the archive it is."""
    found = ENTRY.match(line)
    return found["entry"] if found else of_pg_restore(line)


def of_reading(line: str) -> str | None:
    """The line, unless it shows a row. For programs that only read: no value comes to the server through them."""
    return None if ROWS.match(line) else line


def _reason(found: re.Match[str]) -> str:
    if found["state"] is not None:
        return reasons.with_state(found["state"], found["message"])
    return LOST if found["own"] == LOST else "psql does not understand it"


def _restored(said: str) -> str:
    """pg_restore shows no SQLSTATE. Its own words hold no value."""
    found = THE_SERVERS.fullmatch(said)
    if found is None or said.startswith(NO_CONNECTION):
        return said
    return found["before"] + (reasons.known(found["message"]) or UNTOLD)
