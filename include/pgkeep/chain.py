"""How the entries of a journal carry a database's changes on, cut by cut.

Entries of kind `changes` and `gap` are links: each begins at the cut at which the one before it ended. A full backup
stands beside the chain, at the cut of one of its links, and may be recorded long after it.
"""

import itertools
from collections.abc import Mapping

from pgkeep.errors import Corrupted, JournalMovedOn
from pgkeep.journal import Journal
from pgkeep.model import Backup, Cut, Entry, Instant, Link, Position


def link_of(entry: Entry) -> Link:
    """The link of an entry that has one."""
    assert entry.backup.link is not None, f"entry {entry.sequence} carries no changes"
    return entry.backup.link


def position_of(backup: Backup) -> Position:
    """Where the source stood at the chain's end."""
    position = backup.link.position if backup.link else None
    assert position is not None, "the chain does not end with this backup"
    return position


def links(journal: Journal) -> tuple[Entry, ...]:
    """The entries that are links, oldest first. Raises Corrupted unless each begins where the one before ended (I5)."""
    found = tuple(entry for entry in journal.entries if entry.backup.link is not None)
    for before, after in itertools.pairwise(found):
        if link_of(after).since != before.backup.cut:
            raise Corrupted(
                f"entry {after.sequence} of {journal.database} does not begin where entry {before.sequence} ends",
                next_step="make a full backup, and report this: it should be impossible",
            )
    return found


def end(journal: Journal) -> Entry | None:
    """The last link, or None while no changes are carried yet."""
    return next((entry for entry in reversed(journal.entries) if entry.backup.link is not None), None)


def covering(journal: Journal, moment: Instant) -> Entry | None:
    """The chain's end if it shows that moment, or a later one, and can be restored; else None.

    By two clocks, the source's and ours: one that was ahead for a while must not stop the collecting until it is over.
    """
    last = end(journal)
    covers = last is not None and min(last.backup.cut.time, last.recorded) >= moment and not lacks_full(journal)
    return last if covers else None


def lacks_full(journal: Journal) -> bool:
    """Whether no full backup was recorded since the last gap: then what is carried after it cannot be restored."""
    return not full_cuts(journal) & {entry.backup.cut for entry in since_last_gap(journal)}


def full_cuts(journal: Journal) -> set[Cut]:
    """The moments of which there is a full backup."""
    return {entry.backup.cut for entry in journal.entries if entry.backup.kind == "full"}


def order(journal: Journal) -> Mapping[int, int]:
    """The place of every entry in the order of what they show: by entry number, a number that may repeat.

    A full backup shows the end of a link, though it may be recorded long after it. Where that link is gone, the version
    of the journal that it was begun after stands for it.
    """
    ends = {link.backup.cut: link.sequence for link in links(journal)}
    return {
        entry.sequence: entry.sequence
        if entry.backup.link is not None
        else ends.get(entry.backup.cut, entry.backup.number - 1)
        for entry in journal.entries
    }


def rank(entry: Entry, order: Mapping[int, int]) -> tuple[int, int]:
    """What to sort entries by, where `order` is the journal's: oldest first."""
    return order[entry.sequence], entry.sequence


def fulls(journal: Journal) -> tuple[Entry, ...]:
    """The full backups in the order of what they show, oldest first. Raises Corrupted: the chain is broken."""
    places = order(journal)
    found = (entry for entry in journal.entries if entry.backup.kind == "full")
    return tuple(sorted(found, key=lambda full: rank(full, places)))


def proven(journal: Journal) -> tuple[Entry, ...]:
    """Those of them that a drill has proven; the last is the newest. Raises Corrupted: the chain is broken."""
    return tuple(full for full in fulls(journal) if journal.is_proven(full))


def since_last_gap(journal: Journal) -> tuple[Entry, ...]:
    """The last links that are joined to each other; the first of them is a gap, or the beginning."""
    found = links(journal)
    first = max((i for i, entry in enumerate(found) if entry.backup.kind == "gap"), default=0)
    return found[first:]


def require_next(backup: Backup, *, after: Journal) -> None:
    """Raises JournalMovedOn if this backup is a link that does not begin where the journal's chain ends."""
    last = end(after)
    if backup.link is not None and backup.link.since != (last.backup.cut if last else None):
        raise JournalMovedOn(
            f"the journal of {backup.database} moved on: another run has carried the changes to "
            f"{last.backup.cut.time if last else 'nowhere'} meanwhile",
            next_step="run it again",
        )
