"""The journal as a table."""

from collections.abc import Collection, Sequence

from pgkeep.journal import Journal
from pgkeep.model import Entry
from pgkeep.progress import human_size, human_time

from .steps import content
from .words import age, moment, table


def entry_table(journal: Journal, rows: Sequence[tuple[Entry, int | None]], *, lost: Collection[Entry] = ()) -> str:
    """The entries of a journal, newest last, with the copies that exist now. `lost`: those without any whole one."""
    header = ("ENTRY", "KIND", "AS OF", "AGE", "SIZE", "COPIES (CLAIMED)", "PROVEN", "MADE BY", "HOLDS")
    lines = table([header, *(_row(entry, copies, journal, lost) for entry, copies in rows)])
    return f"{journal.database}: version {journal.sequence} of the journal\n{lines}"


def _row(entry: Entry, copies: int | None, journal: Journal, lost: Collection[Entry]) -> tuple[str, ...]:
    backup = entry.backup
    return (
        str(entry.sequence),
        backup.kind,
        moment(backup.cut.time),
        age(backup.cut.time),
        human_size(backup.size) if backup.parts else "-",
        f"{'?' if copies is None else copies} of {entry.copies}" if backup.parts else "-",
        verdict(entry, journal, lost),
        f"{backup.origin.by} on {backup.origin.host}",
        content(backup),
    )


def verdict(entry: Entry, journal: Journal, lost: Collection[Entry] = ()) -> str:
    """Whether a drill has proven a full backup, in a few words; changes are proven between two of them. `lost`: of
    which an audit has found no whole copy.
    """
    if entry in lost:
        return "LOST, as the last audit found"
    found = journal.verdict(entry)
    if found is None:
        return "not yet" if entry.backup.kind == "full" else "-"
    when = f"{found.time[:10]} from {found.name}"
    if found.failure is None:
        return f"{when}, in {human_time(found.ways[0].seconds)}"
    return f"{when}, BUT NOT THE CHANGES" if found.proven else f"NO: {when}"
