"""How backups are proven before anybody needs them. Read it top to bottom.

    choose a peer -> restore every way from it -> compare each with its source, and both ways to one moment -> verdict

The newest full backup is restored by itself; then with the changes since; and where the chain carries that far, the
full backup before it is brought to the same moment by the changes alone: both must be defined alike and hold the same
rows.
Nothing is given the name of a database that anybody uses, and what was restored is dropped.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pgkeep import chain, restore
from pgkeep.errors import Corrupted, NotRestorable, PgkeepError
from pgkeep.inventory import Inventory, differences
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.losses import surviving
from pgkeep.meter import unwatched
from pgkeep.model import Cid, Digest, Entry, Origin, Verdict, Way, now
from pgkeep.plan import Point, RecoveryPlan, plan
from pgkeep.ports import Holder, Holdings, Place, Sealer, Source, Target, Vault, Watch

log = logging.getLogger(__name__)

Choose = Callable[[Sequence[Place]], Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePeer:
    """The vault as one peer gives it: from its own disk what it is to hold (`held`), through it everything else.

    `name`: as the cluster calls it.
    """

    vault: Holdings
    place: Place
    name: str
    held: frozenset[Cid]

    def places(self) -> Sequence[Place]:
        """That one."""
        return [self.place]

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        """As the port says."""
        return self.vault.read(cid, at=at if cid in self.held else replace(at, local=False))

    def holders(self, cids: Collection[Cid]) -> Mapping[Cid, Sequence[Holder]]:
        """What the cluster says of that peer."""
        said = self.vault.holders(cids)
        return {cid: [one for one in said[cid] if one.peer == self.place.peer] for cid in said}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a way back has led to, once it was found equal to its source."""

    inventory: Inventory
    schema: Digest


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One drill of one database. `target`: where it restores, under names of its own. `choose`: draws the peer.

    `lost`: objects of which an audit has found no whole copy: no way leads through them.
    """

    source: Source
    sealer: Sealer
    vault: Vault
    target: Target
    journals: JournalStore
    origin: Origin
    choose: Choose = secrets.choice
    lost: Collection[Cid] = ()
    watch: Watch = unwatched

    def run(self) -> Verdict:
        """Restores, compares, and records what it found. Raises Corrupted or NotRestorable, recorded before, if
        something was wrong; Unavailable, ConfigError, NotReplicated: then nothing is known, and nothing recorded.
        """
        journal = surviving(self.journals.head().journal, self.lost)
        newest = plan(journal, Point())
        carried = carrying(journal, newest.base)
        shelf = self._one_peer([newest, *filter(None, [carried])])
        found = Findings()
        self._try_all(newest, carried, shelf, found)
        verdict = Verdict(
            entry=newest.base.sequence,
            time=now(),
            origin=self.origin,
            peer=shelf.place.peer,
            name=shelf.name,
            ways=tuple(found.ways),
        )
        self._conclude(verdict, found)
        return verdict

    def _try_all(self, newest: RecoveryPlan, carried: RecoveryPlan | None, shelf: OnePeer, found: "Findings") -> None:
        alone = RecoveryPlan(base=newest.base, steps=())
        with found.way(alone):
            found.alone = self._show(alone, shelf)
        if newest.steps:
            with found.way(newest):
                self._show(newest, shelf)
        if carried is not None:
            with found.way(carried):
                shown = self._show(carried, shelf)
                source = restore.read_inventory(newest.base, self.sealer, shelf)
                require_both_ways(carried, source=source, shown=shown, alone=found.alone)

    def _show(self, way: RecoveryPlan, shelf: OnePeer) -> Shown:
        """Restores one way into a database of its own, which is dropped. Raises as `restore.restore` does."""
        log.info("restoring entry %d from entry %d, from %s", way.last.sequence, way.base.sequence, shelf.name)
        base = restore.read_inventory(way.base, self.sealer, shelf)
        expected = restore.expect(way, base, self.sealer, shelf)
        restore.require_private_key(way.base, self.sealer, shelf)
        with self.target.fresh(expected) as fresh:
            restore.fill(fresh, way, self.sealer, shelf, sequences=base.sequences, watch=self.watch)
            came_back = fresh.inventory(expected)
            restore.require_equal(way, source=expected, restored=came_back)
            return Shown(inventory=came_back, schema=fresh.schema())

    def _one_peer(self, ways: Sequence[RecoveryPlan]) -> OnePeer:
        """A peer that is to hold the newest full backup, drawn among those that can be asked, and only that one."""
        copies = {cid: held for way in ways for e in (way.base, *way.steps) for cid, held in e.holders.items()}
        holding = set.intersection(*({copy.peer for copy in held} for held in ways[0].base.holders.values()))
        offered = self.vault.places()
        able = [place for place in offered if place.local and place.peer in holding]
        place = self.choose(able) if able else offered[-1]
        names = {copy.peer: copy.name for held in copies.values() for copy in held}
        its_own = (Cid(cid) for cid, held in copies.items() if place.local and place.peer in {c.peer for c in held})
        name = names.get(place.peer, place.name)
        return OnePeer(vault=self.vault, place=place, name=name, held=frozenset(its_own))

    def _conclude(self, verdict: Verdict, found: "Findings") -> None:
        """Records the verdict, also a bad one, and raises what was wrong."""
        try:
            record(verdict, self.source, self.journals)
        except PgkeepError as error:
            if not found.errors:
                raise
            log.warning("the verdict on entry %d is not in the journal: %s", verdict.entry, error)
        if found.errors:
            raise found.errors[0]


@dataclass(kw_only=True)
class Findings:
    """What a drill has found so far. `alone`: what the full backup by itself has shown."""

    ways: list[Way] = field(default_factory=list)
    errors: list[PgkeepError] = field(default_factory=list)
    alone: Shown | None = None

    @contextlib.contextmanager
    def way(self, tried: RecoveryPlan) -> Iterator[None]:
        """Takes the time; what is wrong with a backup is a finding, and the next way is tried all the same."""
        started, failure = time.monotonic(), None
        try:
            yield
        except (Corrupted, NotRestorable) as error:
            log.warning("%s", error)
            self.errors.append(error)
            failure = error.what
        seconds = round(time.monotonic() - started, 3)
        self.ways.append(Way(base=tried.base.sequence, last=tried.last.sequence, seconds=seconds, failure=failure))


def carrying(journal: Journal, full: Entry) -> RecoveryPlan | None:
    """The way to a full backup's moment from the one before it, by the changes alone. None: nothing carries so far."""
    order = chain.order(journal)
    before = [other for other in chain.fulls(journal) if order[other.sequence] < order[full.sequence]]
    if not before:
        return None
    with contextlib.suppress(NotRestorable):
        return plan(journal, Point(entry=full.sequence, base=before[-1].sequence))
    return None


def require_both_ways(carried: RecoveryPlan, *, source: Inventory, shown: Shown, alone: Shown | None) -> None:
    """Raises Corrupted unless the changes gave exactly what the full backup of that moment holds, and defines.

    `source`: as measured for the full backup, whole; sequences know no snapshots, so theirs were compared with what the
    changes say. `alone`: what the full backup has shown by itself, if it did.
    """
    different = list(differences(source=replace(source, sequences=shown.inventory.sequences), restored=shown.inventory))
    if alone is not None and alone.schema != shown.schema:
        different.append("what is defined (pg_dump --schema-only) differs")
    if different:
        raise Corrupted(
            f"entry {carried.base.sequence} and the changes up to entry {carried.last.sequence} do not give what the "
            f"full backup of that moment holds, in {len(different)} places: " + "; ".join(different[:10]),
            next_step="report this: changes are exact, or they are not written. Full backups are not touched by it",
        )


def record(verdict: Verdict, source: Source, journals: JournalStore) -> None:
    """Puts the verdict into the journal, beside the entries. When this returns, it survives this host.

    Nothing is to do if its entry has left the journal meanwhile. Raises as `backup.record` does.
    """
    with source.exclusively():
        head = journals.head_for_writing()
        if verdict.entry in {entry.sequence for entry in head.journal.entries}:
            journals.judge(head, verdict)
