"""How a restore is approved by a person before anything happens. Read it top to bottom.

    what is wanted -> proposal -> an answer -> exactly what was proposed: restore beside, compare, take the place

What a person has approved is fixed by the numbers of its entries and the digests of their bytes, and by the very
database that would be replaced. Whatever has changed meanwhile is not carried out by somebody's old word.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from pgkeep import records, restore
from pgkeep.errors import ConfigError, Corrupted, NotRestorable
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.meter import unwatched
from pgkeep.model import Digest, Instant, Verdict, instant
from pgkeep.plan import Point, RecoveryPlan, Stop, plan
from pgkeep.ports import Fresh, Holdings, Occupant, Sealer, Target, Watch
from pgkeep.restore import Restored

Where = Literal["scratch", "production"]
"""`scratch`: the server of the drills. `production`: the one whose database is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for. `dbname`: under which name it comes back on that server."""

    point: Point
    where: Where
    dbname: str
    replace: bool
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is going to be done if a person approves it: all that he is shown, and all that binds the one who does it.

    `version`: of the journal that was read. `base`, `steps`: numbers of its entries; `digest`: over what they name.
    `reached`: the moment of the last of them. `size`: bytes to read. `full_seconds`: how long the full backup took.
    `drilled`: the last drill of that full backup, else the last one at all. `production`: it goes to the server whose
    database is kept. `occupant`: what stands under the target's name now.
    """

    database: str
    version: int
    base: int
    steps: tuple[int, ...]
    stop: Stop | None
    digest: Digest
    reached: Instant
    size: int
    rows: int
    changes: int
    transactions: int
    full_seconds: float
    drilled: Verdict | None
    where: Where
    dbname: str
    label: str
    production: bool
    replace: bool
    stale: bool
    occupant: Occupant | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user, as Airflow has recorded him."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A person has said yes to this proposal. `run`: for which run of Airflow; `triggered_by`: who had started it."""

    proposal: Proposal
    run: str
    triggered_by: str | None
    by: Person
    time: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who may approve. `another`: into production, only somebody else than who asked. `approvers`: ids; empty: all."""

    another: bool
    approvers: tuple[str, ...]

    def require_askable(self, proposal: Proposal, *, triggered_by: str | None) -> None:
        """Raises ConfigError: nobody's answer could count."""
        if not (self.another and proposal.production):
            return
        if not triggered_by:
            raise ConfigError(
                "Airflow does not know who triggered this run, and a restore into production needs approval by "
                "somebody else (approval_by_another)",
                next_step="trigger it in the Airflow UI or by its REST API, with a login",
            )
        if self.approvers and not self.respondents(proposal, triggered_by=triggered_by):
            raise ConfigError(
                f"only {triggered_by} may approve (approvers), and has triggered this run",
                next_step="let somebody else trigger it, or name another of the approvers in pgkeep.toml",
            )

    def respondents(self, proposal: Proposal, *, triggered_by: str | None) -> tuple[str, ...]:
        """The ids that Airflow itself is to let answer; empty: everybody who may answer at all."""
        if self.another and proposal.production:
            return tuple(who for who in self.approvers if who != triggered_by)
        return self.approvers

    def objection(self, proposal: Proposal, *, triggered_by: str | None, by: Person | None) -> str | None:
        """Why this person's approval does not count, or None."""
        if by is None:
            return "Airflow does not say who approved"
        if self.approvers and by.id not in self.approvers:
            return f"{by.name} is not among those who may approve ({', '.join(self.approvers)})"
        if not (self.another and proposal.production):
            return None
        if not triggered_by:
            return "Airflow does not say who triggered this run"
        if triggered_by in (by.id, by.name):
            return f"{by.name} has triggered this run, and somebody else has to approve it (approval_by_another)"
        return None


def point(text: str) -> Point:
    """`latest`, a moment with its time zone, `entry N` or `xid X`. Raises ConfigError."""
    wanted = text.strip()
    if wanted == "latest":
        return Point()
    if found := re.fullmatch(r"(entry|xid) (\d{1,19})", wanted):
        number = int(found[2])
        return Point(entry=number) if found[1] == "entry" else Point(xid=number)
    with contextlib.suppress(ValueError):
        if (moment := datetime.fromisoformat(wanted)).tzinfo is not None:
            return Point(time=instant(moment))
    raise ConfigError(
        f"{text!r} is no moment to restore",
        next_step="write latest, a time with its zone as 2026-01-31T14:05:00Z, entry N or xid X (see pgkeep list)",
    )


def propose(wish: Wish, journals: JournalStore, target: Target, *, production: bool) -> Proposal:
    """What would be done, and what would be replaced by it; nothing is. Raises NotRestorable, ConfigError (something
    stands there and is not to be replaced), Unavailable, Corrupted.
    """
    journal = journals.head().journal
    way = plan(journal, wish.point)
    restore.require_exact(way, stale=wish.stale)
    target.require_free(replace=wish.replace)
    links = [step.backup.link for step in way.steps if step.backup.link]
    return Proposal(
        database=journal.database,
        version=journal.sequence,
        base=way.base.sequence,
        steps=tuple(step.sequence for step in way.steps),
        stop=way.stop,
        digest=digest(way),
        reached=way.last.backup.cut.time,
        size=way.size,
        rows=way.base.backup.totals.rows if way.base.backup.totals else 0,
        changes=sum(link.changes for link in links),
        transactions=sum(link.transactions for link in links),
        full_seconds=way.base.backup.seconds,
        drilled=journal.verdict(way.base) or next(reversed(journal.verdicts), None),
        where=wish.where,
        dbname=wish.dbname,
        label=target.label,
        production=production,
        replace=wish.replace,
        stale=wish.stale,
        occupant=target.occupant(),
    )


def sealed(approved: Approved, sealer: Sealer) -> bytes:
    """An approval as this node's key vouches for it: who may write what travels between tasks cannot forge it.

    Raises ConfigError, Unavailable.
    """
    return b"".join(sealer.seal(iter([records.to_bytes(approved)]), audience="journal"))


def unsealed(text: bytes, sealer: Sealer, *, run: str) -> Approved:
    """The approval that a node has sealed for that run. Raises Corrupted, ConfigError."""
    approved = records.from_bytes(Approved, b"".join(sealer.open(iter([text]))))
    if approved.run != run:
        raise Corrupted(f"this approval was given to {approved.run}, not to {run}", next_step="trigger a new run")
    return approved


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a restore knows from one try to the next: the identity of the database that was about to take the place."""

    recall: Callable[[], str | None]
    remember: Callable[[str], None]


def carry_out(
    approved: Approved,
    sealer: Sealer,
    vault: Holdings,
    journals: JournalStore,
    target: Target,
    *,
    memory: Memory,
    watch: Watch = unwatched,
) -> Restored | None:
    """Does what was approved, once. None: an earlier try that was killed had already given it the target's name.

    What an earlier try has left half-made is dropped. Raises as `restore.restore`; NotRestorable, ConfigError: what was
    approved is not there any more.
    """
    proposal = approved.proposal
    require_same_place(proposal, target)
    standing = target.occupant()
    if standing is not None and standing.identity == memory.recall():
        return None
    require_as_shown(proposal, standing)
    way = approved_plan(proposal, journals.head().journal)

    def last_look(fresh: Fresh) -> None:
        require_as_shown(proposal, target.occupant())
        memory.remember(fresh.identity)

    return restore.restore(
        way,
        sealer,
        vault,
        target,
        replace=proposal.replace,
        stale=proposal.stale,
        before_place=last_look,
        watch=watch,
    )


def require_young(approved: Approved, *, hours: float, now: datetime) -> None:
    """Raises ConfigError: what was right when it was approved may not be any more."""
    age = now - datetime.fromisoformat(approved.time)
    if age > timedelta(hours=hours):
        raise ConfigError(
            f"this restore was approved at {approved.time}, more than {hours:g} hours ago (approval_hours)",
            next_step="trigger a new run, which shows what stands there now",
        )


def require_same_place(proposal: Proposal, target: Target) -> None:
    """Raises ConfigError: a connection was changed since."""
    if target.label != proposal.label:
        raise ConfigError(
            f"{proposal.where} is {target.label} now, and was {proposal.label} when this restore was approved",
            next_step="trigger a new run",
        )


def require_as_shown(proposal: Proposal, standing: Occupant | None) -> None:
    """Raises ConfigError if another database stands under the target's name than the one that was shown."""
    shown = proposal.occupant
    if standing is not None and (shown is None or shown.identity != standing.identity):
        was = "nothing was there" if shown is None else "it was another one"
        raise ConfigError(
            f"the database that stands at {proposal.label} now is not what was shown for approval ({was}); "
            "nothing was replaced by this try",
            next_step="look at it (an earlier try, or another restore, may have brought it); then trigger a new run",
        )


def approved_plan(proposal: Proposal, journal: Journal) -> RecoveryPlan:
    """The very plan that was approved, whatever the journal names since. Raises NotRestorable, Corrupted."""
    known = {entry.sequence: entry for entry in journal.entries}
    gone = [str(number) for number in (proposal.base, *proposal.steps) if number not in known]
    if gone:
        raise NotRestorable(
            f"the journal of {proposal.database} does not name entry {', '.join(gone)} any more, which was approved",
            next_step="trigger a new run: it proposes what can be restored now",
        )
    way = RecoveryPlan(
        base=known[proposal.base], steps=tuple(known[number] for number in proposal.steps), stop=proposal.stop
    )
    if digest(way) != proposal.digest:
        raise Corrupted(
            f"the journal of {proposal.database} names other backups under the numbers that were approved",
            next_step="find out who wrote it: pgkeep list; then trigger a new run",
        )
    return way


def digest(way: RecoveryPlan) -> Digest:
    """Over what a plan reads, in which order, and where it stops: the plaintext, which rekeying leaves as it is."""
    named: Sequence[object] = [
        [entry.sequence, asdict(entry.backup.cut), [[part.name, part.plain_digest] for part in entry.backup.parts]]
        for entry in (way.base, *way.steps)
    ]
    stop = asdict(way.stop) if way.stop else None
    return Digest(hashlib.sha256(json.dumps([named, stop], sort_keys=True).encode()).hexdigest())
