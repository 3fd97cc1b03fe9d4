"""The literals of a statement: what stands there, however the session was set that sent it.

Places are bytes of UTF-8. See https://www.postgresql.org/docs/current/sql-syntax-lexical.html.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal as OneOf

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from .doubtful import Doubtful

Form = OneOf["null", "boolean", "integer", "decimal", "text"]

# With standard_conforming_strings off, a backslash before a quote moves the end of an ordinary string.
TOKEN = re.compile(
    rb"--[^\n\r]*|/\*[^*/]*\*/"
    rb"|(?<![\w$\x80-\xff])[eE]'(?:[^'\\]|\\.|'')*'"
    rb"|'(?:[^']|'')*'"
    rb'|"(?:[^"]|"")*"'
    rb"|(?<![\w$.\x80-\xff])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.$\x80-\xff])",
    re.DOTALL,
)
UNEVEN = re.compile(rb"(?<!\\)(?:\\\\)*\\'")
PECULIAR = re.compile(rb"\$|[uU]&[\"']|/\*")
NUMBER = re.compile(rb"(?:-\s*)?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.$\x80-\xff])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A value as it is written. `value`: of a text what it says, of a number its digits; empty for NULL.

    `cast`: the type it is cast to, as pg_type names it; None: it is not.
    """

    form: Form
    value: str = ""
    cast: str | None = None


def literal(node: Message, text: bytes, types: Collection[str]) -> Literal:
    """The literal that a node is; `types`: names of users' types. Raises Doubtful."""
    if isinstance(node, pg.TypeCast):
        inner = _constant(unwrap_node(node.arg), text)
        return Literal(form=inner.form, value=inner.value, cast=_cast(node.type_name, types))
    return _constant(node, text)


def is_literal(node: Message) -> bool:
    """Whether it is one, or a cast of one."""
    return isinstance(node, pg.A_Const) or (isinstance(node, pg.TypeCast) and node.arg.HasField("a_const"))


def template(text: bytes) -> bytes | None:
    """The text without its comments and its literals' values; None if it is not certain where they are."""
    blank = TOKEN.sub(_blank, text)
    return None if PECULIAR.search(blank) else blank


def check_quotes(text: bytes) -> None:
    """Raises Doubtful if strings may end elsewhere, with standard_conforming_strings off."""
    if b"\\'" in text and (template(text) is None or any(_is_uneven(token) for token in TOKEN.findall(text))):
        raise Doubtful("a string with a backslash before a quote: its end depends on standard_conforming_strings")


def _is_uneven(token: bytes) -> bool:
    return token.startswith(b"'") and UNEVEN.search(token, 1) is not None


def _blank(found: re.Match[bytes]) -> bytes:
    token = found[0]
    if token.startswith(b'"'):
        return token
    if token.startswith((b"--", b"/*")):
        return b" "
    return b"0" if token[0:1].isdigit() else token[: token.index(b"'")] + b"''"


def _constant(node: Message, text: bytes) -> Literal:
    if not isinstance(node, pg.A_Const):
        raise Doubtful(f"a value is computed ({type(node).__name__})")
    if node.isnull:
        return Literal(form="null")
    match node.WhichOneof("val"):
        case "boolval":
            return Literal(form="boolean", value="true" if node.boolval.boolval else "false")
        case "ival" | "fval":
            return _number(node, text)
        case "sval":
            return _string(node, text)
    raise Doubtful("a bit string as a value")


def _number(node: pg.A_Const, text: bytes) -> Literal:
    """Only as every version of PostgreSQL reads it: hexadecimal ones and underscores are new."""
    found = NUMBER.match(text, node.location)
    if not found:
        raise Doubtful("a number in a notation that not every server knows")
    digits = found[0].decode().replace(" ", "")
    form: Form = "integer" if re.fullmatch(r"-?\d+", digits) else "decimal"
    return Literal(form=form, value=digits)


def _string(node: pg.A_Const, text: bytes) -> Literal:
    """Those with E, and those in dollars, say the same in every session."""
    value, opening = str(node.sval.sval), text[node.location : node.location + 1]
    if opening not in {b"'", b"E", b"e", b"$"}:
        raise Doubtful("a string in a notation that depends on settings")
    if opening == b"'" and "\\" in value:
        raise Doubtful("a string with a backslash: what it says depends on standard_conforming_strings")
    return Literal(form="text", value=value)


def _cast(name: pg.TypeName, types: Collection[str]) -> str:
    parts = [str(part.string.sval) for part in name.names]
    if name.typmods or name.setof or name.pct_type or len(name.array_bounds) > 1:
        raise Doubtful("a value is cast to a type with a length")
    if (len(parts) == 1 and parts[0] not in types) or parts[:-1] == ["pg_catalog"]:
        return "_" * len(name.array_bounds) + parts[-1]
    raise Doubtful("a value is cast to a type of this database")
