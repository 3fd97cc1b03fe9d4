"""Reading copies back, mending those that are damaged, and making those that are missing.

A copy counts as mended only when that very peer has given the very bytes again.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pgkeep.audit.findings import BRING_BACK, Findings, bring_back
from pgkeep.audit.ledger import Ledger
from pgkeep.audit.report import Problem
from pgkeep.audit.standing import Held, Kept, Standing, standings_of
from pgkeep.copies import askable, gives_whole, holders_of, holding, patiently, require_claims, whole_copy
from pgkeep.errors import ConfigError, Corrupted, NotReplicated, PgkeepError, Unavailable
from pgkeep.meter import unwatched
from pgkeep.model import Cid
from pgkeep.ports import Holder, Place, Vault, Watch

log = logging.getLogger(__name__)

WATCHED = 100_000_000
"""Bytes from which on somebody wants to know how far it is; there are thousands of smaller objects."""
TRIES = 3
"""So many objects in a row may get no copy before the others are left for another day."""
LOST = "see docs/operating.md, 'What is lost'; the next full backup takes its place"


@dataclass(kw_only=True)
class Proofs:
    """What was read in this audit, and what came of it. `patience`: seconds for all copies that are made anew.

    `ledger`: what earlier audits have read. `said`: by object, what the cluster said of it when the audit began.
    `sound`: objects of which a whole copy was seen.
    """

    vault: Vault
    ledger: Ledger
    said: Mapping[Cid, Sequence[Holder]]
    findings: Findings
    patience: float
    watch: Watch
    whole: set[Held] = field(default_factory=set)
    damaged: set[Held] = field(default_factory=set)
    sound: set[Cid] = field(default_factory=set)

    @property
    def copies(self) -> int:
        """As many as there are to be of each object."""
        return self.findings.copies

    def read(self, due: Iterable[Held]) -> None:
        """Reads these copies back."""
        for held in due:
            self._is_whole(held)

    def all_well(self, standings: Iterable[Standing]) -> bool:
        """Whether there is nothing to mend and nothing to multiply."""
        return not self.damaged and all(not found.lacking and found.claims >= self.copies for found in standings)

    def mend(self, standings: Sequence[Standing]) -> tuple[Standing, ...]:
        """Repairs the damaged and lacking copies of which there is another one: first what is missing, then what is
        rotten. How it stands after that.
        """
        sick = [held for found in standings for held in found.askable if self._can_be_mended(held, found)]
        for held in sick:
            self._fetch(held, how="pinned again" if held in self.whole else "fetched what was missing")
        rotten = [held for held in sick if held in self.damaged]
        for place in dict.fromkeys(held.place for held in rotten):
            self._scrub(place, last={held for held in self.damaged if held.place == place}.difference(sick))
        for held in rotten:
            self._fetch(held, how="replaced what was rotten")
        self._give_up(held for held in sick if held in self.damaged)
        touched = tuple(dict.fromkeys(held.kept for held in sick))
        if not touched:
            return tuple(standings)
        try:
            again = dict(zip(touched, standings_of(touched, self.vault), strict=True))
        except (Unavailable, ConfigError) as error:
            log.warning("what the cluster says after the repairs is not known: %s", error.what)
            return tuple(standings)
        return tuple(again.get(found.kept, found) for found in standings)

    def multiply(self, standings: Iterable[Standing]) -> None:
        """Has new copies made of what too few peers are said to hold, and reads those back, too."""
        short = [found for found in standings if found.claims + self._given_up(found) < self.copies]
        asked = list(self._asked(short))
        deadline = time.monotonic() + self.patience
        for found in asked:
            self._await(found, patience=max(0.0, deadline - time.monotonic()))

    def tell(self, standings: Iterable[Standing]) -> None:
        """Says what would be mended and multiplied, and does neither."""
        for found in standings:
            for held in found.held:
                if held in self.damaged:
                    self.findings.wrong(
                        held.kept, f"its copy at {held.place.name} is damaged", next_step="audit it for good"
                    )
            if found.claims < self.copies:
                self._short(found.kept, found.said)

    # --- damaged ---------------------------------------------------------------------------------------------------

    def _is_whole(self, held: Held) -> bool:
        watch = self.watch if held.kept.size >= WATCHED else unwatched
        found = gives_whole(held.kept.wanted, self.vault, held.place, watch=watch)
        (self.whole if found else self.damaged).add(held)
        (self.damaged if found else self.whole).discard(held)
        if found:
            self.sound.add(held.kept.cid)
        else:
            log.warning("%s is damaged, or not there", held)
        return found

    def _can_be_mended(self, held: Held, found: Standing) -> bool:
        """Not the last copy, if it is damaged: what is rotten is thrown away, so there must be a better one."""
        if held not in self.damaged:
            return held in found.lacking
        if any(self._was_whole(other) for other in found.askable if other != held):
            return True
        if any(not self._was_damaged(found.kept, holder) for holder in found.far):
            return True
        if self._is_somewhere(found.kept):
            return held in self.damaged or held in found.lacking
        self._last_damaged(held, found)
        return False

    def _is_somewhere(self, kept: Kept) -> bool:
        """Whether any peer gives it whole now, wanted there or not: one that was silent before may be back."""
        for place in askable(self.vault).values():
            if gives_whole(kept.wanted, self.vault, place):
                self.sound.add(kept.cid)
                if (held := Held(kept=kept, place=place)) in self.damaged:
                    self.damaged.discard(held)
                    self.whole.add(held)
                return True
        return False

    def _last_damaged(self, held: Held, found: Standing) -> None:
        """No copy that can be asked for is whole. It is lost only if nobody is away who may have another one."""
        silent = sorted(
            {holder.name for holder in (*found.far, *found.away)} or self.vault.listing(found.kept.pin).silent
        )
        what = f"no whole copy is left; {held.place.name} does not give it"
        if not silent:
            self.findings.wrong(held.kept, what, next_step=LOST, lost=True)
            return
        what = f"its copy at {held.place.name} is damaged, and who may have a whole one is away: {', '.join(silent)}"
        self.findings.too_few(held.kept, what, self._said(held.kept), next_step=BRING_BACK)

    def _was_damaged(self, kept: Kept, holder: Holder) -> bool:
        """By what an earlier audit has read there."""
        return (self.ledger.last_read(kept.cid, holder.peer) or 0) < 0

    def _was_whole(self, held: Held) -> bool:
        return held in self.whole or (held not in self.damaged and self._is_whole(held))

    def _fetch(self, held: Held, *, how: str) -> None:
        try:
            self.vault.fetch(held.kept.cid, name=held.kept.label, at=held.place)
        except PgkeepError as error:  # the proof says whether it is whole now
            log.info("%s: %s", held, error.what)
        if self._is_whole(held):
            self.findings.repaired(held, how)

    def _scrub(self, place: Place, *, last: Collection[Held]) -> None:
        """Unless that throws away damaged copies of which there is no better one: a person may save something."""
        if last:
            log.warning("%s is not made to throw away its rotten blocks: it has the last copies of others", place.name)
            return
        log.info("%s reads all of its blocks, for some are rotten: this takes as long as reading its disk", place.name)
        try:
            self.vault.scrub(place)
        except PgkeepError as error:  # a proxy may let us read there, and no more
            log.warning("%s: %s", place.name, error.what)

    def _give_up(self, sick: Iterable[Held]) -> None:
        answering = askable(self.vault)
        for held in sick:
            if held.place.peer in answering:
                what = f"its copy at {held.place.name} is damaged, and could not be repaired"
                step = f"look at that peer's disk and log; replace the disk if need be, then audit again ({LOST})"
                self.findings.wrong(held.kept, what, next_step=step)
            else:
                what = f"{held.place.name} stopped answering while its copy was read"
                holders = self._said(held.kept)
                self.findings.too_few(held.kept, what, holders, next_step="bring that peer back, then audit again")

    # --- missing ---------------------------------------------------------------------------------------------------

    def _given_up(self, found: Standing) -> int:
        """Copies that could not be mended: the cluster has given them a peer, and would give no other."""
        return sum(held in self.damaged for held in found.lacking)

    def _asked(self, short: Sequence[Standing]) -> Iterator[Standing]:
        """Those that the cluster will copy. After a few in a row that it refuses, the rest waits: a peer is away, and
        to find that out for each of hundreds of objects would take hours.
        """
        refused = 0
        for i, found in enumerate(short):
            if self._ask(found):
                refused = 0
                yield found
            elif (refused := refused + 1) == TRIES:
                self._leave(short[i + 1 :])
                return

    def _leave(self, rest: Sequence[Standing]) -> None:
        left = [found for found in rest if found.claims]
        for found in rest:
            if not found.claims:
                self._short(found.kept, found.said)  # it may be lost
        if left:
            self.findings.problems.append(
                Problem(
                    kind="NotReplicated",
                    about=f"{len(left)} more objects",
                    what=f"have too few copies, too, and wait for the next audit: {TRIES} in a row were refused any",
                    next_step=BRING_BACK,
                    have=min(found.claims for found in left),
                    want=self.copies,
                )
            )

    def _ask(self, found: Standing) -> bool:
        kept = found.kept
        try:
            self.vault.pin(kept.cid, name=kept.pin, copies=self.copies)
        except (Unavailable, ConfigError) as error:
            self._short(kept, self._said(kept), error.what)
            return False
        return True

    def _await(self, before: Standing, *, patience: float) -> None:
        kept = before.kept
        try:
            patiently(lambda: require_claims([kept.wanted], self.vault, copies=self.copies), patience=patience)
            [now] = standings_of([kept], self.vault)
        except (NotReplicated, Unavailable, ConfigError):
            self._short(kept, self._said(kept))
            return
        self._label(kept)
        new = [held for held in now.held if held not in before.held]
        for held in new:
            if self._is_whole(held):
                self.findings.repaired(held, "replicated anew")
        self._give_up(held for held in new if held in self.damaged)
        self._claimed_anew(before, now)

    def _label(self, kept: Kept) -> None:
        try:
            self.vault.label(kept.cid, name=kept.label)
        except (Unavailable, ConfigError) as error:
            log.warning("%s has no name in the Kubos yet: %s", kept.wanted, error.what)

    def _claimed_anew(self, before: Standing, now: Standing) -> None:
        for holder in now.far:
            if holder.peer not in {known.peer for known in before.far}:
                log.info("%s is replicated anew to %s, as the cluster says", now.kept.wanted, holder.name)

    def _said(self, kept: Kept) -> Sequence[Holder]:
        """What the cluster says now; if it is silent, what it said before: what was read is not to be for nothing."""
        try:
            return holders_of(kept.cid, self.vault)
        except (Unavailable, ConfigError) as error:
            log.warning("what the cluster says of %s is not known any more: %s", kept.wanted, error.what)
            return self.said[kept.cid]

    def _short(self, kept: Kept, holders: Sequence[Holder], why: str = "") -> None:
        """Too few copies, or none at all: then somebody has to know that now."""
        have = len(holding(holders))
        if have >= self.copies:
            return  # meanwhile
        if have == 0 and (lost := self._lost(kept, holders)):
            self.findings.wrong(kept, lost, next_step=LOST, lost=True)
        else:
            what = f"has {have} of {self.copies} copies" + (f": {why}" if why else "")
            self.findings.too_few(kept, what, holders, next_step=bring_back(holders, self.vault))

    def _lost(self, kept: Kept, holders: Sequence[Holder]) -> str | None:
        """Why no peer can give it, if all of them were asked."""
        places = askable(self.vault)
        if any(holder.wanted and holder.peer not in places for holder in holders):
            return None
        try:
            whole_copy(kept.wanted, self.vault)
        except (Corrupted, Unavailable) as error:
            return None if self.vault.listing(kept.pin).silent else f"it is lost: {error.what}"
        self.sound.add(kept.cid)
        return None
