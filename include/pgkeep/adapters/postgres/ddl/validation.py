"""Which tables' rows a command looks at, so that it may fail where the rows are others."""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pg

from .text import Statement, messages

VALIDATING = frozenset(
    {
        pg.AT_AddConstraint,
        pg.AT_AddIndex,
        pg.AT_AlterColumnType,
        pg.AT_AttachPartition,
        pg.AT_SetNotNull,
        pg.AT_ValidateConstraint,
    }
)


def validated(statement: Statement) -> frozenset[str]:
    """Names, without schemas, of the tables in a command that looks at rows; of no table in any other command."""
    node = statement.node
    if isinstance(node, pg.AlterTableStmt):
        looks = any(_looks(message) for message in messages(node))
    else:
        looks = isinstance(node, pg.IndexStmt) and (node.unique or bool(node.exclude_op_names))
    return frozenset(_names(statement)) if looks else frozenset()


def _looks(message: object) -> bool:
    if not isinstance(message, pg.AlterTableCmd):
        return False
    constrained = message.subtype == pg.AT_AddColumn and any(isinstance(m, pg.Constraint) for m in messages(message))
    return message.subtype in VALIDATING or constrained


def _names(statement: Statement) -> Iterator[str]:
    return (message.relname for message in messages(statement.node) if isinstance(message, pg.RangeVar))
