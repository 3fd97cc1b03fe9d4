"""PostgreSQL's own programs as streams. Every exit code counts; the last lines of what they say are kept for people."""

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from .complaints import of_reading
from .programs import Tools
from .server import Server

log = logging.getLogger(__name__)

PIPE = 1 << 20
CHUNK = 1 << 17
"""Bytes read at once: measured, half the processor time of a mebibyte, whose buffer is made anew each time."""
KEPT_LINES = 12
LONGEST_LINE = 300
GRACE = 5.0
"""Seconds that a program may take to end when it is asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program to run against one database. How to connect goes by environment only."""

    tools: Tools
    program: str
    arguments: Sequence[str] = ()
    server: Server
    dbname: str

    def start(self, *, stdin: int, stdout: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [str(self.tools.directory / self.program), "--no-password", *self.arguments],
            env=self.server.environment(self.dbname) | {"PGAPPNAME": f"pgkeep {self.program}"},
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            bufsize=0,
        )


QUOTED = "Command was: "
"""Behind this pg_restore quotes a statement, perhaps one with a password, up to the next line that is its own."""

Hear = Callable[[str], str | None]
"""What is kept of a line that a program says, or None."""


class ToolFailedError(Exception):
    """A program ended with another exit code than 0. Never leaves this package: its caller knows what it means."""

    def __init__(self, *, program: str, code: int, last_words: str) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"{program} {how}" + (f": {last_words}" if last_words else ""))
        self.killed = code < 0
        self.code = code


def read(command: Command) -> Generator[bytes]:
    """What the program writes. Ends without an error only if it ended with exit code 0.

    Raises ToolFailedError. Closing the iterator ends the program.
    """
    with _running(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, hear=of_reading) as run:
        assert run.process.stdout is not None
        yield from _chunks(run.process.stdout)
        run.require_success()


def write(command: Command, chunks: Iterable[bytes], *, hear: Hear) -> None:
    """Feeds the program. What `chunks` raises comes out unchanged, and the program is ended. Raises ToolFailedError."""
    with _running(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, hear=hear) as run:
        _feed(run, chunks)
        run.require_success()


def through(command: Command, chunks: Iterable[bytes], *, hear: Hear) -> Generator[bytes]:
    """What the program makes of `chunks`, which a thread feeds to it. Errors as in `read` and `write`."""
    running = _running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, hear=hear)
    with running as run, ThreadPoolExecutor(1) as pool:
        assert run.process.stdout is not None
        fed = pool.submit(_feed, run, chunks)
        try:
            yield from _chunks(run.process.stdout)
        except BaseException:
            run.process.kill()  # nobody wants the rest: with its reader the feeding ends, too
            raise
        fed.result()
        run.require_success()


class _Run:
    """A running program, and somebody who listens to it, so that it never waits for a reader of its complaints."""

    def __init__(self, command: Command, process: "subprocess.Popen[bytes]", hear: Hear) -> None:
        self._command = command
        self._hear = hear
        self.process = process
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._listener = threading.Thread(target=self._listen, name=f"{command.program} stderr", daemon=True)
        self._listener.start()

    def require_success(self) -> None:
        code = self.process.wait()
        self._listener.join()
        if code != 0:
            raise ToolFailedError(program=self._command.program, code=code, last_words="; ".join(self._lines))
        for line in self._lines:
            log.warning("%s", line)

    def end(self) -> None:
        """Ends the program if it still runs, and waits for it."""
        for stream in (self.process.stdout, self.process.stdin):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._listener.join()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            quoted = False
            for line in _lines(stream):
                quoted = line.startswith(QUOTED) or (quoted and not line.startswith(f"{self._command.program}: "))
                if not quoted and (kept := self._hear(self._without_secrets(line))) is not None:
                    self._lines.append(kept[:LONGEST_LINE])

    def _without_secrets(self, line: str) -> str:
        password = self._command.server.password
        return line.replace(password, "***") if password else line


@contextmanager
def _running(command: Command, *, stdin: int, stdout: int, hear: Hear) -> Iterator[_Run]:
    run = _Run(command, command.start(stdin=stdin, stdout=stdout), hear)
    try:
        _widen(run.process.stdout or run.process.stdin)
        yield run
    finally:
        run.end()


def _feed(run: _Run, chunks: Iterable[bytes]) -> None:
    """Ends the input only when `chunks` has ended well: half an input must not look like a whole one."""
    assert run.process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # its exit code says why it reads no more
            for chunk in chunks:
                _write_all(run.process.stdin, chunk)
            run.process.stdin.close()
    except BaseException:
        run.process.kill()
        raise


def _widen(stream: IO[bytes] | None) -> None:
    """A full mebibyte in the pipe, so that both ends work at the same time; the kernel may refuse."""
    if stream is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, PIPE)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := os.read(stream.fileno(), CHUNK):
        yield chunk


def _write_all(stream: IO[bytes], chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(stream.fileno(), rest) :]


def _lines(stream: IO[bytes]) -> Iterator[str]:
    for line in stream:
        text = line.decode(errors="replace").strip()
        if text:
            yield text
