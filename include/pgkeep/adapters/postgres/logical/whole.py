"""Tables that are carried whole, at the end of a window: what cannot be told of them in between."""

from collections.abc import Collection

from pgkeep.adapters.postgres.ddl import DdlReplay
from pgkeep.inventory import TableName
from pgkeep.model import SlotPosition


def stale(
    carried: Collection[TableName],
    *,
    there: Collection[TableName],
    then: SlotPosition,
    shown: Collection[tuple[str, str]],
    replay: DdlReplay,
) -> tuple[str, ...]:
    """The tables `carried` whole, and those that came or went within the window without being `shown` row by row.

    `there`: the tables at its end.
    """
    known = {*map(str, there)} | {f"{schema}.{name}" for schema, name in shown}
    gone = ({*then.tables} | replay.made) - known
    return tuple(sorted({*map(str, carried), *gone}))


def validated(tables: Collection[TableName], *, then: SlotPosition, replay: DdlReplay) -> str | None:
    """Why DDL may fail in its place, where `tables` (at the end) and those of `then` have other rows; or None."""
    names = {name.rpartition(".")[2] for name in {*map(str, tables), *then.tables}} & replay.validated
    if not names:
        return None
    return f"{', '.join(sorted(names))}: carried whole, and altered in a way that looks at its rows"
