"""A place in the log of a server: a file and an offset, and what makes sure that it is still the same file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pgkeep.errors import Unavailable
from pgkeep.model import Digest
from pgkeep.ports import Inexact

from .files import LogFile, LogFiles

CHECKED = 4096
TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A file as far as it belongs before a place: its first `size` bytes. `begins`: the time in its first row, as it
    stands there; a file that was begun anew under an old name has another.
    """

    size: int
    begins: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Between two bytes of a log: `offset` bytes from the beginning of `file`.

    `check`: SHA-256 of up to 4096 bytes before it. `others`: what comes before it in other files. All else comes after
    it: files that were not there yet, what was appended to one of the others, and what was written in its place.
    """

    file: str
    offset: int
    begins: str
    check: Digest
    others: Mapping[str, Seen]

    def known(self) -> dict[str, Seen]:
        """All that comes before it, by file."""
        return {**self.others, self.file: Seen(size=self.offset, begins=self.begins)}


def end_of_log(files: LogFiles) -> Place:
    """Where the log ends now. All that is in other files than this place's is finished.

    When the collector changes files, nothing is written to the old one once it names the new one; so between two
    answers that name the same file, all others keep still. Raises Unavailable, ConfigError, Inexact.
    """
    for _ in range(TRIES):
        name = files.current()
        if name is None:
            raise Unavailable(
                "the server writes no CSV log now",
                next_step="set logging_collector = on (restart) and csvlog in log_destination; pgkeep check says more",
            )
        found = {file.name: file for file in files.listing()}
        if name in found and files.current() == name:
            return _end_of(files, found.pop(name), found)
    raise Unavailable(
        "the CSV log that the server writes is not in its directory",
        next_step="SELECT pg_rotate_logfile() begins a new one; compare log_directory of server and pgkeep.toml",
    )


def place_in(files: LogFiles, *, file: str, offset: int, begins: str, others: Mapping[str, Seen]) -> Place:
    """A place, with the check on what is before it. Raises Inexact: the file is gone; Unavailable, ConfigError."""
    check = digest_before(files, file, offset)
    return Place(file=file, offset=offset, begins=begins, check=check, others=others)


def require_same(files: LogFiles, place: Place) -> None:
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


def _end_of(files: LogFiles, file: LogFile, others: Mapping[str, LogFile]) -> Place:
    seen = {name: Seen(size=other.size, begins=other.begins) for name, other in others.items()}
    return place_in(files, file=file.name, offset=file.size, begins=file.begins, others=seen)
