"""What is late or wrong, one thing after the other."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pgkeep import chain
from pgkeep.errors import ConfigError, Corrupted, NotReplicated, Overdue, PgkeepError
from pgkeep.freshness.facts import Concern, Facts, Limits, contradicting, newest
from pgkeep.journal import Journal
from pgkeep.model import Cid, Entry, Instant, instant
from pgkeep.progress import human_size, human_time

CLOCKS_APART = timedelta(minutes=10)
"""That far two machines' clocks may differ."""
GRAVEST_FIRST = (Corrupted, ConfigError, Overdue, NotReplicated)
MEND = "see docs/operating.md, 'The audit'"
REFUSED = "see docs/operating.md, 'A journal that is refused'"


def judge(facts: Facts, limits: Limits) -> tuple[Concern, ...]:
    """All that is late or wrong, gravest first. Raises Corrupted: the chain is broken."""
    found = [
        *_rollback(facts),
        *_clock(facts),
        *_newest(facts, limits.newest),
        *_proven(facts, limits.proven),
        *_audit(facts, limits.audit),
        *_damaged(facts),
        *_retained(facts, limits.retained),
        *_copies(facts),
        *_keys(facts),
    ]
    return tuple(sorted(found, key=lambda concern: GRAVEST_FIRST.index(concern.kind)))


def error(database: str, concerns: Sequence[Concern], *, last_try: bool = True) -> PgkeepError:
    """All of them in one: of the gravest kind. Before the last try, of the kind that is tried again if copies are
    missing, whatever else is late: a peer that is started anew is back in a minute. Corrupted waits for nothing.
    """
    what = f"{database}: " + "; ".join(concern.what for concern in concerns)
    step = "; ".join(dict.fromkeys(concern.next_step for concern in concerns))
    at_once = last_try or concerns[0].kind is Corrupted
    short = next((concern.shortage for concern in concerns[: 1 if at_once else None] if concern.shortage), None)
    if short is None:
        return concerns[0].kind(what, next_step=step)
    return NotReplicated(what, next_step=step, have=short.have, want=short.want, holders={})


# --- one by one --------------------------------------------------------------------------------------------------


def _rollback(facts: Facts) -> Iterator[Concern]:
    head = facts.head
    newer = contradicting(facts.remembered, facts.lineage)
    if newer:
        seen = " and ".join(f"{_version(memory.seen.sequence, memory.seen.cid)} ({memory.where})" for memory in newer)
        forget = ", and ".join(memory.forget for memory in newer)
        yield Concern(
            topic="rollback",
            kind=Corrupted,
            what=f"its journal is at {_version(head.journal.sequence, head.cid)}, but what was seen before is {seen}, "
            "which it does not come after: versions were removed or replaced",
            next_step=f"find out who can write to the cluster; {REFUSED}; if one of you has put it back on purpose, "
            f"{forget}",
        )


def _version(sequence: int, cid: Cid | None) -> str:
    return f"version {sequence}" + (f" ({cid})" if cid else "")


def _clock(facts: Facts) -> Iterator[Concern]:
    line = facts.journal.written
    if facts.now + CLOCKS_APART < _moment(line):
        yield Concern(
            topic="clock",
            kind=ConfigError,
            what=f"this machine's clock says {instant(facts.now)}, which is before the newest line of the journal "
            f"({line}): ages are counted from that line",
            next_step="set the clocks of all nodes by NTP",
        )


def _newest(facts: Facts, limit: timedelta) -> Iterator[Concern]:
    way = newest(facts.surviving)
    since = _shown(way.last) if way else _first_line(facts.journal)
    if _age(since, facts) <= limit:
        return
    what = (
        f"the newest moment that can be restored is {since} (entry {way.last.sequence}), {_ago(since, facts)}"
        if way
        else f"there is nothing that can be restored, though its journal began {_ago(since, facts)}"
    )
    yield Concern(
        topic="newest",
        kind=Overdue,
        what=f"{what}; {_words(limit)} are allowed",
        next_step=f"see why the runs that make its backups fail, or do not begin; then: pgkeep backup "
        f"{facts.journal.database}",
    )


def _proven(facts: Facts, limit: timedelta) -> Iterator[Concern]:
    journal = facts.journal
    if not (facts.drills and journal.entries):
        return
    proven = next(reversed(chain.proven(facts.surviving)), None)
    since = _shown(proven) if proven else _first_line(journal)
    if _age(since, facts) > limit:
        found = (
            f"the newest full backup that a drill has proven is entry {proven.sequence}, of {since}"
            if proven
            else f"no drill has proven any full backup, though there are some since {since}"
        )
        yield Concern(
            topic="proven",
            kind=Overdue,
            what=f"{found}, {_ago(since, facts)}; {_words(limit)} are allowed",
            next_step=f"see why drills fail, or do not run; then: pgkeep drill {journal.database}",
        )


def _audit(facts: Facts, limit: timedelta) -> Iterator[Concern]:
    if not facts.journal.entries:
        return
    since = facts.audited or _first_line(facts.journal)
    if _age(since, facts) > limit:
        ended = f"the last audit ended at {since}" if facts.audited else f"there was no audit since {since}"
        yield Concern(
            topic="audit",
            kind=Overdue,
            what=f"{ended}, {_ago(since, facts)}; {_words(limit)} are allowed",
            next_step=f"see why audits do not run, or do not end; then: pgkeep audit {facts.journal.database}",
        )


def _damaged(facts: Facts) -> Iterator[Concern]:
    if facts.damage is not None:
        yield Concern(
            topic="damaged",
            kind=Corrupted,
            what=f"the last audit, which ended at {facts.audited}, found what it could not mend: {facts.damage}",
            next_step=f"{MEND}; then: pgkeep audit {facts.journal.database} --share 1",
        )


def _retained(facts: Facts, limit: int) -> Iterator[Concern]:
    if facts.retained is not None and facts.retained > limit / 2:
        yield Concern(
            topic="retained",
            kind=Overdue,
            what=f"its server keeps {human_size(facts.retained)} of WAL for the next collection of changes; from "
            f"{human_size(limit)} on the changes are given up",
            next_step=f"see why collections fail, or do not run; then: pgkeep backup {facts.journal.database}",
        )


def _copies(facts: Facts) -> Iterator[Concern]:
    if facts.shortages:
        worst = min(facts.shortages, key=lambda short: short.have - short.want)
        entries = ", ".join(str(short.entry) for short in facts.shortages)
        yield Concern(
            topic="copies",
            kind=NotReplicated,
            what=f"entry {worst.entry}, which the newest moment needs, has {worst.have} copies instead of {worst.want} "
            f"(fewer than wanted: {entries})",
            next_step=f"bring missing peers back; then: pgkeep audit {facts.journal.database}",
            shortage=worst,
        )


def _keys(facts: Facts) -> Iterator[Concern]:
    for key in facts.keys:
        kind = ConfigError if key.fatal else Overdue
        yield Concern(topic="keys", kind=kind, what=key.what, next_step=key.next_step)


# --- times -------------------------------------------------------------------------------------------------------


def _first_line(journal: Journal) -> Instant:
    """Since when the database is kept."""
    return journal.entries[0].recorded if journal.entries else journal.written


def _shown(entry: Entry) -> Instant:
    """The moment that it shows, by two clocks, the source's and the writer's: one of them may have been ahead."""
    return min(entry.backup.cut.time, entry.recorded)


def _age(since: Instant, facts: Facts) -> timedelta:
    """Counted up to the newest line of the journal, at least. An older line that was ahead is forgotten."""
    return max(facts.now, _moment(facts.journal.written)) - _moment(since)


def _ago(since: Instant, facts: Facts) -> str:
    return f"{_words(_age(since, facts))} ago"


def _words(length: timedelta) -> str:
    return human_time(length.total_seconds())


def _moment(text: Instant) -> datetime:
    return datetime.fromisoformat(text)
