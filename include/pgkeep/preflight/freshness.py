"""Whether a database's backups are as young as they should be: what `pgkeep.freshness` judges is gathered here.

Needs the node's own key, and no recipient's.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pgkeep.adapters.postgres import CaptureReport
from pgkeep.audit import ledger
from pgkeep.copies import claimed_copies
from pgkeep.errors import PgkeepError
from pgkeep.freshness import Concern, Facts, Memory, Recollection, Shortage, judge, newest, sight
from pgkeep.journal import Head, Journal
from pgkeep.losses import surviving
from pgkeep.model import Cid
from pgkeep.ports import Complaint
from pgkeep.progress import human_time
from pgkeep.site import Site

from .finding import Finding, failed

log = logging.getLogger(__name__)


def look(site: Site, memory: Memory) -> tuple[Facts, tuple[Concern, ...]]:
    """What is known of a database, and what somebody has to see to. What was seen is remembered, unless it is older.

    Raises Unavailable, Corrupted, NotRestorable, ConfigError: the journal cannot be had.
    """
    facts = _facts(site, memory)
    concerns = judge(facts, site.database.limits)
    if not any(concern.topic == "rollback" for concern in concerns):
        memory.keep(sight(facts.head, lost=facts.lost))
    return facts, concerns


def lineage(site: Site, head: Head, remembered: Sequence[Recollection]) -> Mapping[int, Cid]:
    """As far back as to what is remembered: see `JournalStore.lineage`."""
    known = [memory.seen.sequence for memory in remembered if memory.seen.cid]
    return site.journals.lineage(head, back_to=min(known, default=head.journal.sequence))


def freshness(site: Site, memory: Memory) -> Iterator[Finding]:
    """The findings about it."""
    about = f"database {site.database.name}"
    try:
        facts, concerns = look(site, memory)
    except PgkeepError as error:
        yield failed(error, about)
        return
    for concern in concerns:
        yield Finding(about=about, what=concern.what, next_step=concern.next_step, fatal=True, kind=concern.kind)
    way = newest(facts.surviving)
    if way and not any(concern.topic == "newest" for concern in concerns):
        time = way.last.backup.cut.time
        age = human_time((facts.now - datetime.fromisoformat(time)).total_seconds())
        yield Finding(about=about, what=f"can be restored as it was {age} ago: entry {way.last.sequence}, {time}")


def _facts(site: Site, memory: Memory) -> Facts:
    remembered = tuple(memory.recall())  # first: what is recorded meanwhile makes the journal newer, never the memory
    listing = site.journals.search.listing()
    head = site.journals.search.head(listing)
    known, now = ledger.known(site.journals.search, listing), datetime.now(UTC)
    return Facts(
        head=head,
        now=now,
        remembered=remembered,
        lineage=lineage(site, head, remembered),
        audited=known.ended,
        damage=known.damaged(head.journal),
        lost=known.lost,
        drills=site.scratch is not None,
        retained=_retained(site),
        shortages=tuple(_shortages(surviving(head.journal, known.lost), site)),
        keys=tuple(_keys(site, now)),
    )


def _retained(site: Site) -> int | None:
    """A source that does not answer shows soon enough: its newest moment grows old."""
    try:
        report = site.capture.report() if site.capture else None
    except PgkeepError as error:
        log.warning("what the source keeps for %s is not known: %s", site.database.name, error)
        return None
    return report.slot.kept if isinstance(report, CaptureReport) and report.slot else None


def _shortages(journal: Journal, site: Site) -> Iterator[Shortage]:
    """Of what a restore of the newest moment needs, as the cluster claims it. What else there is, audits look after."""
    way = newest(journal)
    needed = [entry for entry in ((way.base, *way.steps) if way else ()) if entry.backup.parts]
    have = claimed_copies(needed, site.vault)
    for entry in needed:
        if have[entry.sequence] < entry.copies:
            yield Shortage(entry=entry.sequence, have=have[entry.sequence], want=entry.copies)


def _keys(site: Site, now: datetime) -> Iterator[Complaint]:
    """What no key does any more, and what one will not do soon: other remarks on keys are for `pgkeep check` alone."""
    soon = timedelta(days=site.database.key_days)
    always = {problem.what for problem in site.sealer.problems(now, soon=timedelta(0))}
    for problem in site.sealer.problems(now, soon=soon):
        if problem.fatal or problem.what not in always:
            yield problem
