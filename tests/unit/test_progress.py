"""How far a stream is: chunks pass unchanged, and somebody is told."""

import io
import itertools
import logging
from collections.abc import Callable, Iterator

import pytest

from pgkeep.progress import human_size, human_time, log_lines, terminal


def ticking(step: float) -> Callable[[], float]:
    """A clock that goes on by `step` seconds whenever somebody looks."""
    return itertools.count(0.0, step).__next__


def chunks(closed: list[bool] | None = None) -> Iterator[bytes]:
    try:
        yield from (b"x" * 1000, b"", b"y" * 500)
    finally:
        if closed is not None:
            closed.append(True)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (51_234_567, "51.2 MB"),
        (999_949, "999.9 kB"),
        (999_960, "1.0 MB"),
        (3 * 10**18, "3000.0 PB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.97, "10 s"),
        (41, "41 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3_600, "1 h"),
        (3_605, "1 h"),
        (187_200, "2 d 4 h"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


def test_the_stream_is_unchanged_and_its_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        passed = list(log_lines(logging.getLogger("t"))("dump", chunks()))
    assert passed == list(chunks())
    assert [message.split(" in ")[0] for message in caplog.messages] == ["dump: 1.5 kB"]


def test_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        list(log_lines(logging.getLogger("t"), every=30.0, clock=ticking(20.0))("dump", chunks()))
    assert [message.endswith("so far") for message in caplog.messages][-1:] == [False]
    assert any(message.endswith("so far") for message in caplog.messages)


def test_who_stops_early_stops_the_source_too(caplog: pytest.LogCaptureFixture) -> None:
    closed = list[bool]()
    watched = log_lines(logging.getLogger("t"))("dump", chunks(closed))
    next(watched)
    del watched
    assert closed == [True]
    assert caplog.messages[-1].endswith("ended early")


def test_an_error_of_the_source_comes_out_unchanged() -> None:
    def dying() -> Iterator[bytes]:
        yield b"x"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(log_lines(logging.getLogger("t"))("dump", dying()))


def test_a_terminal_gets_one_line_that_is_written_over() -> None:
    screen = io.StringIO()
    assert list(terminal(screen, every=0.0)("dump", chunks())) == list(chunks())
    text = screen.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.count("\r") == 4
    assert "dump: 1.5 kB" in text.rpartition("\r")[2]


def test_a_long_name_does_not_wrap() -> None:
    screen = io.StringIO()
    list(terminal(screen, every=0.0)("n" * 500, chunks()))
    assert max(len(line) for line in screen.getvalue().split("\r")) < 200
