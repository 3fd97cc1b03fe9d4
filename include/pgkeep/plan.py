"""Which entries bring a database back to a moment: one full backup, and the links that touch it, without a gap (I5)."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pgkeep import chain
from pgkeep.chain import link_of
from pgkeep.errors import LISTED, NotRestorable
from pgkeep.journal import Journal
from pgkeep.model import Cut, Entry, Instant
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
    """The shortest way to that point. Raises NotRestorable with what can be reached instead, and how to ask for it."""
    if point.base is None:
        return _shortest(journal, point)
    base = _full(journal, point.base)
    try:
        return _shortest(journal, point)
    except NotRestorable as error:
        raise _not_from(base, error, nearest=_shortest(journal, replace(point, base=None)), point=point) from None


def _full(journal: Journal, sequence: int) -> Entry:
    found = journal.entry(sequence)
    if found.backup.kind != "full":
        fulls = ", ".join(str(entry.sequence) for entry in journal.entries if entry.backup.kind == "full")
        raise NotRestorable(
            f"a restore of {journal.database} cannot begin with entry {sequence}, which is no full backup",
            next_step=f"--base with one of these: {fulls}; or leave out --base" if fulls else "leave out --base",
        )
    return found


def _not_from(base: Entry, error: NotRestorable, *, nearest: RecoveryPlan, point: Point) -> NotRestorable:
    """There is a way to that point, but not from the full backup that was named."""
    late = base.backup.cut.time >= nearest.last.backup.cut.time
    why = f"entry {base.sequence} cannot be brought back to {point}: it shows a later moment" if late else error.what
    return NotRestorable(
        why, next_step=f"leave out --base, or begin with entry {nearest.base.sequence}: --base {nearest.base.sequence}"
    )


def _shortest(journal: Journal, point: Point) -> RecoveryPlan:
    if point.entry is not None:
        return _to_entry(journal, journal.entry(point.entry), point)
    if point.time is not None:
        return _to_time(journal, point.time, point)
    if point.xid is not None:
        return _to_transaction(journal, point.xid, point)
    return _to_latest(journal, point)


def _to_latest(journal: Journal, point: Point) -> RecoveryPlan:
    """The latest moment to which there is a way: between a gap and its full backup there is none to the last entry."""
    journal.entry()  # without any at all, that is what has to be said
    # In the chain's order: a clock may have been wrong. A full backup is recorded after what begins at its moment.
    order = chain.order(journal)
    moments = sorted(journal.entries, key=lambda entry: chain.rank(entry, order), reverse=True)
    for entry in () if point.base else moments:
        with contextlib.suppress(NotRestorable):
            return _to_entry(journal, entry, point)
    return _to_entry(journal, moments[0], point)


def _to_entry(journal: Journal, entry: Entry, point: Point) -> RecoveryPlan:
    if entry.backup.kind != "full":
        return _through(journal, entry, point, stop=None)
    if point.base in (None, entry.sequence):
        return RecoveryPlan(base=entry, steps=())
    for link in chain.links(journal):
        if link.backup.cut == entry.backup.cut:
            return _through(journal, link, point, stop=None)
    raise _unreachable(journal, point, "no entry carries the changes up to it", since=None, until=None)


def _to_time(journal: Journal, time: Instant, point: Point) -> RecoveryPlan:
    for entry in journal.entries:
        if entry.backup.kind == "full" and entry.backup.cut.time == time:
            return _to_entry(journal, entry, point)
    windows = [e for e in chain.links(journal) if _begins_before(e, time) and time <= e.backup.cut.time]
    if not windows:
        raise _uncovered(journal, point, lambda cut: cut.time >= time)
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
    raise _uncovered(journal, point, lambda cut: xid in visible(cut.snapshot))


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
        return "no full backup before it is left to begin with"
    lost = f"entry {gap.sequence} is a gap from {since.time} to {gap.backup.cut.time} ({link_of(gap).gap})"
    return lost if gap is upto[-1] else f"{lost}, and no full backup was made after it"


def _uncovered(journal: Journal, point: Point, shows: Callable[[Cut], bool]) -> NotRestorable:
    """For what is before the first entry, after the last, or between two full backups alone."""
    journal.entry()  # without any at all, that is what has to be said
    cuts = [entry.backup.cut for entry in journal.entries]
    since = max((cut.time for cut in cuts if not shows(cut)), default=None)
    until = min((cut.time for cut in cuts if shows(cut)), default=None)
    if since is None:
        why = "it is before the first backup"
    else:
        why = f"no changes were kept from {since} to {until}" if until else f"nothing after {since} was kept yet"
    return _unreachable(journal, point, why, since=since, until=until)


def _unreachable(
    journal: Journal, point: Point, why: str, *, since: Instant | None, until: Instant | None
) -> NotRestorable:
    """`since`, `until`: the moments around the point; None: there is none on that side."""
    moments = reachable(journal)
    before = max((moment for moment in moments if since and moment <= since), default=None)
    after = min((moment for moment in moments if until and moment >= until), default=None)
    ways = {"the last moment before it": before, "the first moment after it": after}
    near = ", or ".join(f"{which}, {moment}" for which, moment in ways.items() if moment)
    return NotRestorable(
        f"{journal.database} cannot be brought back to {point}: {why}",
        next_step=f"restore {near}" if near else f"choose among the entries: {LISTED}",
    )


def reachable(journal: Journal) -> frozenset[Instant]:
    """The ends of all entries to which there is a way."""
    ways = bases(journal)
    return frozenset(entry.backup.cut.time for entry in journal.entries if entry.sequence in ways)


def bases(journal: Journal) -> Mapping[int, Entry]:
    """By entry, the full backup with which the shortest way to its end begins. Entries without a way are not there."""
    fulls = {entry.backup.cut: entry for entry in journal.entries if entry.backup.kind == "full"}
    found = {entry.sequence: entry for entry in journal.entries if entry.backup.kind == "full"}
    base: Entry | None = None
    for link in chain.links(journal):
        base = fulls.get(link.backup.cut) or (base if link.backup.kind == "changes" else None)
        if base is not None:
            found[link.sequence] = base
    return found
