"""Columns that are added or get another type: what rows that are there already are given."""

import re
from collections.abc import Iterator

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from pgkeep.ports import Inexact

from .event import DdlEvent
from .text import messages, words

SERIAL = frozenset({"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"})
TEXTS = frozenset({"text", "varchar", "bpchar", "name"})
MOMENTS = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})
BUILT_IN = (
    TEXTS
    | MOMENTS
    | words("""
    bool int2 int4 int8 float4 float8 numeric money bytea uuid json jsonb xml inet cidr macaddr macaddr8 bit varbit
    interval tsvector tsquery point line lseg box path polygon circle oid regclass int4range int8range numrange
    tsrange tstzrange daterange""")
)
"""Types that are no domains, and have no default."""
PLAIN = TEXTS | {"json", "jsonb"}
WORDS = frozenset({"now", "today", "tomorrow", "yesterday"})
UTC = frozenset({"UTC", "Etc/UTC", "GMT"})

PARTS = words("""
    A_Const Integer Float Boolean String BitString TypeCast TypeName A_Expr BoolExpr NullTest BooleanTest CaseExpr
    CaseWhen CoalesceExpr MinMaxExpr A_ArrayExpr RowExpr ColumnRef A_Indirection A_Indices CollateClause List FuncCall
    PartitionBoundSpec PartitionRangeDatum
""")
"""What an expression may be made of that gives the same at any time."""
SAME_ALWAYS = frozenset({"btrim", "ltrim", "rtrim", "substring", "position", "overlay", "normalize", "extract"})
"""Functions of the server itself that SQL has a syntax for: TRIM, SUBSTRING, .."""


def check_column(event: DdlEvent, command: pg.AlterTableCmd) -> None:
    """ADD COLUMN gives every row the default. Raises Inexact if that is computed."""
    column = getattr(command, "def").column_def
    what, avoid = f"ADD COLUMN {column.colname}", "Instead: ADD COLUMN without it, SET DEFAULT, UPDATE"
    constraints = [item.constraint for item in column.constraints]
    if type_of(column.type_name) in SERIAL and len(column.type_name.names) == 1:
        raise Inexact(f"{what}: every row gets the next number of a sequence. {avoid}")
    for constraint in constraints:
        if constraint.contype == pg.CONSTR_IDENTITY:
            raise Inexact(f"{what}: every row gets the next number of a sequence. {avoid}")
        if constraint.contype == pg.CONSTR_GENERATED and constraint.generated_kind != "v":
            raise Inexact(f"{what}: every row gets a value that is computed and stored")
        if constraint.contype == pg.CONSTR_DEFAULT and (why := computed(constraint.raw_expr, event)):
            raise Inexact(f"{what}: its DEFAULT {why} for the rows that are there. {avoid}")
    if not any(c.contype == pg.CONSTR_DEFAULT for c in constraints) and event.domain_defaults:
        _check_no_domain(column, what)


def check_using(event: DdlEvent, command: pg.AlterTableCmd) -> None:
    """ALTER COLUMN TYPE .. USING converts every row. Raises Inexact if that may come out otherwise elsewhere."""
    column = getattr(command, "def").column_def
    if column.HasField("raw_default") and (why := computed(column.raw_default, event)):
        raise Inexact(f"ALTER COLUMN {command.name} TYPE USING: it {why}. Instead: ADD COLUMN, UPDATE, DROP COLUMN")


def check_conversion(event: DdlEvent, command: pg.AlterTableCmd) -> None:
    """As `check_using`, for a statement that did write all rows anew, so that casts were at work."""
    if command.subtype != pg.AT_AlterColumnType:
        return
    column, what = getattr(command, "def").column_def, f"ALTER COLUMN {command.name} TYPE"
    if event.volatile:
        raise Inexact(f"{what}: an operator or cast of this database calls a volatile function")
    zoned = not column.HasField("raw_default") and type_of(column.type_name) in MOMENTS | TEXTS
    if zoned and event.timezone not in UTC:
        raise Inexact(
            f"{what}: with TimeZone {event.timezone}, time stamps are converted as that machine knows its time zones. "
            "Instead: SET TimeZone TO 'UTC', or USING .. AT TIME ZONE 'UTC'"
        )


def computed(expression: Message, event: DdlEvent) -> str | None:
    """Why an expression's value may be another one at another time; None if it is always the same."""
    return next(_doubts(expression, event), None)


def moment(statement: Message) -> str | None:
    """A literal that becomes a date or time now, such as 'today 10:00': what is stored is that moment."""
    plain = {
        unwrap_node(message.arg).location
        for message in messages(statement)
        if isinstance(message, pg.TypeCast) and type_of(message.type_name) in PLAIN and message.arg.HasField("a_const")
    }
    for message in messages(statement):
        if isinstance(message, pg.A_Const) and message.HasField("sval") and message.location not in plain:
            said = re.findall(r"[a-z]+", message.sval.sval.lower())
            if len(message.sval.sval) <= 64 and len(said) <= 4 and WORDS & {*said}:
                return str(message.sval.sval)
    return None


def _doubts(expression: Message, event: DdlEvent) -> Iterator[str]:
    for message in messages(expression):
        kind = type(message).__name__
        if kind not in PARTS:
            yield f"computes {_named(message)}"
        elif isinstance(message, pg.FuncCall) and not _always_the_same(message):
            yield f"calls {_function(message)}()"
        elif isinstance(message, pg.TypeCast) and _reads_moments(message):
            yield f"casts to {type_of(message.type_name)} what may be a word as 'now'"
        elif isinstance(message, pg.A_Expr) and event.volatile:
            yield "may use an operator or cast of this database that calls a volatile function"


def _always_the_same(call: pg.FuncCall) -> bool:
    if call.funcformat != pg.COERCE_SQL_SYNTAX:
        return False
    return _function(call) in SAME_ALWAYS or (_function(call) == "timezone" and _zone(call) in UTC)


def _zone(call: pg.FuncCall) -> str:
    """The zone of AT TIME ZONE, if it is a literal."""
    zone = unwrap_node(call.args[0])
    return str(zone.sval.sval).upper() if isinstance(zone, pg.A_Const) else ""


def _reads_moments(cast: pg.TypeCast) -> bool:
    return type_of(cast.type_name) in MOMENTS and not cast.arg.HasField("a_const")


def _check_no_domain(column: pg.ColumnDef, what: str) -> None:
    if type_of(column.type_name) not in BUILT_IN and not column.type_name.array_bounds:
        raise Inexact(
            f"{what}: its type may be a domain with a default, for every row. Instead: ADD COLUMN .. DEFAULT NULL"
        )


def type_of(name: pg.TypeName) -> str:
    """The type's own name, without its schema."""
    return str(name.names[-1].string.sval) if name.names else ""


def _function(call: pg.FuncCall) -> str:
    return str(call.funcname[-1].string.sval)


def _named(message: Message) -> str:
    if isinstance(message, pg.SQLValueFunction):
        return str(pg.SQLValueFunctionOp.Name(message.op).removeprefix("SVFOP_"))
    return type(message).__name__
