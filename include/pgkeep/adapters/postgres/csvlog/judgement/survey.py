"""A catalog read from a database: one query for each kind of fact, all of them as the session's snapshot sees them."""

import itertools
from collections.abc import Iterator, Mapping
from importlib.resources import files
from operator import itemgetter
from typing import Any

import postgast
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from pgkeep.adapters.postgres.gate import Session

from .catalog import Catalog, Collation, Column, Default, Name, Relation
from .literals import is_literal
from .origins import STRINGS
from .values import NUMBERS

CODECS: Mapping[str, str] = {
    "UTF8": "utf-8",
    "SQL_ASCII": "latin-1",  # its bytes are whatever they are
    "LATIN1": "latin-1",
    "LATIN2": "iso8859-2",
    "LATIN5": "iso8859-9",
    "LATIN9": "iso8859-15",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "KOI8R": "koi8-r",
    "EUC_JP": "euc_jp",
    "EUC_KR": "euc_kr",
}
"""Server encodings that Python can turn into UTF-8 and back byte for byte, which is checked for every text."""
Row = tuple[object, ...]
WITHOUT_CASTS = NUMBERS | STRINGS
"""Types to which a constant is cast the same way at any time, whatever its own type."""


def survey(connection: Session) -> Catalog:
    """What decides, in the database of that session. Raises psycopg.Error."""
    asked = {name: connection.execute(query).fetchall() for name, query in _queries().items()}
    columns = {key: tuple(map(_column, rows)) for key, rows in _by_relation(asked["columns"])}
    relations = [_relation(row, columns.get(_name(row), ())) for row in asked["relations"]]
    names = {str(kind): frozenset(map(str, _list(found))) for kind, found in asked["names"]}
    encoding, odd_casts, volatile_casts, rounding = asked["facts"][0]
    return Catalog(
        codec=CODECS.get(str(encoding)),
        relations={(relation.schema, relation.name): relation for relation in relations},
        odd_casts=bool(odd_casts),
        volatile_casts=bool(volatile_casts),
        rounding=bool(rounding),
        **{kind: names.get(kind, frozenset()) for kind in NAMES},
    )


NAMES = (
    "others",
    "system",
    "temporary",
    "busy",
    "functions",
    "users_functions",
    "volatile",
    "operators",
    "volatile_operators",
    "types",
)


def _queries() -> dict[str, str]:
    """By their names, which stand in the file in lines of their own."""
    text = files(__package__).joinpath("survey.sql").read_text(encoding="utf-8")
    shared, *parts = text.split("-- :")
    named = (part.split("\n", 1) for part in parts)
    return {name.strip(): shared + query for name, query in named}


def _by_relation(rows: list[Row]) -> Iterator[tuple[Name, list[Row]]]:
    for key, group in itertools.groupby(rows, key=itemgetter(0, 1)):
        yield (str(key[0]), str(key[1])), list(group)


def _name(row: Row) -> Name:
    return str(row[0]), str(row[1])


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _relation(row: Row, columns: tuple[Column, ...]) -> Relation:
    """The columns are those of `relations` in survey.sql."""
    schema, name, kind, key, triggers, on_update, *facts = row
    return Relation(
        schema=str(schema),
        name=str(name),
        kind=str(kind),
        columns=columns,
        key=tuple(map(str, _list(key))),
        triggers=frozenset(map(str, _list(triggers))),
        on_update=frozenset(map(str, _list(on_update))),
        **dict[str, Any](zip(FLAGS, map(bool, facts), strict=True)),
    )


FLAGS = (
    "unique",
    "deferrable",
    "rules",
    "row_security",
    "restless",
    "calling",
    "calling_defaults",
    "family",
    "parent",
    "unlogged",
    "of_extension",
    "on_delete",
)


def _column(row: Row) -> Column:
    """The columns are those of `columns` in survey.sql."""
    _, _, name, type_, shown, system, enum, modifier, immutable, expression, computed, generated, equal, bytewise = row
    collation: Collation = "bytes" if bytewise else "equal" if equal else "loose"
    default: Default = "computed" if computed else "none"
    if expression is not None and not computed:
        default = "constant" if is_constant(str(expression), str(type_), str(shown)) else "computed"
    return Column(
        name=str(name),
        type=str(type_),
        system=bool(system),
        enum=bool(enum),
        modifier=int(str(modifier)),
        immutable=bool(immutable),
        default=default,
        generated=bool(generated),
        collation=collation,
    )


def is_constant(expression: str, type_: str, shown: str) -> bool:
    """Whether a default, as pg_get_expr writes it, is a value that was read when the table was defined.

    A constant of another type may be cast without a word of it, from a date to a moment for instance. `shown`: the
    column's type, as format_type writes it.
    """
    try:
        (statement,) = postgast.parse(f"SELECT {expression}").stmts
    except (postgast.PgQueryError, DecodeError, ValueError):
        return False
    value = unwrap_node(unwrap_node(statement.stmt).target_list[0].res_target.val)
    own = type_ in WITHOUT_CASTS or isinstance(value, pg.A_Const) or expression.endswith(f"::{shown}")
    return own and _is_constant(value)


def _is_constant(node: Message) -> bool:
    """A cast of a cast is constant between texts only: 'now'::text::timestamp is not."""
    if is_literal(node):
        return True
    if isinstance(node, pg.A_ArrayExpr):
        return all(_is_constant(unwrap_node(item)) for item in node.elements)
    if not isinstance(node, pg.TypeCast):
        return False
    inner = unwrap_node(node.arg)
    if isinstance(inner, pg.A_ArrayExpr):
        return all(isinstance(unwrap_node(item), pg.A_Const) for item in inner.elements)
    return _type(node) in STRINGS and isinstance(inner, pg.TypeCast) and _type(inner) in STRINGS and _is_constant(inner)


def _type(node: pg.TypeCast) -> str:
    return str(node.type_name.names[-1].string.sval)
