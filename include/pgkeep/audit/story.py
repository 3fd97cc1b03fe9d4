"""How it is made sure that every backup is still there. Read it top to bottom; there is no other path.

    look  ->  read back  ->  mend  ->  copy anew  ->  sweep  ->  write down

It may be killed at any point and run again: nothing is remembered before it is done, and all of it may be done twice.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pgkeep.audit import litter
from pgkeep.audit.findings import Findings
from pgkeep.audit.ledger import Ledger, find, following, merged, standpoint, write
from pgkeep.audit.proofs import Proofs
from pgkeep.audit.report import PeerAccount, Problem, Report
from pgkeep.audit.standing import Held, Standing, Versions, kept_objects, standings_of, versions
from pgkeep.audit.surroundings import surroundings
from pgkeep.audit.turns import due, last_turn, todays
from pgkeep.errors import PgkeepError
from pgkeep.journal_store import JournalStore
from pgkeep.meter import unwatched
from pgkeep.model import Cid, Instant, now
from pgkeep.ports import Listing, Sealer, Source, Vault, Watch
from pgkeep.unpinning import PATIENCE

SHARE = 0.1
GRACE = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit of one database is done with.

    `share`: of all bytes, that is read back each day. `grace`: how long litter stays. `patience`: seconds to wait for
    copies that are made anew; what takes longer is finished by the next audit.
    """

    source: Source
    sealer: Sealer
    vault: Vault
    journals: JournalStore
    share: float = SHARE
    grace: timedelta = GRACE
    patience: float = 600.0
    watch: Watch = unwatched

    def run(self, *, dry_run: bool = False) -> Report:
        """What was found, and what was done about it. `dry_run`: reads, and changes nothing anywhere.

        What is wrong with single objects is in the report (`Report.require_well`), after all others were seen to.
        Raises Corrupted, Unavailable, NotRestorable, ConfigError: the journal itself cannot be had, or no peer answers.
        """
        started = time.monotonic()
        scene = self._look()
        share = todays(self.share, scene.ledger, now=now())
        proofs = Proofs(
            vault=self.vault,
            ledger=scene.ledger,
            said={found.kept.cid: found.said for found in scene.standings},
            findings=Findings(copies=self.journals.copies),
            patience=self.patience,
            watch=self.watch,
        )
        proofs.read([*due(scene.held, scene.ledger, share=share), *scene.lacking])
        found = self._mend(scene, proofs, dry_run=dry_run)
        problems = [*scene.problems, *found, *surroundings(scene.found.newest, self.sealer, self.vault)]
        swept = litter.NOTHING if dry_run else self._sweep(scene, problems)
        after = self._after(scene, proofs, swept, problems)
        if not dry_run:
            self._write_down(after, scene, problems)
        return Report(
            database=self.journals.database,
            number=after.number,
            version=scene.found.newest.sequence,
            objects=len(scene.standings),
            size=sum(found.kept.size for found in scene.standings),
            share=share,
            since=_since(after, scene.held),
            peers=tuple(_accounts(scene, proofs)),
            repairs=tuple(proofs.findings.repairs),
            litter=scene.litter.report(swept.gone),
            problems=tuple(problems),
            dry_run=dry_run,
            seconds=round(time.monotonic() - started, 3),
        )

    def _look(self) -> "Scene":
        listing, found = self._versions()
        if found.problems:  # or a writer has let go of an old one at this moment
            listing, found = self._versions()
        ledgers = find(self.journals.search, listing)
        ledger = merged(ledgers.values(), self.journals.database)
        return Scene(
            found=found,
            silent=listing.silent,
            ledgers=tuple(ledgers),
            ledger=ledger,
            standings=standings_of(kept_objects(found, self.journals, listing), self.vault),
            litter=litter.find(listing, found, ledger, ledgers),
        )

    def _versions(self) -> tuple[Listing, Versions]:
        listing = self.journals.search.listing()
        return listing, versions(self.journals.search.head(listing), self.journals)

    def _mend(self, scene: "Scene", proofs: Proofs, *, dry_run: bool) -> list[Problem]:
        """What is wrong in the end. Reading takes hours: what the journal has given up meanwhile is not missed."""
        if proofs.all_well(scene.standings):
            return []
        wanted = self._wanted()
        standings = [found for found in scene.standings if found.kept.cid in wanted]
        if dry_run:
            proofs.tell(standings)
        else:
            proofs.multiply(proofs.mend(standings))
        wanted = self._wanted()
        return [problem for problem in proofs.findings.problems if problem.cid is None or problem.cid in wanted]

    def _wanted(self) -> frozenset[Cid]:
        return versions(self.journals.head(), self.journals).wanted

    def _sweep(self, scene: "Scene", problems: list[Problem]) -> litter.Swept:
        """Nothing that goes wrong here endangers a backup: it is swept another day."""
        patience = min(self.patience, PATIENCE)
        sweep = litter.Sweep(source=self.source, journals=self.journals, grace=self.grace, patience=patience)
        if not scene.litter.ripe(standpoint(scene.found.newest), self.grace):
            return litter.NOTHING  # and nobody is asked to stand still
        try:
            swept = sweep.run(scene.ledger, scene.ledgers)
        except PgkeepError as error:
            what = f"what no journal names was not swept: {error.what}"
            problems.append(Problem(kind="notice", about="litter", what=what, next_step=error.next_step))
            return litter.NOTHING
        problems += swept.problems()
        return swept

    def _after(self, scene: "Scene", proofs: Proofs, swept: litter.Swept, problems: Sequence[Problem]) -> Ledger:
        """What could not be swept is new litter from now on: it must not stand in the way of other litter."""
        waiting = {cid: seen for cid, seen in scene.litter.sights.items() if cid not in swept.tried}
        read, lost = _read(scene, proofs), _lost(scene, proofs, problems)
        damage, versions = _damage(scene, read, lost, problems)
        return following(
            scene.ledger, read=read, litter=waiting, damage=damage, versions=versions, lost=lost, ended=now()
        )

    def _write_down(self, ledger: Ledger, scene: "Scene", problems: list[Problem]) -> None:
        try:
            write(ledger, self.journals, instead_of=scene.ledgers)
        except PgkeepError as error:
            what = f"what this audit has read could not be written down: {error.what}"
            problems.append(Problem(kind="notice", about="audit", what=what, next_step=error.next_step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What an audit looks at, as it was when it began. `silent`: peers that did not answer, and why."""

    found: Versions
    silent: Mapping[str, str]
    ledgers: tuple[Cid, ...]
    ledger: Ledger
    standings: tuple[Standing, ...]
    litter: litter.Found

    @property
    def held(self) -> tuple[Held, ...]:
        """All copies that can be asked for, oldest entries first."""
        return tuple(held for found in self.standings for held in found.held)

    @property
    def lacking(self) -> tuple[Held, ...]:
        """Copies that are wanted where they can be asked for, and are not pinned."""
        return tuple(held for found in self.standings for held in found.lacking)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was wrong at first sight."""
        silent = (
            Problem(kind="notice", about=f"peer {name}", what=why, next_step="bring it back: see pgkeep check")
            for name, why in self.silent.items()
        )
        return (*self.found.problems, *silent, *self.litter.problems())


def _read(scene: Scene, proofs: Proofs) -> dict[str, dict[str, int]]:
    """By CID and peer, the audit that read it last. What is known of peers that cannot be asked now stays known."""
    known = dict[str, dict[str, int]]()
    for found in scene.standings:
        others = (*found.far, *found.away)
        far = {holder.peer: scene.ledger.last_read(found.kept.cid, holder.peer) for holder in others}
        known[found.kept.cid] = {peer: number for peer, number in far.items() if number is not None}
    for held in (*scene.held, *proofs.whole):
        known[held.kept.cid][held.place.peer] = _turn(held, scene.ledger, proofs)
    return known


def _lost(scene: Scene, proofs: Proofs, problems: Sequence[Problem]) -> tuple[Cid, ...]:
    """What this audit has found lost; and what another has, until it is found whole, or nobody wants it any more."""
    wanted = {found.kept.cid for found in scene.standings}
    before = wanted.intersection(scene.ledger.lost) - proofs.sound
    return tuple(sorted(before | {problem.cid for problem in problems if problem.cid and problem.lost}))


def _damage(
    scene: Scene, read: Mapping[str, Mapping[str, int]], lost: Sequence[Cid], problems: Sequence[Problem]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What is wrong with parts of backups, by object, and with versions of the journal. What an audit before has found
    is still so if it is lost, or if a copy was not read whole since.
    """
    found = {problem.cid: problem.sentence for problem in problems if problem.cid and problem.kind == "Corrupted"}
    bad = {cid for cid, peers in read.items() if cid in lost or any(last < 0 for last in peers.values())}
    bad |= scene.found.lost
    before = {cid: said for cid, said in {**scene.ledger.damage, **scene.ledger.versions}.items() if cid in bad}
    parts = {one.kept.cid for one in scene.standings if not one.kept.always}
    known = before | found
    of_parts = {cid: said for cid, said in known.items() if cid in parts}
    return of_parts, {cid: said for cid, said in known.items() if cid not in parts}


def _turn(held: Held, ledger: Ledger, proofs: Proofs) -> int:
    this = ledger.number + 1
    if held in proofs.whole:
        return this
    return -this if held in proofs.damaged else last_turn(held, ledger)


def _since(ledger: Ledger, held: Sequence[Held]) -> Instant | None:
    """When the audit ended that read the copy which has waited longest; None: one was never read."""
    oldest = min((ledger.last_read(one.kept.cid, one.place.peer) or 0 for one in held), default=0)
    return ledger.audits.get(str(oldest))


def _accounts(scene: Scene, proofs: Proofs) -> Iterator[PeerAccount]:
    """Each peer that is said to hold anything, with what it was found to hold."""
    held = set(scene.held) | proofs.whole
    for place in sorted({one.place for one in held}, key=lambda place: place.name):
        yield _account(place.name, [one for one in held if one.place == place], proofs)
    far = [(holder.name, found.kept.size) for found in scene.standings for holder in (*found.far, *found.away)]
    for name in sorted({name for name, _ in far}):
        sizes = [size for whose, size in far if whose == name]
        yield PeerAccount(name=name, asked=False, objects=len(sizes), size=sum(sizes), read=0, read_size=0)


def _account(name: str, held: Sequence[Held], proofs: Proofs) -> PeerAccount:
    whole = [one for one in held if one in proofs.whole]
    return PeerAccount(
        name=name,
        asked=True,
        objects=len(held),
        size=sum(one.kept.size for one in held),
        read=len(whole),
        read_size=sum(one.kept.size for one in whole),
    )
