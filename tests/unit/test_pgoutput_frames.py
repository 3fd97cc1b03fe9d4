"""COPY frames, in chunks of any size; whole, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_pgoutput_messages import in_chunks, stream
from pgkeep.adapters.postgres.pgoutput.frames import LARGE, SIGNATURE, TRAILER, frames
from pgkeep.errors import Corrupted

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any)
MESSAGES = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


@given(messages=MESSAGES, extension=st.binary(max_size=9), sizes=SIZES)
def test_messages_come_out_whatever_the_chunks(messages: list[bytes], extension: bytes, sizes: list[int]) -> None:
    whole = stream(messages, extension=extension)
    assert list(frames(in_chunks(whole, sizes))) == messages
    assert list(frames(in_chunks(whole, [1]))) == messages


@pytest.mark.parametrize("chunk", [1 << 16, 1 << 20, 1 << 24])
def test_large_messages_are_views(chunk: int) -> None:
    messages = [b"a", b"b" * (LARGE - 1), b"c" * LARGE, b"d" * (3 * LARGE + 7), b"e"]
    found = list(frames(in_chunks(stream(messages), [chunk])))
    assert [bytes(message) for message in found] == messages
    assert [isinstance(message, memoryview) for message in found] == [False, False, True, True, False]


@given(messages=MESSAGES, sizes=SIZES, data=st.data())
def test_a_stream_that_ends_early_is_refused(messages: list[bytes], sizes: list[int], data: st.DataObject) -> None:
    whole = stream(messages)
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Corrupted):
        list(frames(in_chunks(whole[:end], sizes)))


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        b"ERROR:  no such slot\n" * 9,
        stream([b"a"]) + b"more",
        stream([b"a"]).replace(b"\0\1\0\0\0\1", b"\0\2\0\0\0\1"),
        stream([b"a"])[:-2] + b"\0\1\0\0\0\0" + TRAILER,
        SIGNATURE + b"\0\1\0\0" + bytes(4) + TRAILER,
        stream([b"d" * LARGE])[:-9],
    ],
)
def test_what_is_no_such_stream_is_refused(whole: bytes) -> None:
    with pytest.raises(Corrupted):
        list(frames([whole]))
