"""The files of a server's CSV log: which there are, and their bytes, over SQL or from a directory."""

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pgkeep.adapters.postgres.gate import Session, translated
from pgkeep.adapters.postgres.server import Server
from pgkeep.errors import ConfigError, LogUnavailable, Unavailable

STEP = 4 << 20
"""Bytes that are read at a time: the server makes one value of them."""
HEAD = 64
"""Bytes from the beginning of a file that are enough for the time in its first row."""
SUFFIX = ".csv"

CURRENT = "SELECT pg_current_logfile('csvlog')"
# Beside the file that is written now; who may ask for that needs no right to see the setting log_directory.
_PATH = "regexp_replace(pg_current_logfile('csvlog'), '[^/]*$', '')"
LISTING = f"""
    SELECT name, size, extract(epoch FROM modification)::int8, pg_read_binary_file({_PATH} || name, 0, {HEAD}, true)
    FROM pg_ls_logdir() WHERE right(name, {len(SUFFIX)}) = '{SUFFIX}' ORDER BY name
"""  # noqa: S608 - constants
READ = f"SELECT pg_read_binary_file({_PATH} || %s, %s, %s, true)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A file at one moment. `size`: in bytes; `begins`: what stands before its first comma, the time in its first row
    where it is a log; empty if it is. `modified`: grows with the time at which it was written last.
    """

    name: str
    size: int
    begins: str
    modified: int


class LogFiles(Protocol):
    """The CSV log files of one server. Everything raises ConfigError (no right to it) or LogUnavailable."""

    def current(self) -> str | None:
        """The name of the file that is written now; None: the server writes none."""

    def listing(self) -> tuple[LogFile, ...]:
        """All files, in no order that means anything."""

    def read(self, name: str, offset: int, length: int) -> bytes | None:
        """That many bytes, or fewer where the file ends. None: there is no such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlLogFiles:
    """Read by a session that may execute pg_ls_logdir, pg_current_logfile and pg_read_binary_file."""

    connection: Session
    server: Server

    def current(self) -> str | None:
        (path,) = self._row(CURRENT)
        return None if path is None else str(path).rpartition("/")[2]

    def listing(self) -> tuple[LogFile, ...]:
        with self._asking():
            rows = self.connection.execute(LISTING).fetchall()
        # A file that was deleted meanwhile has no head.
        return tuple(
            _log_file(str(name), int(str(size)), int(str(modified)), head)
            for name, size, modified, head in rows
            if isinstance(head, bytes)
        )

    def read(self, name: str, offset: int, length: int) -> bytes | None:
        (content,) = self._row(READ, name, offset, length)
        return content if isinstance(content, bytes) else None

    def _row(self, query: str, *values: object) -> tuple[object, ...]:
        with self._asking():
            row = self.connection.execute(query, values, binary=True).fetchone()
        assert row is not None
        return row

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with translated(self.server):
                yield
        except Unavailable as error:
            raise LogUnavailable(error.what, next_step=error.next_step) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryLogFiles:
    """Read where the server's log directory is mounted. `asked`: says which file is written now."""

    path: Path
    asked: Callable[[], str | None]

    def current(self) -> str | None:
        return self.asked()

    def listing(self) -> tuple[LogFile, ...]:
        with self._readable():
            names = sorted(path.name for path in self.path.iterdir() if path.name.endswith(SUFFIX))
        return tuple(file for name in names if not name.startswith(".") and (file := self._look(name)))

    def read(self, name: str, offset: int, length: int) -> bytes | None:
        with self._readable():
            try:
                with (self.path / name).open("rb") as file:
                    file.seek(offset)
                    return file.read(length)
            except FileNotFoundError:
                return None

    def _look(self, name: str) -> LogFile | None:
        with self._readable():
            try:
                found = (self.path / name).stat()
            except FileNotFoundError:
                return None
        head = self.read(name, 0, HEAD) if stat.S_ISREG(found.st_mode) else None
        return None if head is None else _log_file(name, found.st_size, found.st_mtime_ns, head)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            step = "let the user that runs pgkeep read the server's log files"
            raise ConfigError(f"{self.path} may not be read: {error.strerror}", next_step=step) from error
        except OSError as error:
            step = "mount the server's log directory there, or correct log_directory in pgkeep.toml"
            raise LogUnavailable(f"{self.path} cannot be read: {error.strerror}", next_step=step) from error


def begins(head: bytes) -> str:
    """What stands before a file's first comma. `head`: its first bytes."""
    return head.split(b",", 1)[0].decode("ascii", "backslashreplace")


def _log_file(name: str, size: int, modified: int, head: bytes) -> LogFile:
    # The file may have got its first row after it was measured: then it was empty.
    return LogFile(name=name, size=size, begins=begins(head) if size else "", modified=modified)
