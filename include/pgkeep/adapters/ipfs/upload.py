"""A stream of chunks as the one part of a multipart body (RFC 7578), made while it is sent."""

import secrets
from collections.abc import Iterable, Iterator

GATHER = 1024 * 1024
"""Bytes that are sent at once: every small chunk would cost a system call and two copies."""


class Interrupted(Exception):
    """The chunks raised. Not an OSError, whatever they raised: urllib3 takes those for its own connection's."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__("the stream to be stored ended with an error")
        self.failure = failure


class Upload:
    """Sends `chunks` and always closes them.

    Kubo takes a body for whole even without its closing boundary, so a failing stream must break the request off:
    `Interrupted` is raised where the body would go on.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._boundary = secrets.token_hex(24)

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    def body(self) -> Iterator[bytes]:
        """The bytes of the request's body, in pieces of at least GATHER. Raises Interrupted."""
        yield (
            f"--{self._boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="object"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        waiting, size = list[bytes](), 0
        for chunk in self._guarded():
            waiting.append(chunk)
            size += len(chunk)
            if size >= GATHER:
                yield b"".join(waiting)
                waiting, size = [], 0
        yield b"".join(waiting) + f"\r\n--{self._boundary}--\r\n".encode()

    def close(self) -> None:
        """Closes the chunks, whether they were read to their end, in part, or not at all."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def _guarded(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = next(self._chunks)
            except StopIteration:
                return
            except BaseException as failure:
                raise Interrupted(failure) from failure
            yield chunk
