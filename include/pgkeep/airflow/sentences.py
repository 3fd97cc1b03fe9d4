"""What each task of a backup says in its log when it is done, in an operator's words."""

from pgkeep.model import Entry, Instant, Replicated, Sealed, Stored
from pgkeep.progress import human_size, human_time


def stored(record: Stored) -> str:
    """What was captured, and where it is now."""
    backup = record.backup
    parts = ", ".join(f"{part.name} {human_size(part.size)}" for part in backup.parts)
    held = f"{_counted(backup.totals.rows, 'row')} in {_counted(backup.totals.tables, 'table')}"
    return (
        f"{backup.database} as of {moment(backup.cut.time)}: {held}, encrypted to {human_size(backup.size)} ({parts}) "
        f"in {human_time(backup.seconds)}. So far only this node's own peer has it."
    )


def sealed(record: Sealed) -> str:
    """What was proven before anything left the machine."""
    return (
        f"read back {human_size(record.backup.size)} from the own peer: unchanged, signed by {record.signer}, "
        f"readable by exactly {', '.join(record.recipients)}."
    )


def replicated(record: Replicated) -> str:
    """Who holds it now, and how that is known."""
    held = {part.name: _holders(record, part.cid) for part in record.sealed.backup.parts}
    alike = len(set(held.values())) == 1
    said = f"all of it: {held.popitem()[1]}" if alike else "; ".join(f"{name}: {who}" for name, who in held.items())
    return f"held by {record.copies} peers, as asked; {said}."


def recorded(entry: Entry) -> str:
    """The line of the journal that makes it a backup."""
    return (
        f"the journal of {entry.backup.database} names it as entry {entry.sequence}; "
        f"the journal itself has {entry.copies} copies. From now on it is a backup."
    )


def released(entry: Entry) -> str:
    """What follows for the source, and how the backup comes back."""
    name = entry.backup.database
    return (
        f"the peers show entry {entry.sequence} of {name}; the source may forget what it covers. "
        f"Back again with: pgkeep restore {name} --entry {entry.sequence} --into URL"
    )


def moment(instant: Instant) -> str:
    """A moment for people, to the second: `2026-01-02 03:04:05 UTC`."""
    return f"{instant[:19].replace('T', ' ')} UTC"


def _holders(record: Replicated, cid: str) -> str:
    copies = record.holders[cid]
    return ", ".join(sorted(f"{copy.name} ({'read back' if copy.read_back else 'pinned'})" for copy in copies))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
