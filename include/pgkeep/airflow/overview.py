"""One database at a glance: what can be restored, whether that was proven, when it was audited, how many copies.

Facts and their ages. How old is too old is judged by `freshness`, as the watch does it; what is wrong whatever its age
says what to do about it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pgkeep import chain
from pgkeep.errors import NotRestorable
from pgkeep.freshness import Concern, Facts
from pgkeep.journal import Journal
from pgkeep.model import Entry, Instant
from pgkeep.plan import Point, RecoveryPlan, plan
from pgkeep.progress import human_time
from pgkeep.sentences import counted, moment

SHOWN_AT: Mapping[str, str] = {"damaged": "audit"}
"""Concerns that are shown at a fact of another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing to know. `topic`: newest, proven, audit or copies. `said`: in a few words; `more`: beside it, quietly.

    `next_step`: what somebody has to do about it; "": nothing.
    """

    topic: str
    said: str
    more: str = ""
    next_step: str = ""


def at_a_glance(known: Facts) -> tuple[Fact, ...]:
    """What there is to know at that moment, the most important first. Raises Corrupted: the chain is broken."""

    def age(of: Instant) -> str:
        seconds = (known.now - datetime.fromisoformat(of)).total_seconds()
        return f"{human_time(seconds)} ago" if seconds >= 0 else f"{human_time(-seconds)} AHEAD of this clock"

    journal = known.journal
    try:
        way = plan(known.surviving, Point())
    except NotRestorable as error:
        return (Fact(topic="newest", said="nothing", more=error.what, next_step=error.next_step),)
    return (
        _newest(way, journal, age),
        _proven(known.surviving, age),
        _audit(known, age),
        _copies(way, journal.database),
    )


def judged(found: Sequence[Fact], concerns: Sequence[Concern]) -> tuple[tuple[Fact, ...], tuple[str, ...]]:
    """The facts, with what is to be done where one is too old, or bad; and what else is to be done."""
    steps = defaultdict[str, list[str]](list)
    for concern in concerns:
        steps[SHOWN_AT.get(concern.topic, concern.topic)].append(f"{concern.what}. Next: {concern.next_step}")
    facts = tuple(replace(fact, next_step=fact.next_step or "; ".join(steps[fact.topic])) for fact in found)
    known = {fact.topic for fact in found}
    return facts, tuple(step for topic, each in steps.items() for step in each if topic not in known)


def _newest(way: RecoveryPlan, journal: Journal, age: Callable[[Instant], str]) -> Fact:
    shown = way.last.backup.cut.time
    steps = f", and the changes up to entry {way.last.sequence}" if way.steps else ""
    order = chain.order(journal)  # not by the times: a clock may have been wrong
    last = max(journal.entries, key=lambda entry: chain.rank(entry, order))
    lost = order[last.sequence] > order[way.last.sequence]
    return Fact(
        topic="newest",
        said=f"{moment(shown)}, {age(shown)}",
        more=f"from entry {way.base.sequence}{steps}",
        next_step=f"entry {last.sequence} is later, but nothing leads to it: pgkeep backup {journal.database} --full"
        if lost
        else "",
    )


def _proven(journal: Journal, age: Callable[[Instant], str]) -> Fact:
    fulls = chain.fulls(journal)
    proven = next(reversed(chain.proven(journal)), None)
    bad = next((entry for entry in reversed(fulls) if _failure(journal, entry)), None)
    said, more = "nothing", ""
    next_step = "" if proven else f"restore one to see: pgkeep drill {journal.database} (docs/operating.md, Drills)"
    if proven is not None:
        verdict = journal.verdict(proven)
        assert verdict is not None
        said = f"entry {proven.sequence}, {age(proven.backup.cut.time)}"
        took = human_time(verdict.ways[0].seconds)
        more = f"came back equal in {took}, from {verdict.name}; drilled {age(verdict.time)}"
    if bad is not None and (proven is None or fulls.index(bad) >= fulls.index(proven)):
        next_step = f"the drill of entry {bad.sequence} failed: {_failure(journal, bad)} (docs/operating.md, Drills)"
    return Fact(topic="proven", said=said, more=more, next_step=next_step)


def _failure(journal: Journal, entry: Entry) -> str | None:
    verdict = journal.verdict(entry)
    return verdict.failure if verdict else None


def _audit(known: Facts, age: Callable[[Instant], str]) -> Fact:
    name = known.journal.database
    if known.audited is None:
        return Fact(topic="audit", said="never", next_step=f"have the peers show what they hold: pgkeep audit {name}")
    return Fact(topic="audit", said=age(known.audited), more=moment(known.audited))


def _copies(way: RecoveryPlan, database: str) -> Fact:
    """Of what a restore of the newest moment needs: the fewest that anything of it has."""
    needed = [entry for entry in (way.base, *way.steps) if entry.backup.parts]
    have, entry = min(((_fewest(entry), entry) for entry in needed), key=lambda found: found[0] - found[1].copies)
    wanting = have < entry.copies
    return Fact(
        topic="copies",
        said=f"{have} of {entry.copies}",
        more=f"of {counted(len(needed), 'entry', 'entries')} that the newest moment needs, when recorded",
        next_step=f"entry {entry.sequence} has too few: pgkeep audit {database}" if wanting else "",
    )


def _fewest(entry: Entry) -> int:
    return min(len(copies) for copies in entry.holders.values())
