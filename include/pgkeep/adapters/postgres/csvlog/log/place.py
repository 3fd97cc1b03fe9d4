"""Places in the log of a server: how one is found, and what makes sure that its file is still the same.

A file that was begun anew under an old name has another time in its first row.
"""

import hashlib
import time
from collections.abc import Mapping

from pgkeep.errors import ConfigError, LogUnavailable
from pgkeep.ports import Inexact
from pgkeep.positions import LogPlace, LogSeen
from pgkeep.scalars import Digest

from .files import LogFile, LogFiles

CHECKED = 4096
TRIES, PAUSE = 10, 0.1
"""How often the file that is written now is looked for, and the seconds between: it may just be changing."""


def known(place: LogPlace) -> dict[str, LogSeen]:
    """All that comes before a place, by file."""
    return {**place.others, place.file: LogSeen(size=place.offset, begins=place.begins)}


def end_of_log(files: LogFiles) -> LogPlace:
    """Where the log ends now. All that is in other files than this place's is finished.

    When the collector changes files, nothing is written to the old one once it names the new one; so between two
    answers that name the same file, all others keep still. Raises Unavailable, ConfigError, Inexact.
    """
    for attempt in range(TRIES):
        time.sleep(PAUSE if attempt else 0)
        name = files.current()
        if name is None:
            raise ConfigError(
                "the server writes no CSV log now",
                next_step="set logging_collector = on (restart) and csvlog in log_destination; pgkeep check says more",
            )
        found = {file.name: file for file in files.listing()}
        if name in found and files.current() == name:
            return _end_of(files, found.pop(name), found)
    raise LogUnavailable(
        "the CSV log that the server writes is not in its directory",
        next_step="SELECT pg_rotate_logfile() begins a new one; compare log_directory of server and pgkeep.toml",
    )


def place_in(files: LogFiles, *, file: str, offset: int, begins: str, others: Mapping[str, LogSeen]) -> LogPlace:
    """A place, with the check on what is before it. Raises Inexact: the file is gone; Unavailable, ConfigError."""
    check = digest_before(files, file, offset)
    return LogPlace(file=file, offset=offset, begins=begins, check=check, others=others)


def require_same(files: LogFiles, place: LogPlace) -> None:
    """Raises Inexact if the file of the place is gone, or holds something else before it; Unavailable, ConfigError."""
    if digest_before(files, place.file, place.offset) != place.check:
        raise Inexact(f"the log file {place.file} is not the one that was read: it was cut off, or written anew")


def digest_before(files: LogFiles, name: str, offset: int) -> Digest:
    """SHA-256 of up to 4096 bytes before the offset. Raises Inexact: it is gone; Unavailable, ConfigError."""
    length = min(CHECKED, offset)
    content = files.read(name, offset - length, length)
    if content is None:
        raise gone(name)
    return Digest(hashlib.sha256(content).hexdigest())


def gone(name: str) -> Inexact:
    return Inexact(f"the log file {name} was removed before all of it was read")


def _end_of(files: LogFiles, file: LogFile, others: Mapping[str, LogFile]) -> LogPlace:
    seen = {name: LogSeen(size=other.size, begins=other.begins) for name, other in others.items()}
    return place_in(files, file=file.name, offset=file.size, begins=file.begins, others=seen)
