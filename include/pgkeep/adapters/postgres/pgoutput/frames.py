"""The frames of PostgreSQL's binary COPY format (manual, "COPY", file formats) around the messages of pgoutput.

header     11 bytes of signature, int32 flags, int32 length of an extension, the extension
frame      int16 1 (one column), int32 length, the message
trailer    int16 -1
"""

from collections.abc import Iterable, Iterator
from struct import Struct

from pgkeep.errors import Corrupted

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
TRAILER = b"\xff\xff"
LARGE = 1 << 20
"""Bytes from which on a message is not copied any more than it has to be."""

_HEADER = Struct(">11sII")
_FRAME = Struct(">hI").unpack_from
_SIZE = 6
"""Of what stands before a message."""


def frames(chunks: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """The messages in a COPY stream that comes in chunks of any size: a memoryview if it is `LARGE`, else bytes.

    Raises Corrupted: this is not such a stream, or not the whole of it.
    """
    source = iter(chunks)
    buffer, at = _skip_header(source)
    wanted = _SIZE
    while len(buffer := _fill(source, buffer[at:], wanted)) >= wanted:
        at, wanted = 0, _SIZE
        while at + _SIZE <= len(buffer):
            columns, size = _FRAME(buffer, at)
            if columns != 1 or not size:
                raise corrupted(f"a frame of {columns} columns and {size} bytes")
            start = at + _SIZE
            if (end := start + size) <= len(buffer):
                yield buffer[start:end] if size < LARGE else memoryview(buffer)[start:end]
                at = end
            elif size < LARGE:
                wanted = end - at
                break
            else:
                message, buffer = _take(source, buffer[start:], size)
                yield memoryview(message)
                del message
                at = 0
    if buffer != TRAILER:
        raise corrupted("it ends before its trailer")


def corrupted(why: str) -> Corrupted:
    return Corrupted(
        f"the stream of changes is not what PostgreSQL's pgoutput writes: {why}",
        next_step="run it again: the slot still has all of it; if it comes again: pgkeep backup NAME --full",
    )


def _skip_header(source: Iterator[bytes]) -> tuple[bytes, int]:
    """The first bytes, and where the first frame begins in them."""
    buffer = _fill(source, b"", _HEADER.size)
    if len(buffer) < _HEADER.size or not buffer.startswith(SIGNATURE):
        raise corrupted("it does not begin as a binary COPY does")
    _, flags, extension = _HEADER.unpack_from(buffer)
    if flags:
        raise corrupted(f"its flags are {flags:#x}")
    return _fill(source, buffer, _HEADER.size + extension), _HEADER.size + extension


def _fill(source: Iterator[bytes], start: bytes, size: int) -> bytes:
    """`start` and what follows, at least `size` bytes unless the stream ends before."""
    parts, have = [start], len(start)
    while have < size and (chunk := next(source, None)) is not None:
        parts.append(chunk)
        have += len(chunk)
    return b"".join(parts)


def _take(source: Iterator[bytes], start: bytes, size: int) -> tuple[bytearray, bytes]:
    """Exactly `size` bytes, in one place and only there, and what came after them."""
    message, rest = bytearray(start), b""
    while (missing := size - len(message)) > 0:
        chunk = next(source, None)
        if chunk is None:
            raise corrupted("it ends within a message")
        message += memoryview(chunk)[:missing]
        rest = chunk[missing:]
    return message, rest
