"""What a slot keeps, and why it cannot be had: a reason for a gap, or to come again."""

from collections.abc import Iterator
from contextlib import contextmanager

from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.running import ToolFailedError
from pgkeep.adapters.postgres.slot import in_use, lost, peek
from pgkeep.adapters.postgres.source import PostgresSnapshot
from pgkeep.errors import Corrupted, Disturbed, Unavailable
from pgkeep.ports import Inexact

PSQL_SCRIPT_FAILED = 3


def peeked(snapshot: PostgresSnapshot, slot: str, *, encoding: str) -> Iterator[bytes]:
    """The slot's content up to the snapshot's cut. Raises Inexact, Disturbed, Unavailable."""
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
        raise Inexact(error.what) from error


def _unreadable(failure: ToolFailedError, snapshot: PostgresSnapshot, slot: str) -> Exception:
    """Whether the server was lost, the slot, or what is in it cannot be decoded: asked of the server."""
    with translated(snapshot.moment.server):
        why = lost(snapshot.moment.connection, slot)
        busy = in_use(snapshot.moment.connection, slot)
    if why:
        return Inexact(why)
    if busy:
        return Disturbed(f"somebody else reads the slot {slot} at this moment", next_step="run it again")
    if failure.code != PSQL_SCRIPT_FAILED:
        return Unavailable(f"the changes could not be read from {slot}: {failure}", next_step="run it again")
    return Inexact(f"the changes cannot be decoded: {failure}")
