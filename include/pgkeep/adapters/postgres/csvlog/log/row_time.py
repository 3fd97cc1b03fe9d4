"""The time with which each row of a CSV log begins: `2026-01-31 12:00:00.123 CET`, in the server's log_timezone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) (\S+)", re.ASCII)
ROW = re.compile(rb"(?:\A|\n)(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [^\s,]+),")

TOLERANCE = timedelta(seconds=5)
"""A session takes the time, then gives the row to the collector, and may wait in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTime:
    """`moment`: what the clock of that zone showed (its own offset is not in the log). `zone`: its abbreviation."""

    moment: datetime
    zone: str

    def may_precede(self, later: "RowTime") -> bool:
        """Whether a row of the `later` time may have been written after one of this. Of two zones nothing is known."""
        return self.zone != later.zone or self.moment <= later.moment + TOLERANCE


def row_time(text: str) -> RowTime | None:
    """The time that the text is; None if it is none."""
    match = TIME.fullmatch(text)
    if match is None:
        return None
    try:
        return RowTime(moment=datetime.fromisoformat(f"{match[1]}+00:00"), zone=match[2])
    except ValueError:
        return None


def last_row_time(pieces: Iterable[bytes]) -> RowTime | None:
    """The time of the last row that begins in one of the pieces, of which the first is the last of the log."""
    for piece in pieces:
        for found in reversed(ROW.findall(piece)):
            if time := row_time(found.decode("ascii", "replace")):
                return time
    return None
