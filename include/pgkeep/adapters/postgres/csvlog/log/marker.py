"""Waiting until what our own session has said stands in the log: the collector writes it some time later."""

import re
import time
from collections.abc import Iterable

from pgkeep.errors import LogUnavailable
from pgkeep.positions import LogPlace

from .files import LogFiles
from .place import end_of_log
from .stretch import Stretch, between, place_at, read_on

PAUSE = 0.1
QUOTE_OR_END = re.compile(rb'["\n]')


def wait_for(files: LogFiles, message: bytes, since: LogPlace, *, patience: float) -> LogPlace:
    """Where the log goes on behind the row with that message. `patience`: seconds.

    The whole message, without quotes in it; the statement that raised it stands in the log as well, but not as a field
    of its own. `since`: a place before it, best taken (`end_of_log`) just before it was raised.
    Raises LogUnavailable: it does not come, or the server does not answer; Inexact, ConfigError.
    """
    field, deadline = b',"' + message + b'",', time.monotonic() + patience
    while True:
        last_try = time.monotonic() > deadline
        stretch = between(files, since=since, until=end_of_log(files))
        found = _find(read_on(files, stretch), field)
        end = None if found is None else _end_of_row(files, stretch, found + len(field))
        if end is not None:
            return place_at(files, stretch, end)
        if last_try:
            raise _silent(message, patience)
        since = place_at(files, stretch, max(0, stretch.size - len(field)) if found is None else found)
        time.sleep(PAUSE)


def _find(chunks: Iterable[bytes], wanted: bytes) -> int | None:
    """How many bytes come before `wanted`, wherever the chunks are divided; None: it is not there."""
    carried, offset = b"", 0
    for chunk in chunks:
        content = carried + chunk
        if (at := content.find(wanted)) >= 0:
            return offset + at
        carried = content[-len(wanted) + 1 :]
        offset += len(content) - len(carried)
    return None


def _end_of_row(files: LogFiles, stretch: Stretch, after: int) -> int | None:
    """Behind the newline that ends the row, from a place in it that is not quoted. None: it is not all there yet."""
    quoted = False
    for chunk in read_on(files, stretch, after=after):
        for mark in QUOTE_OR_END.finditer(chunk):
            if mark.group() == b"\n" and not quoted:
                return after + mark.end()
            quoted ^= mark.group() == b'"'
        after += len(chunk)
    return None


def _silent(message: bytes, patience: float) -> LogUnavailable:
    return LogUnavailable(
        f"{message.decode()!r} was not in the server's CSV log after {patience:g} seconds",
        next_step="see that the disk of its logs has room, logging_collector is on, log_destination has csvlog, and "
        "log_min_messages is not log, fatal or panic; pgkeep check tells",
    )
