"""What psql and pg_restore say of somebody's script or archive, without what is in it: the line, and the server's
message with every quoted text left out that may be a value.

psql is asked for SQLSTATEs, so nothing here depends on the server's language, and what continues a message on further
lines (DETAIL, the statement itself, a value with line ends in it) is not heard at all.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pgkeep.ancestry import MOST, Failures

SAID = re.compile(r"psql:<stdin>:(?P<line>\d+): (?:[^:]+: +(?P<state>[0-9A-Z]{5}): (?P<message>.*)|error: .*)")
NO_FAILURE = ("00", "01", "02")
"""SQLSTATE classes of notices and warnings."""
NAMES_ONLY = re.compile("23...|42P0[1-7]|42710|42723|42883|42704|42501|3F000|3D000")
"""SQLSTATEs whose messages quote names of objects and no values: integrity, objects that are missing or there."""
OF_THE_CODE = "P0"
"""Class of what functions raise themselves, in words of their own."""
QUOTED = re.compile(r"""["'“”„«»].*""")
LONGEST = 200
RESTORED = re.compile(
    r"(?:pg_restore: error: (?:could not execute query: [^:]+: +)?"
    r"|psql:<stdin>:\d+: (?!NOTICE|WARNING|INFO|LOG|DEBUG)[^:]+: +)(?P<message>.*)"
)
NAMES = re.compile(
    r'(?:does not exist|already exists|(?:constraint|unique index) "[^"]*")$|^(?:permission denied|must be) [^"]*$'
)
"""Messages that quote names of objects and no values: pg_restore shows no SQLSTATE."""
REFUSED_SETTING = '"transaction_timeout"'
"""What pg_restore from 17 on says to every server, and older ones do not know: nothing is lost by it."""


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
    found = SAID.match(line)
    if found is None or (found["state"] or "XX").startswith(NO_FAILURE):
        return None
    return f"line {found['line']}: {_without_values(found['state'], found['message'])}"


def of_pg_restore(line: str) -> str | None:
    """What a part of an archive fails with. (Or what the psql that stands in for pg_restore says of it.)"""
    found = RESTORED.match(line)
    if found is None or REFUSED_SETTING in line:
        return None
    message = found["message"]
    return message if NAMES.search(message) else QUOTED.sub("...", message)


def _without_values(state: str | None, message: str | None) -> str:
    """What can be told to anybody."""
    if state is None or message is None:
        return "psql does not understand it"
    if state.startswith(OF_THE_CODE):
        return f"a function or trigger raised {state}"
    said = message if NAMES_ONLY.fullmatch(state) else QUOTED.sub("...", message)
    return f"{said} ({state})"
