"""What LPBM, pgkeep's predecessor, has left: its journal, its files, and what it takes to bring them back.

LPBM wrote a line for each file into `journal.txt`, oldest first: its CID in the cluster and its name, which says when
it was made and what it is. A `full` is an archive of `pg_dump -F c` (a plain script of pg_dump is taken, too), a
`delta` the statements that came after it. A `dump` is older than LPBM, made by other means: listed, never replayed.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol, cast

from pgkeep.errors import Corrupted, NotRestorable
from pgkeep.model import Cid, Instant, instant

LegacyKind = Literal["full", "delta", "dump"]

ARCHIVE = b"PGDMP"
"""How every archive of `pg_dump -F c` begins."""
LINE = re.compile(
    r"(?:added\s+)?(?P<cid>[A-Za-z0-9]{46,128})\s+"  # as `ipfs-cluster-ctl add` said it, in the oldest lines
    r"(?P<name>(?P<date>[0-9T:.+Z-]+?)-(?P<kind>full|delta)\.sql\.enc"
    r"|(?P<dump>dump)_(?P<day>\d{4}-\d\d-\d\d)-(?P<hour>\d\d)-(?P<minute>\d\d)(?:-(?P<second>\d\d))?\.sql\.enc)"
)
EXPECTED = "<CID> <ISO date>-full.sql.enc or <CID> <ISO date>-delta.sql.enc, oldest first"
MOST = 10_000
"""Statements of a script that failed, of which it is said how, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyFile:
    """One line of LPBM's journal. `number`: of the line, from 1; `name`: as LPBM called the file."""

    number: int
    cid: Cid
    name: str
    kind: LegacyKind
    time: Instant

    def __str__(self) -> str:
        return f"{self.name} ({self.cid})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The statements of a script that failed. `said`: of each, its line and what the server says; never a row."""

    count: int
    said: tuple[str, ...]


class Archive(Protocol):
    """Where LPBM's files are, as they are: encrypted."""

    def require(self, files: Sequence[LegacyFile]) -> None:
        """Raises NotRestorable with all that are not there; Corrupted: what is there is none; Unavailable."""

    def read(self, file: LegacyFile) -> Iterator[bytes]:
        """The file's bytes; may end early without an error. Raises NotRestorable, Unavailable."""


class Opener(Protocol):
    """LPBM's encryption, backwards. It authenticates nothing: most damage is noticed, but not all."""

    def open(self, cipher: Iterable[bytes], *, name: str) -> Iterator[bytes]:
        """The plaintext. What `cipher` raises comes out unchanged, and it is closed in every case.

        Yields nothing if the password is wrong, as far as that can be told from the beginning. Raises Corrupted.
        """


class Blank(Protocol):
    """A new, empty database under a temporary name, not yet in anybody's way."""

    def load(self, archive: Iterable[bytes], *, keep_going: bool) -> Failures:
        """Restores an archive of `pg_dump -F c`, to its end or to the first error. Raises as `run`."""

    def run(self, script: Iterable[bytes], *, keep_going: bool) -> Failures:
        """Runs a script of SQL in a session of its own, triggers and all, to its end or to the first error.

        What `script` raises comes out unchanged. Raises Refused (the first error, unless `keep_going`), Unavailable,
        ConfigError (no psql here).
        """

    def take_place(self, *, replace: bool) -> str | None:
        """As in the port Fresh."""


class ScriptTarget(Protocol):
    """A database that is to be made by scripts."""

    @property
    def label(self) -> str:
        """Where it is, for people, without a password."""

    def require_free(self, *, replace: bool) -> None:
        """As in the port Target."""

    def blank(self) -> AbstractContextManager[Blank]:
        """A new database: of the nature of the empty one that stands there, else as the server makes them.

        Dropped on leaving unless it took its place. Raises ConfigError, Unavailable.
        """


def read_journal(text: str, *, path: str) -> tuple[LegacyFile, ...]:
    """The lines of LPBM's journal; empty ones are passed over. Raises Corrupted with file and line."""
    numbered = enumerate(text.split("\n"), start=1)  # a form feed, say, ends no line
    files = tuple(_read_line(line.strip(), number, path) for number, line in numbered if line.strip())
    for before, file in itertools.pairwise(files):
        if file.time < before.time:
            raise _odd(path, file.number, f"is older than line {before.number}")
    return files


def write_journal(files: Sequence[LegacyFile]) -> bytes:
    """The lines of these files, as `read_journal` reads them."""
    return "".join(f"{file.cid} {file.name}\n" for file in files).encode()


def newest(files: Sequence[LegacyFile], *, path: str) -> tuple[LegacyFile, ...]:
    """What the newest restore uses: the last full, and the deltas after it.

    Raises NotRestorable: there is no full, or behind it stands what cannot be replayed.
    """
    fulls = [index for index, file in enumerate(files) if file.kind == "full"]
    if not fulls:
        raise NotRestorable(
            f"{path} names no full backup: deltas alone bring nothing back",
            next_step="find a journal of LPBM that names one",
        )
    way = tuple(files[fulls[-1] :])
    for file in way:
        if file.kind == "dump":
            raise NotRestorable(
                f"{path}, line {file.number}: {file} is older than LPBM, but stands behind its newest full backup",
                next_step="take that line out in a copy of the journal, or use an older copy of it",
            )
    return way


def _read_line(line: str, number: int, path: str) -> LegacyFile:
    found = LINE.fullmatch(line)
    if found is None:
        raise _odd(path, number, "is no line of LPBM's journal")
    date = found["date"] or f"{found['day']}T{found['hour']}:{found['minute']}:{found['second'] or '00'}"
    try:
        time = datetime.fromisoformat(date)
    except ValueError:
        raise _odd(path, number, f"names no time: {date}") from None
    return LegacyFile(
        number=number,
        cid=Cid(found["cid"]),
        name=found["name"],
        kind=cast(LegacyKind, found["kind"] or found["dump"]),
        time=instant(time if time.tzinfo else time.replace(tzinfo=UTC)),
    )


def _odd(path: str, number: int, why: str) -> Corrupted:
    return Corrupted(
        f"{path}, line {number} {why}; expected: {EXPECTED}",
        next_step="correct that line in a copy of the journal, or take an older copy of it",
    )
