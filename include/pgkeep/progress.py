"""How far a stream is: as lines of a log, or as one line of a terminal that is written over. Standard library only.

Both are a `Watch`: chunks pass through unchanged, and are counted on the way.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TextIO

from pgkeep.ports import Watch

CLEAR_TO_END = "\x1b[K"
SIZES = ("bytes", "kB", "MB", "GB", "TB", "PB")
TIMES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A named stream so far: bytes passed, seconds since its first chunk was asked for."""

    name: str
    size: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.name}: {human_size(self.size)} in {human_time(self.seconds)}, {self.rate}"

    @property
    def rate(self) -> str:
        """The mean so far, for people."""
        return f"{human_size(round(self.size / max(self.seconds, 0.001)))}/s"


class _End(Protocol):
    def __call__(self, progress: Progress, *, whole: bool) -> None: ...


def log_lines(logger: logging.Logger, *, every: float = 30.0, clock: Callable[[], float] = time.monotonic) -> Watch:
    """One INFO line each `every` seconds while a stream runs, and one at its end."""

    def tell(progress: Progress) -> None:
        logger.info("%s so far", progress)

    def end(progress: Progress, *, whole: bool) -> None:
        if whole:
            logger.info("%s", progress)
        else:
            logger.warning("%s, then it ended early", progress)

    return _watch(tell, end, every=every, clock=clock)


def terminal(stream: TextIO, *, every: float = 0.2, clock: Callable[[], float] = time.monotonic) -> Watch:
    """One line on a terminal, written over; it stays when the stream ends, and what comes next starts below it."""

    def tell(progress: Progress) -> None:
        line = str(progress)[: shutil.get_terminal_size().columns - 1]  # a wrapped line cannot be written over
        stream.write(f"\r{line}{CLEAR_TO_END}")
        stream.flush()

    def end(progress: Progress, *, whole: bool) -> None:
        tell(progress)
        stream.write("\n" if whole else " (ended early)\n")
        stream.flush()

    return _watch(tell, end, every=every, clock=clock)


def human_size(size: int) -> str:
    """Bytes for people, in powers of 1000: `0 bytes`, `51.2 MB`."""
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {SIZES[unit]}" if unit else f"{size} bytes"


def human_time(seconds: float) -> str:
    """Seconds for people, two units at most: `0.4 s`, `41 s`, `3 min 20 s`, `2 d 4 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    rest, words = round(seconds), list[str]()
    for length, unit in TIMES:
        count, rest = divmod(rest, length)
        if count or words:
            words.append(f"{count} {unit}" if count else "")
    return " ".join(filter(None, words[:2]))


def _watch(tell: Callable[[Progress], None], end: _End, *, every: float, clock: Callable[[], float]) -> Watch:
    def watch(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        size, whole, started = 0, False, clock()
        due = started + every
        try:
            for chunk in chunks:
                size += len(chunk)
                if clock() >= due:
                    tell(Progress(name=name, size=size, seconds=clock() - started))
                    due = clock() + every
                yield chunk
            whole = True
        finally:
            if callable(close := getattr(chunks, "close", None)):
                close()  # whoever stops reading us early stops what we read, too
            end(Progress(name=name, size=size, seconds=clock() - started), whole=whole)

    return watch
