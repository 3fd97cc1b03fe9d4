"""Which statements give the same again, told from their trees; all others are `Inexact`.

A statement may run again if all it does follows from its text, the session's settings and the schema before it: then
a copy of that schema becomes a copy of the next one. What it must not do is compute values for rows (the time now, the
next number), or read rows in a way that may come out otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from pgkeep.ports import Inexact

from .columns import check_column, check_conversion, check_using, computed, moment, type_of
from .event import DdlEvent
from .text import Statement, if_there, messages, without_place_and_haste, words

CARRIED = words("""
    CreateSchemaStmt IndexStmt ViewStmt CreateSeqStmt AlterSeqStmt CreateTrigStmt RuleStmt
    CreatePolicyStmt AlterPolicyStmt CreateFunctionStmt AlterFunctionStmt CreateStatsStmt AlterStatsStmt
    CompositeTypeStmt CreateEnumStmt AlterEnumStmt CreateRangeStmt AlterTypeStmt CreateDomainStmt AlterDomainStmt
    DefineStmt CreateCastStmt CreateConversionStmt CreateOpClassStmt CreateOpFamilyStmt AlterOpFamilyStmt
    AlterOperatorStmt AlterTSDictionaryStmt AlterTSConfigurationStmt
    RenameStmt AlterObjectSchemaStmt AlterOwnerStmt AlterObjectDependsStmt DropStmt CommentStmt
    GrantStmt AlterDefaultPrivilegesStmt CreatePublicationStmt AlterPublicationStmt
    CreateFdwStmt AlterFdwStmt CreateForeignServerStmt AlterForeignServerStmt
    CreateUserMappingStmt AlterUserMappingStmt DropUserMappingStmt
    CreateStmt CreateForeignTableStmt CreateTableAsStmt AlterTableStmt RefreshMatViewStmt
""")
"""Statements that are carried, if nothing in them speaks against it."""
NOTHING = frozenset({"ReindexStmt", "AlterTableMoveAllStmt", "AlterCollationStmt"})
"""Statements that change nothing a dump of the schema would show."""
REFUSED: Mapping[str, str] = {
    "CreateExtensionStmt": "what an extension's script does depends on the version that a server has",
    "AlterExtensionStmt": "what an extension's script does depends on the version that a server has",
    "AlterExtensionContentsStmt": "what belongs to an extension is decided by its script elsewhere",
    "ImportForeignSchemaStmt": "what it creates depends on another server. Instead: CREATE FOREIGN TABLE",
    "SecLabelStmt": "it needs a provider that other servers may not have",
    "DropOwnedStmt": "it also takes away rights on other databases of a server. Instead: DROP, REVOKE",
    "CreateSubscriptionStmt": "it connects to another server",
    "AlterSubscriptionStmt": "it connects to another server",
    "DropSubscriptionStmt": "it would drop the slot of the subscription that is still in use",
    "CreateAmStmt": "it needs a library that other servers may not have",
    "CreatePLangStmt": "it needs a library that other servers may not have",
    "CreateTransformStmt": "it needs a library that other servers may not have",
    "SelectStmt": "the rows that it selects are known only as rows. Instead: CREATE TABLE, INSERT .. SELECT",
}
"""Statements of which every single one is inexact, and why."""
SILENT = frozenset(
    getattr(pg, f"OBJECT_{name}") for name in ("DATABASE", "TABLESPACE", "ROLE", "PARAMETER_ACL", "EVENT_TRIGGER")
)
"""Kinds of object whose commands fire no event triggers."""
KIND_FIELDS = ("objtype", "object_type", "objecttype", "rename_type", "remove_type")
OUR_SCHEMA = "_pgkeep"

ColumnRule = Callable[[DdlEvent, pg.AlterTableCmd], None]
COLUMN_RULES: Mapping[int, ColumnRule] = {
    pg.AT_AddColumn: check_column,
    pg.AT_AlterColumnType: check_using,
}
ALTERATIONS = frozenset(
    getattr(pg, f"AT_{name}")
    for name in words("""
    AddColumn AlterColumnType DropColumn ColumnDefault DropNotNull SetNotNull DropExpression AddIdentity SetIdentity
    DropIdentity SetStatistics SetOptions ResetOptions SetStorage SetCompression AlterColumnGenericOptions
    AddConstraint AlterConstraint ValidateConstraint DropConstraint ChangeOwner ClusterOn DropCluster DropOids
    SetUnLogged SetRelOptions ResetRelOptions EnableTrig DisableTrig EnableTrigAll DisableTrigAll EnableTrigUser
    DisableTrigUser EnableRule DisableRule AddInherit DropInherit AddOf DropOf ReplicaIdentity EnableRowSecurity
    DisableRowSecurity ForceRowSecurity NoForceRowSecurity GenericOptions AttachPartition DetachPartition
    """)
)
LOUD = "it would fire while later changes are brought back, for rows that hold its effects already"
DETACHED = "it also makes a CHECK constraint that only PostgreSQL can word. Instead: DETACH PARTITION by itself"
UNCARRIED: Mapping[int, tuple[str, str]] = {
    pg.AT_SetLogged: (
        "SET LOGGED",
        "the rows of an unlogged table are in no log. Instead: CREATE TABLE, INSERT .. SELECT",
    ),
    pg.AT_SetAccessMethod: ("SET ACCESS METHOD", "other servers may not have it"),
    pg.AT_SetExpression: ("SET EXPRESSION", "every row gets a computed value"),
    pg.AT_SetTableSpace: (
        "SET TABLESPACE",
        "it stands with other changes. Instead: ALTER TABLE .. SET TABLESPACE by itself",
    ),
    pg.AT_DetachPartitionFinalize: ("DETACH .. FINALIZE", DETACHED),
    pg.AT_EnableAlwaysTrig: ("ENABLE ALWAYS TRIGGER", LOUD),
    pg.AT_EnableReplicaTrig: ("ENABLE REPLICA TRIGGER", LOUD),
    pg.AT_EnableAlwaysRule: ("ENABLE ALWAYS RULE", LOUD),
    pg.AT_EnableReplicaRule: ("ENABLE REPLICA RULE", LOUD),
}
# PostgreSQL's AT_REWRITE_*: which alteration explains that a table was written anew.
REWRITES: Mapping[int, int] = {1: pg.AT_SetUnLogged, 4: pg.AT_AlterColumnType}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """SQL that does it again; `unpopulated`: only if that materialised view holds no rows yet."""

    text: str
    unpopulated: str | None = None


def fires(statement: Statement) -> bool:
    """Whether the command ends with an event."""
    if statement.kind == "SelectStmt":
        return bool(statement.node.HasField("into_clause"))
    known = statement.kind in CARRIED or statement.kind in NOTHING or statement.kind in REFUSED
    return known and not any(getattr(statement.node, field, None) in SILENT for field in KIND_FIELDS)


def replayed(statement: Statement, event: DdlEvent, *, rewrites: int) -> Replay | None:
    """What does the same again; None if there is nothing to do. Raises Inexact.

    `rewrites`: why tables were written anew, the bits of all `table_rewrite` events of this command.
    """
    if statement.kind in REFUSED:
        raise refused(event, REFUSED[statement.kind])
    if statement.kind in NOTHING:
        return None
    if statement.kind not in CARRIED:
        raise refused(event, f"pgkeep does not know {statement.kind}")
    if any(o.kind == "large object" for o in event.objects):
        raise refused(event, "large objects are carried only by full backups")
    if _is_ours(statement) or not _concerns_permanent(statement, event):
        return None
    _check_everything(statement, event)
    replay = SPECIAL.get(statement.kind, _as_it_is)(statement, event)
    _check_rewrites(statement, event, rewrites)
    return replay


def refused(event: DdlEvent, why: str) -> Inexact:
    return Inexact(f"{event.subject} (by {event.current_user}, transaction {event.xid}): {why}")


# --- what holds for every statement ---------------------------------------------------------------------------------


def _check_everything(statement: Statement, event: DdlEvent) -> None:
    if event.settings["standard_conforming_strings"] != "on" and "\\" in statement.text:
        raise refused(event, "with standard_conforming_strings off, its backslashes have another meaning")
    for message in messages(statement.node):
        if why := _objection(message):
            raise refused(event, why)
    if literal := moment(statement.node):
        raise refused(event, f"'{literal}' may stand for the moment of this statement. Instead: now(), CURRENT_DATE")


def _objection(message: Message) -> str | None:
    match message:
        case pg.ParamRef():
            return "it has parameters, and their values are not known"
        case pg.RoleSpec(roletype=pg.ROLESPEC_SESSION_USER):
            return "SESSION_USER is somebody else elsewhere. Instead: the role's name"
        case pg.RangeVar(catalogname=name) if name:
            return f"it names the database {name}, which may come back under another name. Instead: schema.name"
        case pg.RenameStmt(rename_type=pg.OBJECT_SCHEMA):
            return "what is written to its tables afterwards is shown under the schema's old name. Instead: SET SCHEMA"
        case pg.AlterEnumStmt(old_val=name) if name:
            return f"a transaction that ended later may have written {name!r}. Instead: a new value"
        case pg.VariableSetStmt(kind=pg.VAR_SET_CURRENT):
            return "FROM CURRENT depends on the session. Instead: the value"
    return None


def _concerns_permanent(statement: Statement, event: DdlEvent) -> bool:
    """Whether it is about permanent relations. Raises Inexact if about temporary ones, too."""
    names = {
        message.relname
        for message in messages(statement.node)
        if isinstance(message, pg.RangeVar) and not message.schemaname
    } | {type_of(m) for m in messages(statement.node) if isinstance(m, pg.TypeName) and len(m.names) == 1}
    if not names & event.temporary:
        return True
    if isinstance(statement.node, pg.GrantStmt) and names <= event.temporary:
        return False
    raise refused(event, f"it uses the session's temporary {', '.join(sorted(names & event.temporary))}")


def _is_ours(statement: Statement) -> bool:
    """Whether rights are granted on what is pgkeep's own: such events name no object."""
    if not isinstance(statement.node, pg.GrantStmt):
        return False
    objects = [unwrap_node(item) for item in statement.node.objects]
    return bool(objects) and all(_schema(item) == OUR_SCHEMA for item in objects)


def _schema(item: Message) -> str:
    match item:
        case pg.RangeVar():
            return str(item.schemaname)
        case pg.ObjectWithArgs() if len(item.objname) > 1:
            return str(item.objname[0].string.sval)
        case pg.String():
            return str(item.sval)
    return ""


def _check_rewrites(statement: Statement, event: DdlEvent, rewrites: int) -> None:
    commands = _commands(statement.node) if isinstance(statement.node, pg.AlterTableStmt) else []
    done = {command.subtype for command in commands}
    explained = sum(bit for bit, alteration in REWRITES.items() if alteration in done)
    if rewrites & ~explained:
        raise refused(event, "every row was written anew, with values computed at that moment")
    for command in commands if rewrites & 4 else ():
        _obey(check_conversion, event, command)


# --- single kinds ---------------------------------------------------------------------------------------------------


def _as_it_is(statement: Statement, event: DdlEvent) -> Replay:
    for message in messages(statement.node):
        if isinstance(message, pg.PartitionBoundSpec) and (why := computed(message, event)):
            raise refused(event, f"a bound of the partition {why}. Instead: a literal")
    return Replay(text=without_place_and_haste(statement))


def _dropped(statement: Statement, event: DdlEvent) -> Replay:
    """An index that CREATE INDEX CONCURRENTLY has left invalid is in no backup."""
    if statement.node.remove_type == pg.OBJECT_INDEX:
        return Replay(text=if_there(statement))
    return _as_it_is(statement, event)


def _created_as(statement: Statement, event: DdlEvent) -> Replay:
    """A materialised view is filled as on the source, and anew when all is brought back."""
    node = statement.node
    if node.objtype == pg.OBJECT_MATVIEW or node.into.skip_data:
        return _as_it_is(statement, event)
    raise refused(event, REFUSED["SelectStmt"])


def _refreshed(statement: Statement, event: DdlEvent) -> Replay:
    """All that are filled are refreshed when everything is brought back; here it matters only whether one is."""
    text = without_place_and_haste(statement)
    view = next((o.identity for o in event.objects), None)
    if statement.node.skip_data or view is None:
        return Replay(text=text)
    return Replay(text=text, unpopulated=view)


def _altered(statement: Statement, event: DdlEvent) -> Replay | None:
    """Raises Inexact if one of the alterations is."""
    commands = _commands(statement.node)
    if all(command.subtype == pg.AT_SetTableSpace for command in commands):
        return None
    for command in commands:
        _check_alteration(statement.node, event, command)
    return _as_it_is(statement, event)


def _check_alteration(node: pg.AlterTableStmt, event: DdlEvent, command: pg.AlterTableCmd) -> None:
    if command.subtype in UNCARRIED:
        what, why = UNCARRIED[command.subtype]
        raise refused(event, f"{what}: {why}")
    if command.subtype not in ALTERATIONS:
        raise refused(event, f"pgkeep does not know {pg.AlterTableType.Name(command.subtype)}")
    if command.subtype == pg.AT_DetachPartition and getattr(command, "def").partition_cmd.concurrent:
        raise refused(event, f"DETACH .. CONCURRENTLY: {DETACHED}")
    if node.objtype != pg.OBJECT_TYPE and command.subtype in COLUMN_RULES:
        _obey(COLUMN_RULES[command.subtype], event, command)


def _obey(rule: ColumnRule, event: DdlEvent, command: pg.AlterTableCmd) -> None:
    try:
        rule(event, command)
    except Inexact as objection:
        raise refused(event, objection.reason) from None


def _commands(node: pg.AlterTableStmt) -> list[pg.AlterTableCmd]:
    return [item.alter_table_cmd for item in node.cmds]


SPECIAL: Mapping[str, Callable[[Statement, DdlEvent], Replay | None]] = {
    "DropStmt": _dropped,
    "CreateTableAsStmt": _created_as,
    "RefreshMatViewStmt": _refreshed,
    "AlterTableStmt": _altered,
}
