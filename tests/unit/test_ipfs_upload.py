"""The body of an upload: what is on the wire, when it is sent, and how it ends."""

from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message

import pytest

from pgkeep.adapters.ipfs.upload import GATHER, Interrupted, Upload


def body_of(upload: Upload) -> list[bytes]:
    return list(upload.body())


def payload(upload: Upload, body: bytes) -> bytes:
    """The one part's content, as the standard library's MIME parser understands it."""
    message = message_from_bytes(f"Content-Type: {upload.content_type}\r\n\r\n".encode() + body)
    parts = message.get_payload()
    assert isinstance(parts, list)
    (part,) = parts
    assert isinstance(part, Message)
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize("data", [b"", b"x", b"\r\n--\r\n", bytes(range(128)) * 20_000])
def test_the_part_holds_exactly_the_chunks(data: bytes) -> None:
    upload = Upload([data[:10], b"", data[10:]])
    assert payload(upload, b"".join(body_of(upload))) == data


def test_it_ends_with_the_closing_boundary() -> None:
    upload = Upload([b"x"])
    boundary = upload.content_type.partition("boundary=")[2]
    assert body_of(upload)[-1].endswith(f"\r\n--{boundary}--\r\n".encode())


def test_small_chunks_are_gathered() -> None:
    pieces = body_of(Upload(b"x" * 1000 for _ in range(5000)))
    assert [len(piece) >= GATHER for piece in pieces[1:-1]] == [True] * 4
    assert all(pieces)


def test_two_uploads_have_different_boundaries() -> None:
    assert Upload([]).content_type != Upload([]).content_type


def test_a_failure_is_carried_out_whole() -> None:
    failure = OSError("disk")

    def chunks() -> Iterator[bytes]:
        yield b"x" * GATHER
        raise failure

    body = Upload(chunks()).body()
    assert len([next(body), next(body)]) == 2
    with pytest.raises(Interrupted) as caught:
        next(body)
    assert caught.value.failure is failure


def test_close_closes_chunks_that_can_be_closed() -> None:
    closed = list[str]()

    def chunks() -> Iterator[bytes]:
        try:
            yield b"x"
        finally:
            closed.append("closed")

    upload = Upload(chunks())
    body = upload.body()
    next(body)
    upload.close()
    assert not closed  # nothing was taken, so nothing was opened
    started = chunks()
    assert next(started) == b"x"
    Upload(started).close()
    assert closed == ["closed"]
    Upload([b"a list"]).close()
