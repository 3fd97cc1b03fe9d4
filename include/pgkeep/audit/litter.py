"""Litter: what is pinned under a database's name and no journal names (I9). A crash leaves it, or a run on its way.

Nothing tells how old a pin is, so an audit writes down where the journal stood when it first saw it. It is swept when
the journal has gone on since, for as long as the grace period, by the clock of the source and by that of whoever wrote
the journal: one clock that jumped is not enough. While no backup is recorded nothing is swept.

That a run may still need it after all is no danger: the sweep holds the lock under which the journal is written, and
reads the journal anew; and `backup.record` looks, under that lock, whether what it is about to name is still held.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgkeep.audit.ledger import Ledger, Sight, standpoint
from pgkeep.audit.report import Litter, Problem
from pgkeep.audit.standing import Versions, versions
from pgkeep.journal_store import KEPT_VERSIONS, JournalStore
from pgkeep.model import Cid, Instant
from pgkeep.pin_names import numbered
from pgkeep.ports import Listing, Source
from pgkeep.unpinning import drop, kept_back

log = logging.getLogger(__name__)

SWEPT_AT_ONCE = 50
"""As many as are let go of by one audit: writers of the journal wait meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The litter that there is, by CID: its names. `strange`: what calls itself a version of the journal, and is not;
    `unclear`: those of which nobody can tell, as a version between cannot be read (which is in `Versions.problems`).

    `sights`: where the journal stood when each was first seen.
    """

    names: Mapping[Cid, tuple[str, ...]]
    strange: Mapping[Cid, tuple[str, ...]]
    unclear: Mapping[Cid, tuple[str, ...]]
    sights: Mapping[str, Sight]

    def ripe(self, now: Sight, grace: timedelta) -> tuple[Cid, ...]:
        """Those known for long enough, longest first."""
        old = [cid for cid in self.names if is_ripe(self.sights[cid], now, grace)]
        return tuple(sorted(old, key=lambda cid: self.sights[cid].version))

    def report(self, swept: Iterable[Cid]) -> tuple[Litter, ...]:
        """What was seen, and what is gone now."""
        gone = frozenset(swept)
        return tuple(Litter(cid=cid, names=names, swept=cid in gone) for cid, names in sorted(self.names.items()))

    def problems(self) -> tuple[Problem, ...]:
        """Nobody but pgkeep names objects so, and of the strange ones it is certain that pgkeep did not."""
        return (
            *_notices(
                self.strange,
                "bears the name of a version of the journal, and is none",
                next_step="find out who pinned it; unpin it, and change the cluster's credentials",
            ),
            *_notices(
                self.unclear,
                "bears the name of an older version of the journal; whether it is one, only the version would say that "
                "cannot be read",
                next_step="see to that version (above)",
            ),
        )


def _notices(found: Mapping[Cid, tuple[str, ...]], what: str, *, next_step: str) -> tuple[Problem, ...]:
    return tuple(
        Problem(kind="notice", about=f"{', '.join(names)} ({cid})", what=what, next_step=next_step)
        for cid, names in sorted(found.items())
    )


def is_ripe(seen: Sight, now: Sight, grace: timedelta) -> bool:
    """Whether the journal has gone on for the grace period since then, by both of its clocks."""
    passed = min(_between(seen.cut, now.cut), _between(seen.recorded, now.recorded))
    return now.version > seen.version and passed >= grace


def _between(one: Instant, other: Instant) -> timedelta:
    return datetime.fromisoformat(other) - datetime.fromisoformat(one)


def find(listing: Listing, found: Versions, ledger: Ledger, ledgers: Iterable[Cid]) -> Found:
    """What no kept version names. What was seen for the first time is seen now."""
    kept = found.named | found.lost | frozenset(ledgers)
    names = dict[Cid, tuple[str, ...]]()
    for name, cids in sorted(listing.names.items()):
        for cid in cids - kept:
            names[cid] = (*names.get(cid, ()), name)
    readable = found.heads[-1].journal.sequence
    bearing = _bearing(listing, found)
    strange = {cid for cid in names if bearing.get(cid, -1) >= readable}
    unclear = {cid for cid in names if cid in bearing} - strange
    litter = {cid: of for cid, of in names.items() if cid not in bearing}
    now = standpoint(found.newest)
    return Found(
        names=litter,
        strange={cid: names[cid] for cid in strange},
        unclear={cid: names[cid] for cid in unclear},
        sights={cid: ledger.litter.get(cid, now) for cid in litter},
    )


def _bearing(listing: Listing, found: Versions) -> dict[Cid, int]:
    """What is pinned as one of the last versions, and as which: if it is none of them, that is no crash of ours."""
    numbers = numbered(listing.names, database=found.newest.database, what="journal")
    oldest = found.newest.sequence - KEPT_VERSIONS
    return {cid: sequence for sequence in sorted(numbers) if sequence > oldest for cid in numbers[sequence]}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Lets go of ripe litter, while nobody dumps or writes the journal. `patience`: seconds until peers show it."""

    source: Source
    journals: JournalStore
    grace: timedelta
    patience: float

    def run(self, ledger: Ledger, ledgers: Sequence[Cid]) -> "Swept":
        """What was done. Raises Unavailable: the source does not answer, or somebody is writing; Corrupted, ..."""
        with self.source.at_rest() as resting:
            if not resting:
                log.info("a dump of %s runs: nothing is swept now", self.journals.database)
                return NOTHING
            head = self.journals.head_for_writing()
            known = versions(head, self.journals)
            found = find(self.journals.search.listing(), known, ledger, ledgers)
            if known.problems:
                log.warning("nothing is swept while a version of the journal cannot be read")
                return NOTHING
            ripe = found.ripe(standpoint(head.journal), self.grace)[:SWEPT_AT_ONCE]
            refused = drop(ripe, self.journals.vault)
        database, patience = self.journals.database, self.patience  # writers need not wait for what follows
        left = kept_back(ripe, refused, self.journals.vault, database=database, patience=patience)
        return Swept(tried=frozenset(ripe), kept_back=left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was let go of. `kept_back`: of that, what is pinned all the same, and where or why."""

    tried: frozenset[Cid]
    kept_back: Mapping[Cid, str]

    @property
    def gone(self) -> frozenset[Cid]:
        """What nobody shows any more."""
        return self.tried - self.kept_back.keys()

    def problems(self) -> tuple[Problem, ...]:
        """It takes room, and no backup is in danger."""
        return tuple(
            Problem(
                kind="notice",
                about=f"litter {cid}",
                what=f"could not be let go of: {why}",
                next_step="see those peers (away? `unpin_disable` in its cluster peer?); it is tried again",
            )
            for cid, why in sorted(self.kept_back.items())
        )


NOTHING = Swept(tried=frozenset(), kept_back={})
