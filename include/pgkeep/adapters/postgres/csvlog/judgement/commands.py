"""Statements other than INSERT, UPDATE and DELETE: which of them change no rows that are kept."""

from collections.abc import Callable, Mapping

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node, walk

from .doubtful import Doubtful
from .settings import check_setting
from .targets import Targets

HARMLESS = frozenset({
    "VariableShowStmt", "ListenStmt", "UnlistenStmt", "NotifyStmt", "FetchStmt", "ClosePortalStmt", "LockStmt",
    "DiscardStmt", "DeallocateStmt", "PrepareStmt", "VacuumStmt", "CheckPointStmt", "ReindexStmt",
    "ClusterStmt",
})  # fmt: skip
"""Statements that change no rows."""


def check_command(node: Message, targets: Targets) -> None:
    """Raises Doubtful if a statement other than INSERT, UPDATE and DELETE may change rows that are kept."""
    kind = type(node).__name__
    rule = RULES.get(kind)
    if rule:
        rule(targets, node)
    elif kind not in HARMLESS:
        raise Doubtful(OTHERS.get(kind, f"a command that pgkeep does not carry ({kind.removesuffix('Stmt')})"))


def _read(targets: Targets, node: Message) -> None:
    targets.reader.check(node)


def _explained(targets: Targets, node: pg.ExplainStmt) -> None:
    """With ANALYZE, the statement runs."""
    query = unwrap_node(node.query)
    if not any(option.def_elem.defname == "analyze" for option in node.options):
        return
    if not isinstance(query, pg.SelectStmt):
        raise Doubtful("EXPLAIN ANALYZE of a statement that writes")
    targets.reader.check(query)


def _copied(targets: Targets, node: pg.CopyStmt) -> None:
    if not node.is_from:
        if node.HasField("query") and not isinstance(unwrap_node(node.query), pg.SelectStmt):
            raise Doubtful("COPY of what a statement that writes returns")
        targets.reader.check(node)
    elif targets.is_kept(node.relation):
        relation = targets.resolved(node.relation)
        raise Doubtful(f"COPY FROM {relation.label if relation else 'into some table'}: the rows are not in the log")
    else:
        targets.check_unkept(node, node.relation, "INSERT")


def _merged(targets: Targets, node: pg.MergeStmt) -> None:
    if targets.is_kept(node.relation):
        relation = targets.resolved(node.relation)
        raise Doubtful(f"MERGE into {relation.label if relation else 'some table'}")
    targets.check_unkept(node, node.relation, "INSERT", "UPDATE", "DELETE")


def _emptied(targets: Targets, node: pg.TruncateStmt) -> None:
    relations = [item.range_var for item in node.relations]
    for relation in relations:
        if targets.is_kept(relation) or node.behavior == pg.DROP_CASCADE:
            found = targets.resolved(relation)
            raise Doubtful(f"TRUNCATE {found.label if found else 'of some table'}")
        targets.check_unkept(relation, relation, "TRUNCATE")


def _created(targets: Targets, node: pg.CreateStmt) -> None:
    """A temporary table is nobody's business, unless its name may be taken for another one."""
    name = str(node.relation.relname)
    if node.relation.relpersistence != "t" and node.relation.schemaname != "pg_temp":
        raise Doubtful("CREATE TABLE")
    if node.inh_relations or not targets.is_free(name):
        raise Doubtful("CREATE TEMP TABLE with the name of another relation, or of another table's family")
    for _, part in walk(node):
        if isinstance(part, pg.TableLikeClause) and any(
            one.calling or one.calling_defaults for one in targets.catalog.named(part.relation.relname)
        ):
            raise Doubtful("CREATE TEMP TABLE LIKE one that calls a volatile function")
    targets.reader.check(node, but=[node.relation.location])
    targets.temporary.add(name)


def _created_as(targets: Targets, node: pg.CreateTableAsStmt) -> None:
    target, query = node.into.rel, unwrap_node(node.query)
    name = str(target.relname)
    if target.relpersistence != "t" or not isinstance(query, pg.SelectStmt):
        raise Doubtful("CREATE TABLE AS, or a materialized view")
    if not targets.is_free(name):
        raise Doubtful("CREATE TEMP TABLE with the name of another relation, or of another table's family")
    targets.reader.check(query)
    targets.temporary.add(name)


def _dropped(targets: Targets, node: pg.DropStmt) -> None:
    names = [[str(part.string.sval) for part in item.list.items] for item in node.objects]
    if node.remove_type != pg.OBJECT_TABLE or not all(_only_temporary(targets, name) for name in names):
        raise Doubtful("DROP")


def _only_temporary(targets: Targets, name: list[str]) -> bool:
    schema = name[-2] if len(name) > 1 else ""
    return targets.is_temporary(pg.RangeVar(schemaname=schema, relname=name[-1]))


def _indexed(targets: Targets, node: pg.IndexStmt) -> None:
    if not targets.is_temporary(node.relation):
        raise Doubtful("CREATE INDEX")
    targets.reader.check(node)


def _declared(targets: Targets, node: pg.DeclareCursorStmt) -> None:
    targets.reader.check(unwrap_node(node.query))


def _set(_: Targets, node: pg.VariableSetStmt) -> None:
    check_setting(node)


def _deferred(targets: Targets, _: pg.ConstraintsSetStmt) -> None:
    if any(relation.deferrable for relation in targets.catalog.relations.values()):
        raise Doubtful("SET CONSTRAINTS: keys that may be broken for a while")


RULES: Mapping[str, Callable[[Targets, Message], None]] = {
    "SelectStmt": _read,
    "ExplainStmt": _explained,
    "CopyStmt": _copied,
    "MergeStmt": _merged,
    "TruncateStmt": _emptied,
    "CreateStmt": _created,
    "CreateTableAsStmt": _created_as,
    "DropStmt": _dropped,
    "IndexStmt": _indexed,
    "DeclareCursorStmt": _declared,
    "VariableSetStmt": _set,
    "ConstraintsSetStmt": _deferred,
}
OTHERS: Mapping[str, str] = {
    "DoStmt": "DO: what it did is not in the log",
    "CallStmt": "CALL: what it did is not in the log",
    "ExecuteStmt": "EXECUTE",
}
