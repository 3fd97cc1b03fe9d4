"""Where a source stands at a cut, and whether what was read of its changes explains how it came there."""

from collections.abc import Iterable, Mapping

from pgkeep.adapters.postgres import witnesses
from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.history import History
from pgkeep.adapters.postgres.moment import Moment
from pgkeep.adapters.postgres.source import PostgresSnapshot
from pgkeep.inventory import SequenceState
from pgkeep.model import SlotPosition

from .agreement import identities
from .definitions import definitions, untold
from .reading import Reading


def position(
    snapshot: PostgresSnapshot,
    *,
    slot: str,
    history: History,
    publication: int,
    token: str,
    then: SlotPosition | None,
    kept_from: str,
    sequences: Iterable[SequenceState],
    tables: Mapping[str, str],
) -> SlotPosition:
    """All witnesses at the snapshot's cut, and all WAL from `kept_from` (an LSN) on retained.

    `then`: the position at the cut before; `tables`: witnesses of those that the slot does not show.
    Raises Unavailable, ToolFailedError.
    """
    moment = snapshot.moment
    seen = witnesses.look(snapshot, then=then.witnesses if then else None, sequences=sequences)
    same = then if then is not None and then.witnesses.catalogs == seen.catalogs else None
    return SlotPosition(
        slot=slot,
        system=history.system,
        timeline=history.timeline,
        database=history.database,
        publication=publication,
        retained=kept_from,
        token=token,
        altered=snapshot.cut.time,
        triggers=witnesses.triggers(moment),
        definitions=None if same else _definitions(moment, then),
        identities=_identities(moment),
        tables=tables,
        witnesses=seen,
    )


def _definitions(moment: Moment, then: SlotPosition | None) -> dict[str, str] | None:
    """None: the catalogs were written, but nothing is defined anew (a temporary table, say)."""
    with translated(moment.server):
        found = definitions(moment.connection)
    return None if then is not None and then.definitions == found else found


def _identities(moment: Moment) -> dict[str, tuple[str, ...]]:
    with translated(moment.server):
        return {str(oid): names for oid, names in identities(moment.connection).items()}


def unexplained(
    moment: Moment, *, now: SlotPosition, then: SlotPosition, reading: Reading, event_triggers: bool
) -> str | None:
    """What changed without anything in the slot that says how, or None. Raises Unavailable."""
    if why := witnesses.never_shown(now.witnesses, then.witnesses):
        return why
    if now.triggers != then.triggers:
        return "pgkeep's event triggers were altered, or its publication: they may not have shown everything"
    if now.witnesses.schema == then.witnesses.schema:
        return None
    if not event_triggers:
        return "the schema was changed, and without event triggers pgkeep does not see how"
    before = then.definitions
    assert before is not None, "a journal keeps them"
    after = before if now.definitions is None else now.definitions
    with translated(moment.server):
        changed = untold(moment.connection, now=after, then=before, told=reading.told)
    if changed is None and not reading.ddl:
        changed = "the schema"
    return f"{changed} was changed where event triggers do not see it" if changed else None
