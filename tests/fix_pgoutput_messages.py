"""The messages of pgoutput as the manual has them, and the COPY stream around them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from struct import pack

from pgkeep.adapters.postgres.pgoutput.frames import SIGNATURE, TRAILER
from pgkeep.adapters.postgres.pgoutput.translation import Decision, Message, Transaction, Translation

NONCE = "ab" * 16

OID, OTHER, LOG, TYPE = 16400, 16500, 16600, 16700
Value = bytes | str | None
"""A text, `u` for unchanged, None for NULL."""


def begin(xid: int = 7, lsn: int = 0x1_0000_00FF, time: int = 1_500_000) -> bytes:
    return b"B" + pack(">QqI", lsn, time, xid)


COMMIT = b"C" + pack(">BQQq", 0, 1, 2, 3)


def relation(
    name: bytes = b"t",
    *,
    schema: bytes = b"s",
    oid: int = OID,
    identity: bytes = b"d",
    columns: str = "id* v",
    of: int = 25,
) -> bytes:
    """Columns by name; `*` marks those of the key."""
    names = columns.split()
    head = b"R" + pack(">I", oid) + schema + b"\0" + name + b"\0" + identity + pack(">H", len(names))
    return head + b"".join(
        bytes([column.endswith("*")]) + column.rstrip("*").encode() + b"\0" + pack(">Ii", of, -1) for column in names
    )


def row(*values: Value) -> bytes:
    return pack(">H", len(values)) + b"".join(map(_value, values))


def _value(value: Value) -> bytes:
    if value is None:
        return b"n"
    return b"u" if value == "u" else b"t" + pack(">I", len(value)) + bytes(value)  # type: ignore[arg-type]


def insert(*values: Value, oid: int = OID) -> bytes:
    return b"I" + pack(">I", oid) + b"N" + row(*values)


def update(*values: Value, old: Sequence[Value] = (), kind: bytes = b"K", oid: int = OID) -> bytes:
    return b"U" + pack(">I", oid) + (kind + row(*old) if old else b"") + b"N" + row(*values)


def delete(*values: Value, kind: bytes = b"K", oid: int = OID) -> bytes:
    return b"D" + pack(">I", oid) + kind + row(*values)


def truncate(*oids: int, options: int = 0) -> bytes:
    return b"T" + pack(">IB", len(oids), options) + b"".join(pack(">I", oid) for oid in oids)


def said(prefix: bytes, content: bytes, *, flags: int = 1) -> bytes:
    return b"M" + pack(">BQ", flags, 5) + prefix + b"\0" + pack(">I", len(content)) + content


def stream(messages: Sequence[bytes], *, extension: bytes = b"") -> bytes:
    header = SIGNATURE + bytes(4) + len(extension).to_bytes(4, "big") + extension
    return header + b"".join(b"\0\1" + len(m).to_bytes(4, "big") + m for m in messages) + TRAILER


def in_chunks(whole: bytes, sizes: Sequence[int]) -> list[bytes]:
    """`whole` in chunks of these sizes over and over."""
    chunks, at = list[bytes](), 0
    while at < len(whole):
        for size in sizes:
            chunks.append(whole[at : at + size])
            at += size
    return chunks


@dataclass(kw_only=True)
class Run:
    """A translation of these messages."""

    messages: Sequence[bytes]
    verdicts: Callable[[Transaction], Decision] = lambda _: Decision.EMIT
    answer: bytes = b""
    encoding: str = "UTF8"
    always: dict[int, list[str]] = field(default_factory=dict)
    heard: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.translation = Translation(
            nonce=NONCE,
            encoding=self.encoding,
            judge=self.verdicts,
            listen=self._listen,
            server_version=150_004,
            always=self.always,
        )

    def _listen(self, message: Message) -> bytes:
        self.heard.append(message)
        return self.answer

    def sql(self, sizes: Sequence[int] = (1 << 16,)) -> bytes:
        return b"".join(self.translation.sql(in_chunks(stream(self.messages), sizes)))

    def body(self) -> str:
        """Without the head and its settings."""
        return re.sub(r"\A(-- .*\n|SET .*\n|SELECT pg_catalog.set_config.*\n)*", "", self.sql().decode())
