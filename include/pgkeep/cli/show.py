"""Records as people read them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pgkeep.journal import Journal
from pgkeep.model import Entry, Instant
from pgkeep.progress import human_size, human_time
from pgkeep.restore import Restored


def entry_line(entry: Entry) -> str:
    """One line that says what is now safe."""
    totals = entry.backup.totals
    return (
        f"{entry.backup.database}: entry {entry.sequence}, {entry.backup.kind}, shows {moment(entry.backup.cut.time)}: "
        f"{totals.rows} rows in {totals.tables} tables, {human_size(entry.backup.size)} encrypted, "
        f"held by {_holders(entry)}"
    )


def restored_line(restored: Restored, label: str) -> str:
    """One line that says what came back, and what was compared."""
    totals, entry = restored.entry.backup.totals, restored.entry
    kept = f"; what was there is now {restored.replaced}" if restored.replaced else ""
    return (
        f"{label}: restored from entry {entry.sequence} as of {moment(entry.backup.cut.time)}, and equal to its source "
        f"in {totals.rows} rows of {totals.tables} tables, {totals.sequences} sequences and {totals.large_objects} "
        f"large objects (restored in {human_time(restored.restore_seconds)}, "
        f"compared in {human_time(restored.verify_seconds)}){kept}"
    )


def entry_table(journal: Journal, rows: Sequence[tuple[Entry, int | None]]) -> str:
    """The entries of a journal, newest last, with the copies that exist now."""
    header = ("ENTRY", "KIND", "AS OF", "AGE", "TABLES", "ROWS", "SIZE", "COPIES (CLAIMED)", "MADE BY")
    table = [header, *(_row(entry, copies) for entry, copies in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([f"{journal.database}: version {journal.sequence} of the journal", *lines])


def _row(entry: Entry, copies: int | None) -> tuple[str, ...]:
    backup = entry.backup
    return (
        str(entry.sequence),
        backup.kind,
        moment(backup.cut.time),
        age(backup.cut.time),
        str(backup.totals.tables),
        str(backup.totals.rows),
        human_size(backup.size),
        f"{'?' if copies is None else copies} of {entry.copies}",
        f"{backup.origin.by} on {backup.origin.host}",
    )


def _holders(entry: Entry) -> str:
    copies = entry.holders[entry.backup.parts[0].cid]
    return ", ".join(f"{copy.name} ({'read back' if copy.read_back else 'says the cluster'})" for copy in copies)


def moment(instant: Instant) -> str:
    """A moment to the second, in UTC."""
    return f"{instant[:10]} {instant[11:19]} UTC"


def age(instant: Instant) -> str:
    """How long ago."""
    return human_time((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds())
