"""The statements of a query string, as PostgreSQL's own grammar sees them, and their text without what a replay omits.

Nothing here is guessed from text: a clause is cut out at the scanner's tokens, and what is left must parse to the very
tree that was meant. Offsets are bytes of UTF-8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import postgast
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg

from pgkeep.ports import Inexact

Span = tuple[int, int]

TABLESPACES = ("tablespacename", "table_space", "table_space_name", "indexspace")
"""The fields that name a tablespace: which disk a table is on is the business of a machine, not of its data."""


def words(text: str) -> frozenset[str]:
    """The words of a list in the code."""
    return frozenset(text.split())


MODIFIERS = words(
    "OR REPLACE GLOBAL LOCAL TEMP TEMPORARY UNLOGGED UNIQUE CONSTRAINT RECURSIVE TRUSTED PROCEDURAL DEFAULT"
)
"""Words that stand before the object's kind and are not part of a command tag."""
ELSEWHERE = {"CREATE TABLE AS": "CREATE TABLE", "SELECT INTO": "SELECT"}
"""Tags with a word that stands far from the first ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. `kind`: its node's name in PostgreSQL's grammar, such as CreateStmt."""

    text: str
    node: Message

    @property
    def kind(self) -> str:
        return type(self.node).__name__

    def is_tagged(self, tag: str) -> bool:
        """Whether PostgreSQL calls it so: the tag is how the statement begins, but for words as UNIQUE and TEMP."""
        wanted = ELSEWHERE.get(tag, tag).split()
        first = _first_words(self.text)
        if wanted[0] == "CREATE":
            first = [word for word in first if word not in MODIFIERS - {*wanted}]
        return first[: len(wanted)] == wanted


def split(query: str) -> tuple[Statement, ...]:
    """The statements of a string that was sent as one. Raises Inexact if the grammar does not know it."""
    whole = query.encode()
    return tuple(
        Statement(text=_piece(whole, raw).decode().strip(), node=postgast.unwrap_node(raw.stmt))
        for raw in _parsed(query).stmts
    )


def without_place_and_haste(statement: Statement) -> str:
    """The text without CONCURRENTLY and without tablespaces. Raises Inexact if that cannot be done exactly."""
    wanted = type(statement.node)()
    wanted.CopyFrom(statement.node)
    spaces = list(_clear(wanted))
    if wanted == statement.node:
        return statement.text
    return _checked(_cut(statement.text, _spans(statement.text, spaces)), wanted)


def if_there(statement: Statement) -> str:
    """A DROP that does nothing where there is nothing to drop."""
    wanted = pg.DropStmt()
    wanted.CopyFrom(statement.node)
    wanted.missing_ok, wanted.concurrent = True, False
    return _deparsed(wanted)


def messages(node: Message) -> Iterator[Message]:
    """The node and all below it."""
    return (message for _, message in postgast.walk(node))


def _parsed(query: str) -> pg.ParseResult:
    try:
        return postgast.parse(query)
    except postgast.PgQueryError as error:
        raise Inexact("this text is not understood: " + error.message.split(" at or near")[0]) from error
    except DecodeError as error:
        raise Inexact("a text is nested too deeply to be looked through") from error


def _piece(whole: bytes, raw: pg.RawStmt) -> bytes:
    """A length of 0 means: up to the end."""
    end = raw.stmt_location + raw.stmt_len if raw.stmt_len else len(whole)
    return whole[raw.stmt_location : end]


def _first_words(text: str) -> list[str]:
    """As many as stand before an object's name at most."""
    whole = text.encode()
    return [whole[token.start : token.end].decode().upper() for token in _tokens(text)[:9]]


def _tokens(text: str) -> list[pg.ScanToken]:
    comments = (pg.Token.SQL_COMMENT, pg.Token.C_COMMENT)
    return [token for token in postgast.scan(text).tokens if token.token not in comments]


def _clear(node: Message) -> Iterator[str]:
    """Takes CONCURRENTLY and every tablespace out of the tree, and yields the names of these."""
    for message in messages(node):
        fields = type(message).DESCRIPTOR.fields_by_name
        for field in TABLESPACES:
            if field in fields and getattr(message, field):
                yield str(getattr(message, field))
                message.ClearField(field)
        if "concurrent" in fields:
            message.ClearField("concurrent")


def _spans(text: str, spaces: list[str]) -> list[Span]:
    """Where the words CONCURRENTLY and TABLESPACE <one of those> stand."""
    tokens, whole = _tokens(text), text.encode()
    spans = [(token.start, token.end) for token in tokens if token.token == pg.Token.CONCURRENTLY][:1]
    for i, (word, name) in enumerate(pairwise(tokens)):
        if word.token == pg.Token.TABLESPACE and _name(whole[name.start : name.end].decode()) in spaces:
            spans.append((_clause_start(tokens, i), name.end))
    return spans


def _clause_start(tokens: list[pg.ScanToken], i: int) -> int:
    """Where the clause with TABLESPACE at `i` begins: with a constraint, it is USING INDEX TABLESPACE."""
    before = [token.token for token in tokens[max(i - 2, 0) : i]]
    return int(tokens[i - 2 if before == [pg.Token.USING, pg.Token.INDEX] else i].start)


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text.lower()


def _cut(text: str, spans: list[Span]) -> str:
    whole = text.encode()
    for start, end in sorted(spans, reverse=True):
        whole = whole[:start] + whole[end:]
    return whole.decode()


def _checked(text: str, wanted: Message) -> str:
    """The text, if it says what the tree says."""
    found = _parsed(text).stmts
    if len(found) == 1 and _deparsed(postgast.unwrap_node(found[0].stmt)) == _deparsed(wanted):
        return text
    raise Inexact("CONCURRENTLY or TABLESPACE cannot be taken out of a command")


def _deparsed(node: Message) -> str:
    """Raises Inexact if libpg_query cannot write that tree as SQL."""
    tree = pg.ParseResult(stmts=[pg.RawStmt(stmt=_wrapped(node))])
    try:
        return str(postgast.deparse(tree))
    except postgast.PgQueryError as error:
        raise Inexact(f"{type(node).__name__} cannot be written as SQL ({error.message})") from error


def _wrapped(node: Message) -> pg.Node:
    """A node as its parent holds it."""
    wrapped = pg.Node()
    for field in pg.Node.DESCRIPTOR.fields:
        if field.message_type is type(node).DESCRIPTOR:
            getattr(wrapped, field.name).CopyFrom(node)
    return wrapped
