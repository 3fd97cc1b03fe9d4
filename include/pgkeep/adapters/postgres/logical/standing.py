"""Where a source stands at a cut, and whether what was read of its changes explains how it came there."""

from collections.abc import Iterable, Mapping

from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.moment import Moment
from pgkeep.adapters.postgres.slot import History
from pgkeep.adapters.postgres.source import PostgresSnapshot
from pgkeep.inventory import SequenceState
from pgkeep.model import Position

from . import witnesses
from .agreement import identities
from .definitions import definitions, untold
from .reading import Reading

NEVER_SHOWN = {
    "large_objects": "large objects were changed, which logical decoding does not show",
    "ignored": "other tables are ignored now than before",
    "globals": "roles, their rights or table spaces were changed, which full backups carry",
    "triggers": "pgkeep's event triggers were altered, or its publication: they may not have shown everything",
}
"""Witnesses, and what it means that one has changed."""


def position(
    snapshot: PostgresSnapshot,
    *,
    slot: str,
    history: History,
    token: str,
    then: Position | None,
    kept_from: str,
    sequences: Iterable[SequenceState],
    tables: Mapping[str, str],
) -> Position:
    """All witnesses at the snapshot's cut, and all WAL from `kept_from` (an LSN) on retained.

    `then`: the position at the cut before; `tables`: witnesses of those that the slot does not show.
    Raises Unavailable, ToolFailedError.
    """
    moment = snapshot.moment
    catalogs = witnesses.catalogs(moment)
    same = then if then is not None and then.catalogs == catalogs else None
    return Position(
        slot=slot,
        system=history.system,
        timeline=history.timeline,
        database=history.database,
        publication=history.publication,
        retained=kept_from,
        token=token,
        altered=snapshot.cut.time,
        catalogs=catalogs,
        triggers=witnesses.triggers(moment),
        properties=witnesses.properties(moment),
        schema=same.schema if same else witnesses.schema(moment, snapshot.tools),
        definitions=same.definitions if same else _definitions(moment),
        globals=witnesses.globals_of(snapshot.globals()),
        large_objects=witnesses.large_objects(moment),
        sequences=witnesses.sequences(sequences),
        identities=_identities(moment),
        tables=tables,
        ignored=tuple(sorted(table.text for table in snapshot.ignored.tables)),
    )


def _definitions(moment: Moment) -> dict[str, str]:
    with translated(moment.server):
        return definitions(moment.connection)


def _identities(moment: Moment) -> dict[str, tuple[str, ...]]:
    with translated(moment.server):
        return {str(oid): names for oid, names in identities(moment.connection).items()}


def unexplained(moment: Moment, *, now: Position, then: Position, reading: Reading, event_triggers: bool) -> str | None:
    """What changed without anything in the slot that says how, or None. Raises Unavailable."""
    if now.large_objects.endswith(witnesses.UNREAD) and not now.large_objects.startswith("0:"):
        return "there are large objects, and the role may not see whether they were changed (pg_read_all_data may)"
    for witness, reason in NEVER_SHOWN.items():
        if getattr(now, witness) != getattr(then, witness):
            return reason
    if now.schema == then.schema:
        return None
    if not event_triggers:
        return "the schema was changed, and without event triggers pgkeep does not see how"
    with translated(moment.server):
        changed = untold(moment.connection, now=now.definitions, then=then.definitions, told=reading.told)
    if changed is None and not reading.ddl:
        changed = "the schema"
    return f"{changed} was changed where event triggers do not see it" if changed else None
