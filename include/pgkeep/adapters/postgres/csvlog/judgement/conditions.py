"""The WHERE of an UPDATE or DELETE: which rows of a table it names, told from its tree."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from .catalog import Catalog, Column, Relation
from .doubtful import Doubtful
from .literals import Literal, is_literal, literal
from .values import INTEGERS, check_comparable, check_compared, elements, key_text

EQUAL, UNEQUAL = frozenset({"="}), frozenset({"<>"})
ORDER = frozenset({"<", "<=", ">", ">="})
LIKE = frozenset({"~~", "!~~"})
BETWEEN = frozenset({pg.AEXPR_BETWEEN, pg.AEXPR_NOT_BETWEEN, pg.AEXPR_BETWEEN_SYM, pg.AEXPR_NOT_BETWEEN_SYM})
BEHIND = {
    "BETWEEN": ("<=", ">="),
    "NOT BETWEEN": ("<", ">"),
    "BETWEEN SYMMETRIC": ("<=", ">="),
    "NOT BETWEEN SYMMETRIC": ("<", ">"),
}
"""The operators that these words stand for."""
Matches = dict[str, list[Literal]]
"""By column: the only values of it that a row may have."""
MOST_KEYS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a statement's names and literals belong. `bound`: its literals may have been parameters."""

    catalog: Catalog
    relation: Relation
    alias: str
    text: bytes
    bound: bool

    def column(self, node: Message) -> Column | None:
        """The column that a node names; None if it names none. Raises Doubtful: one of another table."""
        if not isinstance(node, pg.ColumnRef):
            return None
        names = [str(part.string.sval) for part in node.fields]
        known: tuple[list[str], ...] = ([], [self.alias], [self.relation.schema, self.alias])
        found = self.relation.column(names[-1]) if names[:-1] in known else None
        if found is None:
            raise Doubtful("a WHERE with something other than the table's columns")
        return found

    def literal(self, node: Message) -> Literal:
        return literal(node, self.text, self.catalog.types)


def matches(node: Message, scope: Scope) -> Matches:
    """What a condition says about single columns. Raises Doubtful if it is not one of columns with literals."""
    match node:
        case pg.BoolExpr():
            return _combined(node, scope)
        case pg.A_Expr():
            return _compared(node, scope)
        case pg.NullTest() | pg.BooleanTest():
            return _tested(unwrap_node(node.arg), scope)
        case pg.ColumnRef():
            return _tested(node, scope)
    if isinstance(node, pg.A_Const) and node.HasField("boolval"):
        return {}
    raise Doubtful(f"a WHERE with something other than comparisons with literals ({type(node).__name__})")


def keys(found: Matches, relation: Relation) -> tuple[str, ...] | None:
    """The texts of the primary keys that those values make up; None: it may be any row."""
    columns = [column for column in relation.columns if column.name in relation.key]
    if not relation.key or relation.unique or any(column.name not in found for column in columns):
        return None
    texts = [[key_text(value, column) for value in found[column.name]] for column in columns]
    if any(text is None for each in texts for text in each):
        return None
    rows = itertools.product(*texts)
    some = tuple(dict.fromkeys(joined([str(text) for text in row]) for row in itertools.islice(rows, MOST_KEYS + 1)))
    return some if len(some) <= MOST_KEYS else None


def joined(texts: list[str]) -> str:
    """The text of a key of several columns: no two of them have one in common."""
    return texts[0] if len(texts) == 1 else "".join(f"{len(text)}:{text}" for text in texts)


def _combined(node: pg.BoolExpr, scope: Scope) -> Matches:
    """Only ANDed conditions restrict a column."""
    every = [matches(unwrap_node(arg), scope) for arg in node.args]
    if node.boolop != pg.AND_EXPR:
        return {}
    return {name: values for each in every for name, values in each.items()}


def _tested(node: Message, scope: Scope) -> Matches:
    if scope.column(node) is None:
        raise Doubtful(f"a WHERE with something other than columns ({type(node).__name__})")
    return {}


def _compared(node: pg.A_Expr, scope: Scope) -> Matches:
    column, other = _sides(node, scope)
    operator = str(node.name[-1].string.sval)
    operators = BEHIND.get(operator, (operator,))
    if len(node.name) > 1 or scope.catalog.operators.intersection(operators):
        raise Doubtful("an operator that may be one of this database")
    values, ordered = list(_values(node, other, column, scope)), bool(ORDER.intersection(operators))
    if operators[0] in LIKE:
        column = replace(column, type="text")  # PostgreSQL has no other LIKE
    for value in values:
        check_compared(value, column, bound=scope.bound, ordered=ordered)
    equal = operator == "=" and node.kind in {pg.AEXPR_OP, pg.AEXPR_IN, pg.AEXPR_OP_ANY}
    return {column.name: values} if equal else {}


def _sides(node: pg.A_Expr, scope: Scope) -> tuple[Column, Message]:
    """The column and what it is compared with. A literal may stand first, where there is but one."""
    left, right = unwrap_node(node.lexpr), unwrap_node(node.rexpr)
    column = None if is_literal(left) else scope.column(left)
    if column is not None:
        return column, right
    column = scope.column(right) if node.kind == pg.AEXPR_OP and is_literal(left) else None
    if column is None:
        raise Doubtful("a WHERE in which something is computed")
    return column, left


def _values(node: pg.A_Expr, other: Message, column: Column, scope: Scope) -> Iterator[Literal]:
    operator = str(node.name[-1].string.sval)
    if node.kind in {pg.AEXPR_IN, *BETWEEN}:
        yield from (scope.literal(unwrap_node(item)) for item in other.items)
    elif node.kind == pg.AEXPR_OP_ANY and operator == "=":
        yield from _array(other, column, scope)
    elif node.kind == pg.AEXPR_LIKE and operator in LIKE:
        yield _pattern(scope.literal(other), column)
    elif node.kind in {pg.AEXPR_OP, pg.AEXPR_DISTINCT, pg.AEXPR_NOT_DISTINCT} and operator in EQUAL | UNEQUAL | ORDER:
        yield scope.literal(other)
    else:
        raise Doubtful(f"a WHERE with {operator}")


def _array(node: Message, column: Column, scope: Scope) -> Iterator[Literal]:
    """= ANY of an array: '{1,2}', or ARRAY[1,2] for whole numbers."""
    check_comparable(column, ordered=False)
    if isinstance(node, pg.A_ArrayExpr) and column.type in INTEGERS:
        yield from (scope.literal(unwrap_node(item)) for item in node.elements)
        return
    whole = scope.literal(node)
    known = whole.cast in {None, "_" + column.type} or {str(whole.cast)[1:], column.type} <= INTEGERS.keys()
    if whole.form != "text" or not known or not column.system:
        raise Doubtful("a WHERE with an array that is not a literal of the column's type")
    yield from elements(whole, column)


def _pattern(value: Literal, column: Column) -> Literal:
    if value.form != "text" or column.type not in {"text", "varchar"}:
        raise Doubtful("a WHERE with LIKE on something other than text")
    return value
