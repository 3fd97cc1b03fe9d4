"""A journal as it can still be brought back, after audits have found objects of which no whole copy is left.

The journal itself stays as it is, for such an object may come back with its disk. Until then it leads nowhere: a full
backup that has lost anything is no beginning, and changes that have lost anything are a gap.
"""

import logging
from collections.abc import Collection
from dataclasses import replace

from pgkeep import chain
from pgkeep.errors import NotRestorable
from pgkeep.journal import Journal
from pgkeep.model import Cid, Entry, Link
from pgkeep.plan import Point, RecoveryPlan, plan

log = logging.getLogger(__name__)

REASON = "an audit has found no whole copy of its changes"


def bereft(journal: Journal, lost: Collection[Cid]) -> tuple[Entry, ...]:
    """The entries that have lost something."""
    return tuple(entry for entry in journal.entries if any(part.cid in lost for part in entry.backup.parts))


def surviving(journal: Journal, lost: Collection[Cid]) -> Journal:
    """The journal without what is lost: to plan and to judge by, never to be written."""
    gone = {entry.sequence for entry in bereft(journal, lost)}
    if not gone:
        return journal
    left = tuple(_left(entry) if entry.sequence in gone else entry for entry in journal.entries)
    return replace(journal, entries=tuple(entry for entry in left if entry is not None))


def _left(entry: Entry) -> Entry | None:
    link = entry.backup.link
    return None if link is None else replace(entry, backup=replace(entry.backup, kind="gap", parts=(), link=_gap(link)))


def _gap(link: Link) -> Link:
    return replace(link, gap=REASON)


def _by_changes(journal: Journal, point: Point, gone: Collection[Entry]) -> Point:
    """For a full backup that is lost, the changes that end where it stands."""
    shown = next((full.backup.cut for full in gone if full.sequence == point.entry), None)
    other = next((link for link in chain.links(journal) if link.backup.cut == shown), None)
    return replace(point, entry=other.sequence) if other else point


def plan_whole(journal: Journal, point: Point, lost: Collection[Cid]) -> RecoveryPlan:
    """The shortest way to that point on which nothing is lost. Raises as `plan`.

    Where all ways have lost something, the shortest: what an audit has missed may be back, and reading it will tell.
    """
    way = plan(journal, point)
    gone = bereft(replace(journal, entries=(way.base, *way.steps)), lost)
    if not gone:
        return way
    numbers = ", ".join(str(entry.sequence) for entry in gone)
    try:
        other = plan(surviving(journal, lost), _by_changes(journal, point, gone))
    except NotRestorable:
        if point.base is not None and point.base not in {entry.sequence for entry in gone}:
            raise
        log.warning("an audit found no whole copy of entry %s, and no way leads around it: it is tried", numbers)
        return way
    end = other.last.backup.cut.time
    log.warning("an audit found no whole copy of entry %s: the way back goes around it, and ends at %s", numbers, end)
    return other
