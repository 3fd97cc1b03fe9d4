"""What a slot keeps, and why it cannot be had: a reason for a gap, or to come again."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.running import ToolFailedError
from pgkeep.adapters.postgres.slot import BUSY, lost, peek
from pgkeep.adapters.postgres.source import PostgresSnapshot
from pgkeep.errors import Corrupted, Disturbed, Unavailable
from pgkeep.ports import Unreadable

STATE = re.compile(r": +(?=[A-Z]*\d)([0-9A-Z]{5}): ")
"""The SQLSTATE, which psql writes in front of the server's words if it is verbose; it has a digit, unlike ERROR."""
PASSING = ("08", "40", "53", "57", "58")
"""Classes of states: connection, rollback, resources, intervention, system. Another time it may succeed."""


def peeked(snapshot: PostgresSnapshot, slot: str, *, encoding: str) -> Iterator[bytes]:
    """The slot's content up to the snapshot's cut. Raises Unreadable, Disturbed, Unavailable."""
    chunks = peek(snapshot.moment, slot, snapshot.tools, encoding=encoding, upto=snapshot.cut.lsn)
    try:
        yield from chunks
    except ToolFailedError as failure:
        raise _unreadable(failure, snapshot, slot) from failure


@contextmanager
def readable() -> Iterator[None]:
    """A stream that is not what it should be is a gap, and no reason to stop for ever."""
    try:
        yield
    except Corrupted as error:
        raise Unreadable(error.what) from error


def _unreadable(failure: ToolFailedError, snapshot: PostgresSnapshot, slot: str) -> Exception:
    """Whether the server was lost, the slot is busy or lost, or what is in it cannot be decoded."""
    state = state_of(failure)
    if state == BUSY:
        return Disturbed(f"somebody else reads the slot {slot} at this moment", next_step="run it again")
    if state is None or state.startswith(PASSING):
        return Unavailable(f"the changes could not be read from {slot}: {failure}", next_step="run it again")
    with translated(snapshot.moment.server):
        why = lost(snapshot.moment.connection, slot)
    return Unreadable(why or f"the changes cannot be decoded: {failure}")


def state_of(failure: ToolFailedError) -> str | None:
    """What the server said, as SQLSTATE; None: psql ended without its having said anything."""
    found = STATE.search(str(failure))
    return found[1] if found else None
