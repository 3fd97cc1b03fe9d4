"""The messages of pgoutput, protocol version 1 (manual, "Logical Replication Message Formats")."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import wraps
from struct import Struct, error
from typing import Any, TypeVar

from pgkeep.ports import Inexact

from .frames import corrupted

Bytes = bytes | memoryview
Row = list[bytes]
"""A value per column, in a large message memoryviews of it."""

BEGIN, COMMIT, ORIGIN, RELATION, TYPE, MESSAGE = b"BCORYM"
INSERT, UPDATE, DELETE, TRUNCATE = b"IUDT"
KEY, OLD, NEW = b"KON"
"""Which tuple of a row comes next: the old key, the whole old row, the new row."""

NULL = b"\0"
UNCHANGED = b"\0\0"
"""In place of a value (UNCHANGED: of a TOASTed one that was not sent). No text of PostgreSQL has a zero byte in it."""

LOG = ("_pgkeep", "log")
"""The table whose rows are messages (PostgreSQL 13 has no others)."""

_TEXT, _NULL, _UNCHANGED = b"tnu"
_LENGTH = Struct(">I").unpack_from
_COUNT = Struct(">H").unpack_from
_BEGIN = Struct(">xQqI").unpack_from
_TRUNCATE = Struct(">xIB").unpack_from
_COLUMN = Struct(">Ii")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction of the source. `time`: microseconds since 2000-01-01 UTC.

    `xid`: 32 bits, the top level's. `commit_lsn`: where its commit record begins.
    """

    xid: int
    commit_lsn: int
    time: int


class Decision(Enum):
    """What becomes of a transaction. HOLD: it belongs into the next file; its position counts for `held`."""

    SKIP = auto()
    EMIT = auto()
    HOLD = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody said by `pg_logical_emit_message(true, prefix, content)`, or by a row of the table _pgkeep.log."""

    transaction: Transaction
    prefix: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`is_key`: it is part of the replica identity; with identity `f` all columns are."""

    name: str
    type_oid: int
    type_mod: int
    is_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table as it was when its changes were made. `identity`: as in pg_class.relreplident (d, n, f, i)."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeName:
    """A type that is not built in; for a domain, the name of the type beneath."""

    oid: int
    schema: str
    name: str


def strict(parse: Callable[..., Result]) -> Callable[..., Result]:
    """A message that ends too early, or says more than it should, raises Corrupted."""

    @wraps(parse)
    def parse_strictly(*arguments: object) -> Result:
        try:
            return parse(*arguments)
        except (error, IndexError, ValueError) as reason:
            raise corrupted(f"{parse.__name__.removeprefix('read_')}: {reason}") from reason

    return parse_strictly


@strict
def read_begin(message: bytes) -> Transaction:
    commit_lsn, time, xid = _BEGIN(message)
    return Transaction(xid=xid, commit_lsn=commit_lsn, time=time)


@strict
def read_relation(message: bytes, codec: str) -> Relation:
    names = _Names(message, at=5, codec=codec)
    schema, name = names.next() or "pg_catalog", names.next()
    at = names.at
    identity, (count,), names.at = chr(message[at]), _COUNT(message, at + 1), at + 3
    columns = tuple(_column(message, names) for _ in range(count))
    return Relation(oid=oid_of(message), schema=schema, name=name, identity=identity, columns=columns)


@strict
def read_type(message: bytes, codec: str) -> TypeName:
    names = _Names(message, at=5, codec=codec)
    return TypeName(oid=oid_of(message), schema=names.next() or "pg_catalog", name=names.next())


@strict
def read_message(message: bytes, codec: str) -> tuple[bool, str, bytes]:
    """Whether it belongs to a transaction, its prefix, its content."""
    names = _Names(message, at=10, codec=codec)
    prefix, start = names.next(), names.at + 4
    (size,) = _LENGTH(message, names.at)
    if start + size != len(message):
        raise IndexError(f"{size} bytes announced, {len(message) - start} there")
    return bool(message[1] & 1), prefix, message[start:]


@strict
def read_truncate(message: bytes) -> tuple[bool, list[bytes]]:
    """Whether identities restart, and the oids of the tables, as they stand in the messages."""
    count, options = _TRUNCATE(message)
    if len(message) != 6 + 4 * count:
        raise IndexError(f"{count} tables announced")
    return bool(options & 2), [message[at : at + 4] for at in range(6, len(message), 4)]


@strict
def oid_of(message: bytes) -> int:
    return int(_LENGTH(message, 1)[0])


def read_row(message: Bytes, at: int, width: int) -> tuple[Row, bool, int]:
    """The row that begins at `at`, whether it has other values than texts, and where it ends.

    The loop that all time is spent in. Raises Corrupted.
    """
    row: list[Any] = []
    odd = False
    try:
        if _COUNT(message, at)[0] != width:
            raise corrupted(f"a row of {_COUNT(message, at)[0]} columns in a table of {width}")
        at += 2
        for _ in range(width):
            kind = message[at]
            if kind == _TEXT:
                start = at + 5
                at = start + _LENGTH(message, at + 1)[0]
                row.append(message[start:at])
            elif kind == _NULL:
                row.append(NULL)
                odd = True
                at += 1
            elif kind == _UNCHANGED:
                row.append(UNCHANGED)
                odd = True
                at += 1
            else:
                raise corrupted(f"a value of kind {kind}")
    except (error, IndexError) as reason:
        raise corrupted(f"a row: {reason}") from reason
    if at > len(message):
        raise corrupted("a row ends too early")
    return row, odd, at


class _Names:
    """Reads texts that end with a zero byte."""

    def __init__(self, message: bytes, *, at: int, codec: str) -> None:
        self._message, self._codec, self.at = message, codec, at

    def next(self) -> str:
        end = self._message.index(0, self.at)
        name = self._message[self.at : end]
        text = name.decode(self._codec, "surrogateescape")
        if text.encode(self._codec, "surrogateescape") != name:
            raise Inexact(f"the name {text!r} is written in a way that {self._codec} does not give back")
        self.at = end + 1
        return text


def _column(message: bytes, names: _Names) -> Column:
    flags, names.at = message[names.at], names.at + 1
    name = names.next()
    type_oid, type_mod = _COLUMN.unpack_from(message, names.at)
    names.at += _COLUMN.size
    return Column(name=name, type_oid=type_oid, type_mod=type_mod, is_key=bool(flags & 1))
