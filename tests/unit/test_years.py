"""Years of a node over the doubles, in any order: backups, drills, retention, audits, litter, and clocks that jump.

After every single step: what the journal names is whole at every peer, every moment that it can reach comes back as it
was, the newest moment is one of them, and what drills have proven is not let go of below what was asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fix_memory_node import ORIGIN
from pgkeep import backup
from pgkeep.audit import Audit, Report
from pgkeep.errors import Corrupted, NotReplicated, NotRestorable
from pgkeep.journal import Journal
from pgkeep.model import Covered, Cut, Entry, Instant, Replicated, Stored, instant
from pgkeep.plan import Point, bases, plan
from pgkeep.restore import restore
from pgkeep.retention import Policy
from pgkeep.retirement import retire
from pgkeep.testing import MemoryTarget
from unit.test_drill import World

YEAR = timedelta(days=365)
JUMPS = st.sampled_from([YEAR, -YEAR, timedelta(hours=1), timedelta(days=8), timedelta(days=40)])
CLOCKS = ("pgkeep.backup", "pgkeep.changes", "pgkeep.drill", "pgkeep.journal_store", "pgkeep.audit.story")
GRACE = timedelta(days=7)
COUNTS = st.integers(0, 2)
POLICIES = st.builds(
    Policy,
    last=st.integers(1, 2),
    hourly=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    yearly=COUNTS,
    min_full=st.integers(1, 2),
)


class Years(RuleBasedStateMachine):
    """`rows`: what the source held at each cut that was recorded. `proven`: how many full backups were, at least."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.clock = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        self.patch = pytest.MonkeyPatch()
        for module in CLOCKS:
            self.patch.setattr(f"{module}.now", self.now)
        self.rows = dict[Cut, int]()
        self.waiting = list[Replicated]()
        self.proven = 0

    def now(self) -> Instant:
        """The node's clock."""
        self.clock += timedelta(seconds=1)
        return instant(self.clock)

    def teardown(self) -> None:
        self.patch.undo()

    # --- what happens ------------------------------------------------------------------------------------------------

    @initialize()
    def a_first_backup(self) -> None:
        self.full()

    @rule(by=JUMPS)
    def the_source_clock_jumps(self, by: timedelta) -> None:
        holding = self.world.source.holding
        time = instant(datetime.fromisoformat(holding.cut.time) + by)
        self.world.source.holding = replace(holding, cut=replace(holding.cut, time=time))

    @rule(by=JUMPS)
    def the_nodes_clock_jumps(self, by: timedelta) -> None:
        self.clock += by

    @rule(by=JUMPS)
    def time_goes_by_for_all(self, by: timedelta) -> None:
        self.the_source_clock_jumps(abs(by))
        self.the_nodes_clock_jumps(abs(by))

    @rule(rows=st.integers(1, 50))
    def changes(self, rows: int) -> None:
        self.world.source.commit(rows)
        self.recorded(self.world.run.hourly)

    @rule()
    def full(self) -> None:
        self.world.source.commit(1)
        self.recorded(self.world.run.full)

    @rule()
    def the_slot_is_lost(self) -> None:
        self.world.capture.slot = None

    def recorded(self, act: Callable[[], Covered | Stored]) -> None:
        holding, stored = self.world.source.holding, act()
        assert isinstance(stored, Stored)
        self.world.run.finish(stored)
        self.rows[holding.cut] = holding.totals.rows

    @rule()
    def a_run_stops_before_it_is_recorded(self) -> None:
        world = self.world
        world.source.commit(1)
        stored = backup.capture(world.source, world.sealer, world.vault, world.journals, origin=ORIGIN)
        sealed = backup.check(stored, world.sealer, world.vault)
        replicated = backup.replicate(sealed, world.vault, copies=3, patience=0.0)
        self.waiting.append(replicated)
        self.rows[world.source.holding.cut] = world.source.holding.totals.rows

    @rule()
    def such_a_run_goes_on(self) -> None:
        """Whole, or not at all."""
        if not self.waiting:
            return
        replicated = self.waiting.pop(0)
        try:
            backup.record(replicated, self.world.source, self.world.journals, self.world.vault)
        except (NotReplicated, NotRestorable):
            assert self.world.journal.recorded(replicated.sealed.backup) is None

    @rule(peer=st.integers(0, 2))
    def a_good_drill(self, peer: int) -> None:
        self.world.peer = peer
        assert self.world.drill().proven
        self.proven = len(proofs(self.world.journal))

    @rule()
    def a_drill_that_refutes(self) -> None:
        self.world.target.loses_rows = 1
        with pytest.raises(Corrupted):
            self.world.drill()
        self.world.target.loses_rows = 0
        self.proven = len(proofs(self.world.journal))

    @rule(policy=POLICIES)
    def retention(self, policy: Policy) -> None:
        before = self.world.journal
        reached, proven = bases(before), proofs(before)
        retire(policy, self.world.source, self.world.journals, self.world.vault, patience=0.0)
        after = self.world.journal
        staying = {entry.sequence for entry in after.entries}
        assert reached.keys() & staying <= bases(after).keys(), "no plan is cut"
        if len(proven) < policy.min_full:
            assert after == before, "nothing goes before enough is proven"
        else:
            assert len(proofs(after)) >= policy.min_full, "I7"
        assert proven[-1:] == proofs(after)[-1:], "the newest proven one stays"
        self.proven = min(self.proven, policy.min_full)

    @rule(share=st.sampled_from([0.1, 1.0]))
    def an_audit(self, share: float) -> None:
        report = self.audited(share)
        report.require_well()
        assert not report.repairs, "nothing was damaged"

    @rule(peer=st.integers(0, 2), damage=st.sampled_from(["flip", "lose", "unpin"]), which=st.integers(0, 1000))
    def a_copy_is_damaged_and_mended(self, peer: int, damage: str, which: int) -> None:
        cids = [part.cid for entry in self.world.journal.entries for part in entry.backup.parts]
        getattr(self.world.vault.peers[peer], damage)(cids[which % len(cids)])
        self.audited(1.0).require_well()

    def audited(self, share: float) -> Report:
        world = self.world
        return Audit(
            source=world.source,
            sealer=world.sealer,
            vault=world.vault,
            journals=world.journals,
            share=share,
            grace=GRACE,
            patience=0.0,
        ).run()

    # --- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        journal = self.world.journal
        cids = [part.cid for entry in journal.entries for part in entry.backup.parts]
        assert all(peer.has_whole(cid) for cid in cids for peer in self.world.vault.peers)
        assert len(proofs(journal)) >= self.proven
        reached = bases(journal)
        assert not self.rows or reached
        for entry in journal.entries:
            if entry.sequence in reached:
                assert self.restored(journal, entry) == self.rows[entry.backup.cut]

    def restored(self, journal: Journal, entry: Entry) -> int:
        target = MemoryTarget()
        restore(plan(journal, Point(entry=entry.sequence)), self.world.sealer, self.world.vault, target)
        assert target.database
        return target.database.totals.rows


def proofs(journal: Journal) -> list[Entry]:
    return [entry for entry in journal.entries if journal.is_proven(entry)]


TestYears = Years.TestCase
TestYears.settings = settings(max_examples=10, stateful_step_count=25, suppress_health_check=list(HealthCheck))
