"""What a statement does to the transaction that it runs in: begins, ends, or undoes a part of it."""

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

import postgast
from postgast import pg_query_pb2 as pg

SHORT = 200
_FIRST = re.compile(rb"(?:\s|;|--[^\n\r]*+(?:[\n\r]|\Z))*+([a-z]++|/\*)?", re.IGNORECASE)
_SEVERAL = re.compile(rb";(?!\s*\Z)")
_WORDS = frozenset(b"begin start commit end rollback abort savepoint release prepare /*".split())


class Kind(Enum):
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    SAVEPOINT = auto()
    RELEASE = auto()
    ROLLBACK_TO = auto()
    PREPARE = auto()
    COMMIT_PREPARED = auto()
    ROLLBACK_PREPARED = auto()
    MIXED = auto()
    """A string of several statements, and one of them is of these kinds; or it may be, for it is not understood."""


_KINDS = {
    pg.TRANS_STMT_BEGIN: Kind.BEGIN,
    pg.TRANS_STMT_START: Kind.BEGIN,
    pg.TRANS_STMT_COMMIT: Kind.COMMIT,
    pg.TRANS_STMT_ROLLBACK: Kind.ROLLBACK,
    pg.TRANS_STMT_SAVEPOINT: Kind.SAVEPOINT,
    pg.TRANS_STMT_RELEASE: Kind.RELEASE,
    pg.TRANS_STMT_ROLLBACK_TO: Kind.ROLLBACK_TO,
    pg.TRANS_STMT_PREPARE: Kind.PREPARE,
    pg.TRANS_STMT_COMMIT_PREPARED: Kind.COMMIT_PREPARED,
    pg.TRANS_STMT_ROLLBACK_PREPARED: Kind.ROLLBACK_PREPARED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """`name`: of the savepoint. `chain`: another transaction begins at once (AND CHAIN). `rest`: what else was sent
    behind a BEGIN, in the same string.
    """

    kind: Kind
    name: str = ""
    chain: bool = False
    rest: bytes = b""


def control(sql: bytes) -> Control | None:
    """None: it leaves the transaction as it is."""
    first = _FIRST.match(sql)
    word = first[1].lower() if first and first[1] else b""
    if word not in _WORDS and not _SEVERAL.search(sql):
        return None
    return _remembered(sql) if len(sql) <= SHORT else _parsed(sql)


def _parsed(sql: bytes) -> Control | None:
    text = sql.decode("latin-1")  # ASCII is the same in every encoding of a server
    try:
        raw = postgast.parse(text).stmts
    except postgast.PgQueryError:
        return Control(kind=Kind.MIXED)
    found = [one.stmt.transaction_stmt for one in raw if one.stmt.HasField("transaction_stmt")]
    if not found:
        return None
    kind = _KINDS[found[0].kind]
    if len(raw) == 1:
        return Control(kind=kind, name=found[0].savepoint_name, chain=found[0].chain)
    if len(found) == 1 and raw[0].stmt.HasField("transaction_stmt") and kind is Kind.BEGIN:
        return Control(kind=kind, rest=text.encode()[raw[1].stmt_location :].decode().encode("latin-1"))
    return Control(kind=Kind.MIXED)


_remembered = lru_cache(maxsize=1024)(_parsed)
