"""zstd as a stream: whole frames come back, anything else is refused, nothing swells without bound."""

from collections.abc import Iterable, Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.adapters.openpgp.compression import Decompression, compressed
from pgkeep.errors import Corrupted

CHUNKS = st.lists(st.binary(max_size=5000), max_size=5)


def unpacked(packed: Iterable[bytes]) -> Iterator[bytes]:
    frames = Decompression()
    for chunk in packed:
        yield from frames.content(chunk)
    frames.finish()


@given(st.lists(CHUNKS, min_size=1, max_size=3), st.integers(min_value=1, max_value=5000))
def test_frames_come_back_in_pieces_of_any_size(frames: list[list[bytes]], size: int) -> None:
    packed = b"".join(b"".join(compressed(chunks)) for chunks in frames)
    pieces = (packed[start : start + size] for start in range(0, len(packed), size))
    assert b"".join(unpacked(pieces)) == b"".join(map(b"".join, frames))


@given(CHUNKS, st.data())
def test_no_beginning_of_a_frame_is_a_frame(chunks: list[bytes], data: st.DataObject) -> None:
    packed = b"".join(compressed(chunks))
    with pytest.raises(Corrupted):
        list(unpacked([packed[: data.draw(st.integers(min_value=0, max_value=len(packed) - 1))]]))


@given(CHUNKS, st.binary(min_size=1, max_size=20))
def test_nothing_else_may_follow(chunks: list[bytes], tail: bytes) -> None:
    with pytest.raises(Corrupted):
        list(unpacked([*compressed(chunks), b"\0", tail]))


def test_a_wrong_checksum_is_noticed() -> None:
    packed = bytearray(b"".join(compressed([b"hello" * 100])))
    packed[-1] ^= 1
    with pytest.raises(Corrupted, match="zstd"):
        list(unpacked([bytes(packed)]))


def test_the_smallest_bomb_swells_in_pieces() -> None:
    """One block of a repeated byte: 4 bytes stand for 128 KiB (RFC 8878, 3.1.1.2)."""
    block = (0 << 0 | 1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    last = (1 << 0 | 1 << 1 | 1 << 3).to_bytes(3, "little") + b"\0"
    frame = zstandard.FRAME_HEADER + b"\x00\x50" + block * 8000 + last  # no checksum, no size, 1 MiB window
    sizes = [len(piece) for piece in unpacked([frame])]
    assert sum(sizes) == 8000 * (128 << 10) + 1
    assert max(sizes) <= 64 << 20
