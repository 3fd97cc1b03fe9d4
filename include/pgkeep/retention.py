"""Which entries a journal keeps naming, and why. Pure: a journal and a policy in, a reason for each entry out.

There are two parts. The *span*: from some full backup on to the end, everything is kept, so every moment in it stays.
It reaches back far enough for the hourly rule, for the newest full backup that a drill has proven, for the newest
moment there is, and for what its own changes begin at. *Before the span*: single full backups, by the other rules and
because they are proven.

The order is the chain's, then the journal's numbers; no clock decides it, and what time it is now is never asked. The
journal's own times only say what belongs to one day. Where they do not fit that order, a clock was wrong: such an entry
takes the place of no other, and stays as long as the ones right after it.
"""

import bisect
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pgkeep import chain
from pgkeep.errors import Corrupted
from pgkeep.journal import Journal
from pgkeep.losses import bereft, surviving
from pgkeep.model import Cid, Entry, Instant, PeerId, Verdict, Way
from pgkeep.plan import Point, bases, plan

Bucket = Callable[[Instant], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How much is kept. `last`: the newest full backups. `min_full`: never fewer proven full backups than that (I7).

    `hourly`: all moments of the last so many hours that have any, each with its whole plan. `daily` to `yearly`: of
    each of the last so many days .. that have one, the last full backup. The newest hour, day .. is never counted: it
    is not over. UTC.
    """

    last: int
    hourly: int
    daily: int
    weekly: int
    monthly: int
    yearly: int
    min_full: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of an entry. `reasons`: why it stays; there are none if it goes, and then `because` says why."""

    entry: Entry
    reasons: tuple[str, ...]
    because: str = "no rule keeps it"

    @property
    def stays(self) -> bool:
        return bool(self.reasons)


def choose(
    journal: Journal, policy: Policy, *, lost: Collection[Cid] = (), give_up: Collection[Cid] = ()
) -> tuple[Fate, ...]:
    """The fate of every entry, in the journal's order. `lost`: objects of which an audit has found no whole copy.

    `give_up`: those of them that nobody waits for: full backups that had them go, whatever the policy keeps. Raises
    Corrupted: the chain is broken.
    """
    if give_up:
        return _without(give_up, journal, policy, lost)
    whole = surviving(journal, lost)
    journal = with_losses(journal, lost)
    fulls, proven = chain.fulls(journal), chain.proven(journal)
    if len(proven) < policy.min_full:
        few = f"only {len(proven)} of {policy.min_full} full backups are proven: nothing goes before drills prove more"
        return tuple(Fate(entry=entry, reasons=(few,)) for entry in journal.entries)
    reasons = defaultdict[int, list[str]](list)
    _keep_span(journal, whole, policy, proven[-1], reasons)
    _keep_fulls(journal, policy, fulls, proven, reasons)
    fates = tuple(Fate(entry=entry, reasons=tuple(reasons[entry.sequence])) for entry in journal.entries)
    staying = tuple(fate.entry for fate in fates if fate.stays)
    require_harmless(journal, staying, min_full=policy.min_full, lost=lost)
    return fates


def _without(give_up: Collection[Cid], journal: Journal, policy: Policy, lost: Collection[Cid]) -> tuple[Fate, ...]:
    """Links stay in their chain, and a full backup that still names the files of LPBM is needed for that."""
    gone = {
        entry.sequence: Fate(entry=entry, reasons=(), because=_missing(entry, give_up))
        for entry in bereft(journal, give_up)
        if entry.backup.kind == "full" and ((named := entry.backup.part("ancestry")) is None or named.cid in give_up)
    }
    rest = replace(journal, entries=tuple(entry for entry in journal.entries if entry.sequence not in gone))
    fates = {fate.entry.sequence: fate for fate in choose(rest, policy, lost=lost)} | gone
    return tuple(fates[entry.sequence] for entry in journal.entries)


def _missing(entry: Entry, lost: Collection[Cid]) -> str:
    return f"no whole copy of its {' and '.join(part.name for part in entry.backup.parts if part.cid in lost)} is left"


def with_losses(journal: Journal, lost: Collection[Cid]) -> Journal:
    """With a bad verdict on each full backup that has lost an object: it does not come back, whatever a drill said."""
    gone = [
        Verdict(
            entry=entry.sequence,
            time=entry.recorded,
            origin=entry.backup.origin,
            peer=PeerId("audit"),
            name="an audit",
            ways=(Way(base=entry.sequence, last=entry.sequence, seconds=0.0, failure="no whole copy of it is left"),),
        )
        for entry in bereft(journal, lost)
        if entry.backup.kind == "full"
    ]
    return replace(journal, verdicts=(*journal.verdicts, *gone))


def require_harmless(
    journal: Journal, staying: tuple[Entry, ...], *, min_full: int, lost: Collection[Cid] = ()
) -> None:
    """The last look before anything goes. Raises Corrupted: what stays would not be what it is now."""
    after = replace(journal, entries=staying)
    whole, left = surviving(journal, lost), surviving(after, lost)
    before, ways = bases(whole), bases(left)
    cut_off = [entry.sequence for entry in staying if entry.sequence in before and entry.sequence not in ways]
    proven = sum(after.is_proven(entry) for entry in staying)
    if cut_off or proven < min_full or plan(left, Point()).last != plan(whole, Point()).last:
        raise Corrupted(
            f"retention would leave {journal.database} with {proven} proven full backups and no way to "
            f"{', '.join(map(str, cut_off)) or 'some entries'}; nothing was changed",
            next_step="report this: it should be impossible",
        )


# --- the span ----------------------------------------------------------------------------------------------------


def _keep_span(
    journal: Journal, whole: Journal, policy: Policy, proven: Entry, reasons: Mapping[int, list[str]]
) -> None:
    """`whole`: the journal without what is lost, for no way may lead through that."""
    ways, order = bases(whole), chain.order(journal)
    needed = {"the newest proven full backup": proven, "the newest moment": plan(whole, Point()).base}
    moments = sorted((e for e in whole.entries if e.sequence in ways), key=lambda entry: chain.rank(entry, order))
    if lately := all_of_each(moments, policy.hourly, _prefix(13)):
        begun = (ways[moment.sequence] for moment in lately)
        needed["the last hours"] = min(begun, key=lambda base: chain.rank(base, order))
    why, first = min(needed.items(), key=lambda item: chain.rank(item[1], order))
    while (base := _earliest_base(ways, order, since=first)) != first:
        why, first = f"the changes beside {why} begin at it", base
    for entry in journal.entries:
        if order[entry.sequence] >= order[first.sequence]:
            reasons[entry.sequence].append(f"all is kept from entry {first.sequence} on: {why}")


def _earliest_base(ways: Mapping[int, Entry], order: Mapping[int, int], *, since: Entry) -> Entry:
    """Of what the moments from `since` on begin at. It is earlier where `since` itself stands beside the chain."""
    bases = [base for number, base in ways.items() if order[number] >= order[since.sequence]]
    earlier = [base for base in bases if order[base.sequence] < order[since.sequence]]
    return min(earlier, key=lambda base: chain.rank(base, order), default=since)


# --- before the span ---------------------------------------------------------------------------------------------


def _keep_fulls(
    journal: Journal, policy: Policy, fulls: Sequence[Entry], proven: Sequence[Entry], reasons: Mapping[int, list[str]]
) -> None:
    rules = {
        "day": (policy.daily, _prefix(10)),
        "week": (policy.weekly, _week),
        "month": (policy.monthly, _prefix(7)),
        "year": (policy.yearly, _prefix(4)),
    }
    for full in fulls:
        if full.backup.part("ancestry"):
            reasons[full.sequence].append("it names the files of LPBM that it continues")
    for full in proven[-policy.min_full :]:
        reasons[full.sequence].append(f"proven, of which {policy.min_full} are kept")
    for full in fulls[-policy.last :]:
        reasons[full.sequence].append(f"one of the last {policy.last} full backups")
    refuted = frozenset(verdict.entry for verdict in journal.verdicts) - {full.sequence for full in proven}
    for span, (count, bucket) in rules.items():
        for full in last_of_each(fulls, count, bucket, refuted=refuted):
            reasons[full.sequence].append(f"the last of its {span}")


def last_of_each(
    entries: Sequence[Entry], count: int, bucket: Bucket, *, refuted: frozenset[int] = frozenset()
) -> list[Entry]:
    """Of each of the newest buckets the last entry, or the last that no drill has refuted. `entries`: oldest first.

    `count` buckets, and the newest one, which is not over yet. None at all if `count` is 0. An entry whose time does
    not fit into the order is kept as well, as long as the bucket of what came right after it is.
    """
    fitting = steady([entry.backup.cut.time for entry in entries])
    found, kept = dict[str, Entry](), list[Entry]()
    for i in range(len(entries) - 1, -1, -1) if count else ():
        if i not in fitting:
            kept.append(entries[i])
            continue
        key = bucket(entries[i].backup.cut.time)
        if key not in found and len(found) > count:
            break
        if key not in found or (found[key].sequence in refuted and entries[i].sequence not in refuted):
            found[key] = entries[i]
    return [*kept, *found.values()]


def all_of_each(entries: Sequence[Entry], count: int, bucket: Bucket) -> Sequence[Entry]:
    """All of each of the newest buckets, as many as for `last_of_each`, and what lies between them."""
    fitting = steady([entry.backup.cut.time for entry in entries])
    found = set[str]()
    for i in range(len(entries) - 1, -1, -1) if count else ():
        if i in fitting:
            found.add(bucket(entries[i].backup.cut.time))
        if len(found) > count + 1:
            return entries[i + 1 :]
    return entries if count else ()


def steady(times: Sequence[Instant]) -> frozenset[int]:
    """The indexes of the longest run of times that never go back: where all clocks were right, all of them."""
    ends, before = list[int](), dict[int, int]()
    for i, time in enumerate(times):
        at = bisect.bisect_right(ends, time, key=lambda j: times[j])
        if at:
            before[i] = ends[at - 1]
        ends[at : at + 1] = [i]
    found, i = set[int](), ends[-1] if ends else -1
    while i >= 0:
        found.add(i)
        i = before.get(i, -1)
    return frozenset(found)


def _prefix(length: int) -> Bucket:
    """Hours, days, months, years stand in the text of a moment."""
    return lambda time: time[:length]


def _week(time: Instant) -> str:
    year, week, _ = datetime.fromisoformat(time).isocalendar()
    return f"{year:04}-{week:02}"
