"""What was approved is done: that, once, and only while it is still what was shown."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgkeep import restore
from pgkeep.errors import ConfigError, Corrupted, NotRestorable
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.meter import unwatched
from pgkeep.plan import RecoveryPlan
from pgkeep.ports import Fresh, Holdings, Occupant, Sealer, Target, Watch
from pgkeep.restore import Restored

from .asking import digest
from .model import Approved, Proposal


@dataclass(frozen=True, kw_only=True)
class SwapNote:
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
    note: SwapNote,
    hours: float,
    now: datetime,
    watch: Watch = unwatched,
) -> Restored | None:
    """Does what was approved, once. None: an earlier try that was killed had already given it the target's name.

    `hours`: so long an approval counts. What an earlier try has left half-made is dropped. Raises as `restore.restore`;
    NotRestorable, ConfigError: the approval is too old, or what was approved is not there any more.
    """
    proposal = approved.proposal
    require_same_place(proposal, target)
    standing = target.occupant()
    if is_done(proposal, target, standing, made=note.recall()):
        return None
    require_young(approved, hours=hours, now=now)
    require_as_shown(proposal, standing)
    way = approved_plan(proposal, journals.head().journal)

    def last_look(fresh: Fresh) -> None:
        require_as_shown(proposal, target.occupant())
        note.remember(fresh.identity)

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


def is_done(proposal: Proposal, target: Target, standing: Occupant | None, *, made: str | None) -> bool:
    """Whether an earlier try has done it. `made`: the identity of what it was about to put in place.

    Raises ConfigError: it has, and somebody has taken that out of its place since.
    """
    if made is None or not target.holds(made):
        return False
    if standing is None or standing.identity != made:
        raise ConfigError(
            f"this restore was carried out before, and what it brought does not stand at {proposal.label} any more, "
            "but under another name there; nothing was replaced by this try",
            next_step="find out who has renamed it; to restore once more, trigger a new run",
        )
    return True


def require_young(approved: Approved, *, hours: float, now: datetime) -> None:
    """Raises ConfigError: what was right when it was approved may not be any more."""
    age = now - datetime.fromisoformat(approved.time)
    if age > timedelta(hours=hours):
        raise ConfigError(
            f"this restore was approved at {approved.time}, more than {hours:g} hours ago (approval_hours)",
            next_step="trigger a new run, which shows what stands there now",
        )


def require_same_place(proposal: Proposal, target: Target) -> None:
    """Raises ConfigError: a connection was changed since, or another server answers there."""
    if target.label == proposal.label and target.system() != proposal.server:
        raise ConfigError(
            f"another server answers at {proposal.label} than when this restore was approved",
            next_step="trigger a new run, which shows what stands there now",
        )
    if target.label != proposal.label:
        raise ConfigError(
            f"{proposal.where} is {target.label} now, and was {proposal.label} when this restore was approved",
            next_step="trigger a new run",
        )


def require_as_shown(proposal: Proposal, standing: Occupant | None) -> None:
    """Raises ConfigError unless under the target's name stands the very database that was shown, or as shown none."""
    shown = proposal.occupant
    if (shown and shown.identity) != (standing and standing.identity):
        was = "nothing was there" if shown is None else "it was another one"
        what = f"the database that stands at {proposal.label} now is not what was shown for approval ({was})"
        if standing is None:
            what = f"the database that was shown for approval does not stand at {proposal.label} any more"
        raise ConfigError(
            f"{what}; nothing was replaced by this try",
            next_step="find out who has changed it (an earlier try, or another restore, say); then trigger a new run",
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
            next_step="find out who wrote it; then trigger a new run",
        )
    return way
