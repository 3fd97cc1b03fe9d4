"""Which entries bring a database back to a moment: one full backup, and the links that touch it, without a gap (I5)."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from pgkeep import chain
from pgkeep.chain import link_of
from pgkeep.errors import NotRestorable
from pgkeep.journal import Journal
from pgkeep.model import Entry, Instant
from pgkeep.visibility import visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What is wanted: an entry, a time, a transaction (64-bit id), or, if nothing is said, the last transaction.

    `base`: the full backup to begin with, if it is not to be the nearest.
    """

    entry: int | None = None
    time: Instant | None = None
    xid: int | None = None
    base: int | None = None

    def __str__(self) -> str:
        if self.entry is not None:
            return f"entry {self.entry}"
        if self.time is not None:
            return self.time
        return "the last transaction" if self.xid is None else f"transaction {self.xid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where the last window ends: before the first transaction committed at or after `time`, or behind `xid`."""

    time: Instant | None = None
    xid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """Restore `base`, apply the changes of `steps` in turn, and end the last of them at `stop` (None: at its end)."""

    base: Entry
    steps: tuple[Entry, ...]
    stop: Stop | None = None

    @property
    def last(self) -> Entry:
        """The entry in which it ends."""
        return self.steps[-1] if self.steps else self.base

    @property
    def size(self) -> int:
        """Bytes to read from the vault, of one copy."""
        return sum(entry.backup.size for entry in (self.base, *self.steps))


def plan(journal: Journal, point: Point) -> RecoveryPlan:
    """The shortest way to that point. Raises NotRestorable with the nearest moments that can be reached."""
    if point.entry is not None:
        return _to_entry(journal, journal.entry(point.entry), point)
    if point.time is not None:
        return _to_time(journal, point.time, point)
    if point.xid is not None:
        return _to_transaction(journal, point.xid, point)
    return _to_latest(journal, point)


def _to_latest(journal: Journal, point: Point) -> RecoveryPlan:
    """The latest moment to which there is a way: between a gap and its full backup there is none to the last entry."""
    newest = journal.entry()
    others = () if point.base else sorted(journal.entries, key=lambda e: (e.backup.cut.time, e.sequence), reverse=True)
    for entry in others:
        with contextlib.suppress(NotRestorable):
            return _to_entry(journal, entry, point)
    return _to_entry(journal, newest, point)


def _to_entry(journal: Journal, entry: Entry, point: Point) -> RecoveryPlan:
    if entry.backup.kind != "full":
        return _through(journal, entry, point, stop=None)
    if point.base in (None, entry.sequence):
        return RecoveryPlan(base=entry, steps=())
    for link in chain.links(journal):
        if link.backup.cut == entry.backup.cut:
            return _through(journal, link, point, stop=None)
    raise _unreachable(journal, point, f"entry {entry.sequence} stands for itself")


def _to_time(journal: Journal, time: Instant, point: Point) -> RecoveryPlan:
    for entry in journal.entries:
        if entry.backup.kind == "full" and entry.backup.cut.time == time:
            return _to_entry(journal, entry, point)
    windows = [e for e in chain.links(journal) if _begins_before(e, time) and time <= e.backup.cut.time]
    if not windows:
        raise _unreachable(journal, point, "no entry covers it", since=time, until=time)
    window = windows[0]
    stop = None if window.backup.cut.time == time else Stop(time=time)
    return _through(journal, window, point, stop=stop)


def _begins_before(entry: Entry, time: Instant) -> bool:
    since = link_of(entry).since
    return since is not None and since.time < time


def _to_transaction(journal: Journal, xid: int, point: Point) -> RecoveryPlan:
    for entry in chain.links(journal):
        since = link_of(entry).since
        if xid in visible(entry.backup.cut.snapshot) and since is not None and xid not in visible(since.snapshot):
            return _through(journal, entry, point, stop=Stop(xid=xid))
    raise _unreachable(journal, point, "it falls between no two entries")


def _through(journal: Journal, entry: Entry, point: Point, *, stop: Stop | None) -> RecoveryPlan:
    """From the latest full backup before the end of `entry`, by all links between."""
    links = chain.links(journal)
    upto = links[: links.index(entry) + 1]
    needed = upto[:-1] if stop else upto  # a full at the very end shows too much for a stop before it
    bases = {full.backup.cut: full for full in journal.entries if _may_begin(full, point)}
    for i in range(len(upto) - 1, -1, -1):
        steps = upto[i + 1 :]
        if any(step.backup.kind == "gap" for step in steps):
            break
        if upto[i] in needed and upto[i].backup.cut in bases:
            return RecoveryPlan(base=bases[upto[i].backup.cut], steps=steps, stop=stop)
    since = link_of(entry).since
    end = entry.backup.cut.time
    raise _unreachable(journal, point, _why(upto), since=since.time if since else end, until=end)


def _may_begin(entry: Entry, point: Point) -> bool:
    return entry.backup.kind == "full" and point.base in (None, entry.sequence)


def _why(upto: Sequence[Entry]) -> str:
    gap = next((entry for entry in reversed(upto) if entry.backup.kind == "gap"), None)
    since = link_of(gap).since if gap else None
    if gap is None or since is None:
        return "there was no full backup to begin with"
    lost = f"entry {gap.sequence} is a gap from {since.time} to {gap.backup.cut.time} ({link_of(gap).gap})"
    return lost if gap is upto[-1] else f"{lost}, and no full backup was made after it"


def _unreachable(
    journal: Journal, point: Point, why: str, *, since: Instant | None = None, until: Instant | None = None
) -> NotRestorable:
    moments = reachable(journal)
    before = max((m for m in moments if since is None or m <= since), default=None)
    after = min((m for m in moments if until is not None and m >= until), default=None)
    near = " and ".join(text for text in (before and f"{before} before it", after and f"{after} after it") if text)
    return NotRestorable(
        f"{journal.database} cannot be brought back to {point}: {why}",
        next_step=f"the nearest moments that can: {near} (--at)" if near else f"pgkeep list {journal.database}",
    )


def reachable(journal: Journal) -> frozenset[Instant]:
    """The ends of all entries to which there is a way."""
    found = {entry.backup.cut.time for entry in journal.entries if entry.backup.kind == "full"}
    joined = False
    bases = chain.full_cuts(journal)
    for entry in chain.links(journal):
        joined = entry.backup.cut in bases or (joined and entry.backup.kind == "changes")
        if joined:
            found.add(entry.backup.cut.time)
    return frozenset(found)
