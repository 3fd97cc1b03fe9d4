"""INSERT, UPDATE and DELETE that give the same again: of literals, in rows that literals name."""

import re
from collections.abc import Iterator
from typing import TypeAlias

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from pgkeep.adapters.postgres.csvlog.model import Write
from pgkeep.adapters.postgres.gate import quoted

from .catalog import Catalog, Column, Relation
from .conditions import Matches, Scope, keys, matches
from .doubtful import Doubtful
from .literals import Literal
from .origins import FLOATS
from .values import INTEGERS, check_stored

Dml: TypeAlias = pg.InsertStmt | pg.UpdateStmt | pg.DeleteStmt
VERBS: dict[type[Message], str] = {pg.InsertStmt: "INSERT", pg.UpdateStmt: "UPDATE", pg.DeleteStmt: "DELETE"}
KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "p": "a partitioned table",
    "S": "a sequence",
}
ROUNDED = FLOATS | {"numeric", *INTEGERS}
"""Types of columns whose parameters may have been floats."""

NAME = re.compile(rb'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)')
DOT = re.compile(rb"\s*\.\s*")
RETURNING = re.compile(rb"\breturning\s+$", re.IGNORECASE)
PLAIN_VALUES = {"values_lists", "limit_option", "op"}
"""The fields of a VALUES without anything else."""


def described(node: Dml, relation: Relation | None) -> str:
    """What is done to which table, for people."""
    return f"{VERBS[type(node)]} {relation.label if relation else 'of some table'}"


def write(node: Dml, relation: Relation | None, text: bytes, catalog: Catalog, *, bound: bool) -> Write:
    """What such a statement does to its table. Raises Doubtful if that is not certain."""
    if relation is None:
        raise Doubtful("its name alone does not tell which")
    check_table(relation, VERBS[type(node)])
    scope = Scope(
        catalog=catalog,
        relation=relation,
        alias=str(node.relation.alias.aliasname or relation.name),
        text=text,
        bound=bound,
    )
    if catalog.codec != "utf-8" and not "".join(column.name for column in relation.columns).isascii():
        raise Doubtful("its columns' names are not ASCII, and the database's encoding is not UTF-8")
    if catalog.odd_casts:
        raise Doubtful("casts of this database between PostgreSQL's own types")
    if node.HasField("with_clause"):
        raise Doubtful("WITH")
    if isinstance(node, pg.InsertStmt):
        return _inserted(node, scope)
    return _updated(node, scope) if isinstance(node, pg.UpdateStmt) else _deleted(node, scope)


def check_table(relation: Relation, verb: str) -> None:
    """Raises Doubtful if writing to it does more than that, or cannot be told apart from other tables' rows."""
    if relation.kind != "r":
        raise Doubtful(f"it is {KINDS.get(relation.kind, 'no table')}")
    if relation.family:
        raise Doubtful("it is a partition, or inherits")
    if relation.unlogged:
        raise Doubtful("it is UNLOGGED: a crash empties it")
    if relation.of_extension:
        raise Doubtful("it belongs to an extension, or to pgkeep")
    if relation.row_security:
        raise Doubtful("it has row security")
    check_effects(relation, verb)


def check_effects(relation: Relation, verb: str) -> None:
    """Raises Doubtful if writing to it makes more happen elsewhere."""
    if verb in relation.triggers:
        raise Doubtful("it has a trigger")
    if relation.rules:
        raise Doubtful("it has a rule")
    if relation.calling:
        raise Doubtful("a constraint, index or generated column calls a volatile function")
    if verb == "DELETE" and relation.on_delete:
        raise Doubtful("rows of another table that refer to it are changed, too")


def spliced(node: Dml, done: Write, text: bytes, *, begin: int) -> bytes:
    """The text from `begin`, with the table's full name and without RETURNING.

    Raises Doubtful if it is not certain where these are.
    """
    start = int(node.relation.location)
    end, parts = start, [part for part in (node.relation.schemaname, node.relation.relname) if part]
    for i, part in enumerate(parts):
        dot = DOT.match(text, end) if i else None
        found = NAME.match(text, dot.end() if dot else end)
        if not found or bool(i) != bool(dot) or _name(found[0]) != part:
            raise Doubtful("its name is written in an unusual way")
        end = found.end()
    until = _before_returning(node, text)
    name = quoted(done.schema, done.name).encode()
    return text[begin:start] + name + text[end:until]


def _name(written: bytes) -> str:
    text = written.decode()
    return text[1:-1].replace('""', '"') if text.startswith('"') else text.lower()


def _before_returning(node: Dml, text: bytes) -> int:
    """Where RETURNING begins, or the end. What it returns is nobody's then: only columns are let go without regret."""
    if not node.HasField("returning_clause"):
        return len(text)
    clause = node.returning_clause
    found = RETURNING.search(text[: clause.exprs[0].res_target.location])
    plain = all(isinstance(unwrap_node(item.res_target.val), pg.ColumnRef) for item in clause.exprs)
    if clause.options or not plain or not found:
        raise Doubtful("RETURNING with something other than columns")
    return found.start()


# --- INSERT ----------------------------------------------------------------------------------------------------------


def _inserted(node: pg.InsertStmt, scope: Scope) -> Write:
    rows = _rows(node)
    columns = _columns(node, scope.relation, width=len(rows[0]))
    _check_missing(scope.relation, columns)
    found = [_row(row, columns, scope) for row in rows]
    texts = [keys(values, scope.relation) for values in found]
    known = tuple(key for each in texts if each for key in each)
    exact = all(each is not None for each in texts)
    relation = scope.relation
    return Write(schema=relation.schema, name=relation.name, keys=known if exact else None, inserted=len(rows))


def _rows(node: pg.InsertStmt) -> list[list[Message]]:
    values = node.select_stmt.select_stmt
    if node.HasField("on_conflict_clause"):
        raise Doubtful("ON CONFLICT")
    if not node.HasField("select_stmt"):
        raise Doubtful("DEFAULT VALUES")
    if not values.values_lists or {field.name for field, _ in values.ListFields()} - PLAIN_VALUES:
        raise Doubtful("rows that are selected")
    if node.override == pg.OVERRIDING_USER_VALUE:
        raise Doubtful("OVERRIDING USER VALUE")
    return [[unwrap_node(item) for item in row.list.items] for row in values.values_lists]


def _columns(node: pg.InsertStmt, relation: Relation, *, width: int) -> list[Column]:
    if not node.cols:
        return list(relation.columns[:width])
    return [_target(relation, item.res_target) for item in node.cols]


def _target(relation: Relation, target: pg.ResTarget) -> Column:
    column = relation.column(str(target.name))
    if column is None or target.indirection:
        raise Doubtful("a part of a column, or a column that is not known")
    return column


def _check_missing(relation: Relation, columns: list[Column]) -> None:
    for column in relation.columns:
        if column not in columns and column.default == "computed" and not column.generated:
            raise Doubtful(f"no value for {column.name}, whose default is computed")


def _row(row: list[Message], columns: list[Column], scope: Scope) -> Matches:
    if len(row) != len(columns):
        raise Doubtful("a row without a value for each column")
    stored = ((column, _stored(value, column, scope)) for value, column in zip(row, columns, strict=True))
    return {column.name: [value] for column, value in stored if value is not None}


def _stored(node: Message, column: Column, scope: Scope) -> Literal | None:
    """The literal that is stored; None for DEFAULT, where that is a constant or computed from the row itself."""
    if isinstance(node, pg.SetToDefault):
        if column.default == "computed" and not column.generated:
            raise Doubtful(f"DEFAULT for {column.name}, which is computed")
        return None
    value = scope.literal(node)
    if scope.bound and scope.catalog.rounding and column.type in ROUNDED:
        raise Doubtful("a parameter may have been a float, and extra_float_digits rounds it in the log")
    check_stored(value, column, bound=scope.bound)
    return value


# --- UPDATE, DELETE --------------------------------------------------------------------------------------------------


def _updated(node: pg.UpdateStmt, scope: Scope) -> Write:
    relation = scope.relation
    if node.from_clause:
        raise Doubtful("UPDATE .. FROM")
    columns = {column.name for column in _assigned(node, scope)}
    if columns & relation.on_update:
        raise Doubtful("rows of another table that refer to it are changed, too")
    found = _where(node, scope)
    moved = columns.intersection(relation.key)
    return Write(schema=relation.schema, name=relation.name, keys=None if moved else found, inserted=0)


def _assigned(node: pg.UpdateStmt, scope: Scope) -> Iterator[Column]:
    for item in node.target_list:
        column = _target(scope.relation, item.res_target)
        _stored(unwrap_node(item.res_target.val), column, scope)
        yield column


def _deleted(node: pg.DeleteStmt, scope: Scope) -> Write:
    if node.using_clause:
        raise Doubtful("DELETE .. USING")
    relation = scope.relation
    return Write(schema=relation.schema, name=relation.name, keys=_where(node, scope), inserted=0, removes=True)


def _where(node: pg.UpdateStmt | pg.DeleteStmt, scope: Scope) -> tuple[str, ...] | None:
    if not node.HasField("where_clause"):
        return None
    return keys(matches(unwrap_node(node.where_clause), scope), scope.relation)
