"""zstd, as a stream: one frame out, any number of frames in, bounded memory both ways."""

import os
from collections.abc import Iterable, Iterator

import zstandard

from pgkeep.errors import LISTED, Corrupted

LEVEL = 3
MOST_THREADS = 4
WIDEST_WINDOW = 128 << 20
"""What `zstd -d` itself accepts without being told."""
SLICE = 2 << 10
"""Bytes of input per step. 4 bytes may stand for 128 KiB, so this bounds what a step can yield (64 MiB)."""


def compressed(plain: Iterable[bytes]) -> Iterator[bytes]:
    """One zstd frame with a checksum of its content."""
    packer = zstandard.ZstdCompressor(
        level=LEVEL, write_checksum=True, write_content_size=False, threads=_threads()
    ).compressobj()
    for chunk in plain:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


class Decompression:
    """Frame after frame, each with a fresh decompressor. Raises Corrupted: not zstd, or a wrong checksum."""

    def __init__(self) -> None:
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=WIDEST_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._count = 0

    def content(self, packed: bytes) -> Iterator[bytes]:
        """The plaintext that the next bytes bring, in pieces of bounded size."""
        view = memoryview(packed)
        for start in range(0, len(view), SLICE):
            yield from self._step(view[start : start + SLICE])

    def finish(self) -> None:
        """Raises Corrupted if there was no frame, or the last one is cut short."""
        if self._frame is not None or not self._count:
            raise _broken("the last frame is not complete")

    def _step(self, packed: memoryview | bytes) -> Iterator[bytes]:
        while packed:
            frame = self._frame or self._unpacker.decompressobj()
            try:
                plain = frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise _broken(str(error)) from error
            self._count += frame.eof
            self._frame = None if frame.eof else frame
            packed = frame.unused_data if frame.eof else b""
            if plain:
                yield plain


def _broken(why: str) -> Corrupted:
    return Corrupted(
        f"what was decrypted is not whole zstd data: {why}",
        next_step=f"read it from another peer, or choose another entry: {LISTED}",
    )


def _threads() -> int:
    """One processor is left for gpg and for whoever makes the data; even a single thread works beside ours."""
    return max(1, min(MOST_THREADS, len(os.sched_getaffinity(0)) - 1))
