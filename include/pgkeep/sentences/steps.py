"""What each step of a backup has done, and what a backup holds."""

from pgkeep.model import Backup, Covered, Entry, Replicated, Sealed, Stored
from pgkeep.progress import human_size, human_time

from .words import counted, moment


def stored(record: Stored) -> str:
    """What was captured, and where it is now."""
    backup = record.backup
    if not backup.parts:
        return f"{summary(backup)}. Nothing needs to be stored."
    parts = ", ".join(f"{part.name} {human_size(part.size)}" for part in backup.parts)
    return (
        f"{summary(backup)}, encrypted to {human_size(backup.size)} ({parts}) in {human_time(backup.seconds)}. "
        "So far only this node's own peer has it."
    )


def sealed(record: Sealed) -> str:
    """What was proven before anything left the machine."""
    if not record.backup.parts:
        return "nothing to read back."
    return (
        f"read back {human_size(record.backup.size)} from the own peer: unchanged, signed by {record.signer}, "
        f"readable by exactly {', '.join(record.recipients)}."
    )


def replicated(record: Replicated) -> str:
    """Who holds it now, and how that is known."""
    held = {part.name: _holders(record, part.cid) for part in record.sealed.backup.parts}
    if not held:
        return "nothing to replicate but the journal itself."
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


def removed(name: str, label: str, *, stands: str, capture: str) -> str:
    """What `pgkeep remove` has done, and what it left to its user. `stands`: the section in the file of settings;
    `capture`: the way in which changes are collected.
    """
    again = {
        "logical": "the next run, Airflow's too, puts everything back",
        "csvlog": "the next run, Airflow's too, goes on from the server's log, which needs nothing of pgkeep in it",
        "none": "full backups go on; they need nothing of pgkeep in it",
    }[capture]
    fulls = "" if capture == "none" else 'or, for full backups only, write capture = "none" in it; '
    return (
        f"{name}: nothing of pgkeep is in {label} any more; its backups stay (pgkeep list {name}).\n"
        f"{stands} was left alone: as long as it is there, {again}. "
        f"Next: delete that section; {fulls}or begin anew: pgkeep init {name}"
    )


def covered(record: Covered) -> str:
    """Why nothing was to do."""
    return f"already covered by entry {record.entry.sequence}, which shows {moment(record.entry.backup.cut.time)}"


def entry_line(entry: Entry) -> str:
    """One line that says what is now safe."""
    backup = entry.backup
    held = f", {human_size(backup.size)} encrypted, held by {_copies(entry)}" if backup.parts else ""
    return f"entry {entry.sequence}: {summary(backup)}{held}"


def summary(backup: Backup) -> str:
    """Whose it is, of which moment, and what it holds."""
    return f"{backup.database}, {backup.kind}, as of {moment(backup.cut.time)}: {content(backup)}"


def content(backup: Backup) -> str:
    """What a backup holds, or why there is a gap."""
    if backup.totals is not None:
        return f"{counted(backup.totals.rows, 'row')} in {counted(backup.totals.tables, 'table')}"
    link = backup.link
    if link is None:
        return "nothing"
    if link.gap is not None:
        return link.gap
    since = f"since {moment(link.since.time)}" if link.since else ""
    if not backup.parts:
        return f"no changes {since}"
    exact = "" if link.exact == "proven" else f", exact: {link.exact}"
    return f"{counted(link.changes, 'change')} in {counted(link.transactions, 'transaction')} {since}{exact}"


def _copies(entry: Entry) -> str:
    copies = entry.holders[entry.backup.parts[0].cid]
    return ", ".join(f"{copy.name} ({'read back' if copy.read_back else 'says the cluster'})" for copy in copies)


def _holders(record: Replicated, cid: str) -> str:
    copies = record.holders[cid]
    return ", ".join(sorted(f"{copy.name} ({'read back' if copy.read_back else 'pinned'})" for copy in copies))
