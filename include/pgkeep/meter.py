"""Streams that know how long they were, and what they were."""

import hashlib
from collections.abc import Iterable, Iterator

from pgkeep.model import Digest


class Meter:
    """Counts and hashes a stream on its way through. Closed early, it closes the stream."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self._hash.update(chunk)
                self.size += len(chunk)
                yield chunk
        finally:
            if callable(close := getattr(self._chunks, "close", None)):
                close()

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())

    def drain(self) -> None:
        """Reads the stream to its end, only to measure it."""
        for _ in self:
            pass


def unwatched(_name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The Watch that tells nobody."""
    return chunks
