"""What a statement that reads may do besides: only functions, operators and casts of users can write then.

A function of users counts by its volatility: one that is declared STABLE or IMMUTABLE and writes nevertheless is
against PostgreSQL's own rule, and is not found out.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node, walk

from pgkeep.adapters.postgres.ddl.text import words

from .catalog import Catalog
from .doubtful import Doubtful
from .settings import is_harmless

WRITING = re.compile(
    r"lo_.*|lo(?:write|read)|set_config|ts_stat|ts_rewrite|.*_to_xml.*|pg_import_.*|binary_upgrade_.*"
    r"|pg_(?:restore|clear)_.*|pg_extension_config_dump"
)
"""PostgreSQL's own functions that change more than sequences, or run a text as a query."""
SYNTAX = words("""
    json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize
    json_table json_value merge_action
""")
"""Functions that newer versions have a syntax of their own for, but older ones may have from users."""
FORBIDDEN: Mapping[str, str] = {
    "InsertStmt": "INSERT within another statement",
    "UpdateStmt": "UPDATE within another statement",
    "DeleteStmt": "DELETE within another statement",
    "MergeStmt": "MERGE within another statement",
    "IntoClause": "SELECT INTO",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Sees to it that what is read has no effects. `temporary`: further names of temporary tables."""

    catalog: Catalog
    temporary: frozenset[str]

    def check(self, node: Message, *, but: Iterable[int] = ()) -> None:
        """Raises Doubtful if running that node may write, other than itself; `but`: places of relations it writes."""
        parts = [message for _, message in walk(node)]
        own = {str(part.ctename) for part in parts if isinstance(part, pg.CommonTableExpr)}
        if self.catalog.volatile & SYNTAX:
            raise Doubtful("a volatile function of this database has the name of PostgreSQL's own syntax")
        if self.catalog.volatile_casts:
            raise Doubtful("a cast or a domain of this database calls a volatile function")
        for i, part in enumerate(parts):
            if isinstance(part, pg.RangeVar):
                if part.location not in but:
                    self.check_relation(part, own=own)
            elif i and type(part).__name__ in FORBIDDEN:
                raise Doubtful(FORBIDDEN[type(part).__name__])
            elif rule := RULES.get(type(part)):
                rule(self.catalog, part)

    def check_relation(self, node: pg.RangeVar, *, own: Iterable[str] = ()) -> None:
        """Raises Doubtful if reading that relation may write. `own`: names that the statement itself gives."""
        name, schema = str(node.relname), str(node.schemaname)
        if schema in {"pg_catalog", "information_schema"}:
            return
        found = [relation for relation in self.catalog.named(name) if schema in {"", relation.schema}]
        if any(relation.restless for relation in found):
            raise Doubtful(f"SELECT from {found[0].label}: it may call a volatile function")
        if name in self.catalog.busy:
            raise Doubtful("SELECT from a temporary relation that may do something else")
        known = found or name in own or self.is_temporary(name) or name in self.catalog.system | self.catalog.others
        if not known:
            raise Doubtful("SELECT from a relation that is not known")

    def is_temporary(self, name: str) -> bool:
        return name in self.catalog.temporary or name in self.temporary


def _check_function(catalog: Catalog, node: Message) -> None:
    names = [str(part.string.sval) for part in node.funcname]
    name, own = names[-1], names[:-1] in ([], ["pg_catalog"])
    if own and name == "set_config" and _sets_harmless(node):
        return
    if own and WRITING.fullmatch(name):
        raise Doubtful(f"a call of {name}(): it may write")
    if names[:-1] == ["pg_catalog"]:
        return
    if name in catalog.volatile:
        raise Doubtful(f"a call of {name}(), a volatile function of this database")
    if name not in catalog.users_functions and not (own and name in catalog.functions | catalog.types):
        raise Doubtful("a call of a function that is not known")


def _sets_harmless(node: Message) -> bool:
    """As pg_dump does it, with the name as a constant."""
    name = unwrap_node(node.args[0]) if len(node.args) == 3 else None
    return isinstance(name, pg.A_Const) and is_harmless(str(name.sval.sval).lower())


def _check_operator(catalog: Catalog, node: Message) -> None:
    _check_named(catalog, [part.string.sval for part in node.name if part.HasField("string")])


def _check_link(catalog: Catalog, node: Message) -> None:
    _check_named(catalog, [part.string.sval for part in node.oper_name])


def _check_sort(catalog: Catalog, node: Message) -> None:
    _check_named(catalog, [part.string.sval for part in node.use_op])


def _check_named(catalog: Catalog, names: list[str]) -> None:
    if catalog.volatile_operators.intersection(names):
        raise Doubtful("an operator of this database that calls a volatile function")


def _check_attribute(catalog: Catalog, node: Message) -> None:
    """`t.f` is also the way to write f(t)."""
    parts = node.fields[1:] if isinstance(node, pg.ColumnRef) else node.indirection
    for part in map(unwrap_node, parts):
        if isinstance(part, pg.String) and part.sval in catalog.volatile:
            raise Doubtful(f"a call of {part.sval}(), a volatile function of this database")


RULES: Mapping[type[Message], Callable[[Catalog, Message], None]] = {
    pg.FuncCall: _check_function,
    pg.A_Expr: _check_operator,
    pg.SubLink: _check_link,
    pg.SortBy: _check_sort,
    pg.ColumnRef: _check_attribute,
    pg.A_Indirection: _check_attribute,
}
