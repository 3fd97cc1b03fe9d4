"""One node and one database, with all adapters in place: what the doors ask for, by the words of the stories."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pgkeep import approval, backup, retirement
from pgkeep.adapters.ipfs import IpfsVault
from pgkeep.adapters.openpgp import OpenPgpSealer
from pgkeep.adapters.postgres import CsvlogCapture, LogicalCapture, PostgresSource, leftovers
from pgkeep.approval import Approved, Proposal, Rules, SwapNote, Where, Wish
from pgkeep.audit import GRACE, Audit, ledger
from pgkeep.changes import Run
from pgkeep.drill import Drill
from pgkeep.errors import ConfigError, Unavailable
from pgkeep.freshness import newest
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.losses import surviving
from pgkeep.model import Cid, Entry, Instant, Origin, Replicated, Stored, Verdict
from pgkeep.plan import RecoveryPlan
from pgkeep.ports import Target, Watch
from pgkeep.rekeying import Rekey
from pgkeep.restore import Restored
from pgkeep.retention import Fate, choose
from pgkeep.retirement import Retired, retire
from pgkeep.settings import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The adapters of one node for one database, wired. `capture` is None where only full backups are wanted. `slot`:
    the name of its replication slot, which may be there from a time when changes were collected in another way.

    `scratch` opens what drills restore into: only where they run need its connection be known. `targets`: where
    restores that a person approves may go, by the database's name there.
    """

    database: Database
    copies: int
    replication_seconds: float
    vault: IpfsVault
    sealer: OpenPgpSealer
    source: PostgresSource
    capture: LogicalCapture | CsvlogCapture | None
    slot: str
    journals: JournalStore
    scratch: Callable[[], Target] | None = None
    grace: timedelta = GRACE
    targets: Mapping[Where, Callable[[str], Target]] = field(default_factory=dict)

    def require_capture(self) -> LogicalCapture | CsvlogCapture:
        """How changes are kept. Raises ConfigError where only full backups are wanted."""
        if self.capture is None:
            raise ConfigError(
                f"{self.database.name} keeps full backups only",
                next_step=f'pgkeep backup {self.database.name} --full; or write capture = "logical" in pgkeep.toml',
            )
        return self.capture

    def run(self, *, origin: Origin, patience: float, watch: Watch, ancestry: bytes = b"") -> Run:
        """One run that keeps changes. Raises ConfigError where only full backups are wanted."""
        return Run(
            source=self.source,
            capture=self.require_capture(),
            sealer=self.sealer,
            vault=self.vault,
            journals=self.journals,
            origin=origin,
            patience=patience,
            ancestry=ancestry,
            lost=self.lost,
            watch=watch,
        )

    def drill(self, *, origin: Origin, watch: Watch, into: Target | None = None) -> Verdict:
        """Proves the newest backups, in `into` or on the scratch server. Raises as `Drill.run`; ConfigError."""
        target = into or (self.scratch and self.scratch())
        if target is None:
            raise ConfigError(
                f"no server is named into which drills of {self.database.name} restore",
                next_step='write scratch = "CONNECTION" in pgkeep.toml; or: '
                f"pgkeep drill {self.database.name} --into URL",
            )
        return Drill(
            source=self.source,
            sealer=self.sealer,
            vault=self.vault,
            target=target,
            journals=self.journals,
            origin=origin,
            lost=self.lost(),
            watch=watch,
        ).run()

    @property
    def rules(self) -> Rules:
        """Who may approve restores."""
        return Rules(another=self.database.approval_by_another, approvers=self.database.approvers)

    def propose(self, wish: Wish) -> Proposal:
        """What a restore would do, for a person to approve. Raises as `approval.propose`; ConfigError."""
        target = self._target(wish.where, wish.dbname)
        return approval.propose(
            wish, self.journals, target, production=self._is_production(wish, target), lost=self.lost()
        )

    def carry_out(self, approved: Approved, *, note: SwapNote, watch: Watch) -> Restored | None:
        """The restore that was approved. Raises as `approval.carry_out`; ConfigError."""
        return approval.carry_out(
            approved,
            self.sealer,
            self.vault,
            self.journals,
            self._target(approved.proposal.where, approved.proposal.dbname),
            note=note,
            hours=self.database.approval_hours,
            now=datetime.now(UTC),
            watch=watch,
        )

    def _is_production(self, wish: Wish, target: Target) -> bool:
        """By which server it is, not by its address. One that does not answer is not the one that does.

        Raises ConfigError, Unavailable: the target's server cannot be asked.
        """
        production = self._target("production", wish.dbname)
        if target.label == production.label:
            return True
        there = target.system()
        try:
            return there == production.system()
        except Unavailable as away:
            log.info("whether the target is production cannot be asked of %s: %s", production.label, away.what)
            return False

    def _target(self, where: Where, dbname: str) -> Target:
        if where not in self.targets:
            raise ConfigError(
                f"no server is named as {where} of {self.database.name}",
                next_step=f"trigger a new run whose server is {' or '.join(sorted(self.targets))}; "
                'scratch is one that pgkeep.toml names (scratch = "CONNECTION")',
            )
        return self.targets[where](dbname)

    def fates(self, *, give_up: bool) -> tuple[Fate, ...]:
        """What retention would keep, and let go of. Raises as `retire`."""
        journal = self.journals.head().journal
        lost, given_up = self._losses(journal, give_up=give_up)
        return choose(journal, self.database.policy, lost=lost, give_up=given_up)

    def retire(self, *, give_up: bool = False) -> Retired:
        """Lets go of what the settings do not keep; `give_up`: and of full backups that are lost. Raises as
        `retirement.retire` and `retirement.confirmed`.
        """
        lost, given_up = self._losses(self.journals.head().journal, give_up=give_up)
        return retire(self.database.policy, self.source, self.journals, self.vault, lost=lost, give_up=given_up)

    def _losses(self, journal: Journal, *, give_up: bool) -> tuple[Collection[Cid], Collection[Cid]]:
        """What audits have found lost; and what of that nobody has to wait for."""
        lost = self.lost()
        return lost, retirement.confirmed(journal, lost, self.vault) if give_up else ()

    def newest(self) -> RecoveryPlan | None:
        """The way to the newest moment that can be restored, or None. Raises as `JournalStore.head`."""
        return newest(surviving(self.journals.head().journal, self.lost()))

    def lost(self) -> tuple[Cid, ...]:
        """Objects of which audits have found no whole copy. Raises Unavailable: no peer answers."""
        search = self.journals.search
        return ledger.known(search, search.listing()).lost

    def rekey(self, *, every: bool, patience: float, watch: Watch) -> Rekey:
        """New objects for what is live, for the recipients that the settings name now. `every`: see `outdated`."""
        return Rekey(
            source=self.source,
            sealer=self.sealer,
            vault=self.vault,
            journals=self.journals,
            chained=self.capture is not None,
            every=every,
            lost=self.lost(),
            patience=patience,
            watch=watch,
        )

    def audit(self, *, share: float | None = None, patience: float, watch: Watch) -> Audit:
        """The audit of all copies. `share`: of the bytes, that is read back; else what the settings say."""
        return Audit(
            source=self.source,
            sealer=self.sealer,
            vault=self.vault,
            journals=self.journals,
            share=share or self.database.audit_share,
            grace=self.grace,
            patience=patience,
            watch=watch,
        )

    def full(self, *, origin: Origin, patience: float, watch: Watch, ancestry: bytes = b"") -> Stored:
        """A full backup, captured: at the end of a link where changes are kept. `ancestry`: what it continues."""
        if self.capture is not None:
            return self.run(origin=origin, patience=patience, ancestry=ancestry, watch=watch).full()
        return backup.capture(
            self.source, self.sealer, self.vault, self.journals, origin=origin, ancestry=ancestry, watch=watch
        )

    def record(
        self, replicated: Replicated, *, origin: Origin, patience: float, watch: Watch, until: Instant | None = None
    ) -> Entry:
        """The backup's entry. Raises as `backup.record`; where changes are kept, as `Run.record`."""
        if self.capture is not None:
            entry = self.run(origin=origin, patience=patience, watch=watch).record(replicated, until=until)
        else:
            entry = backup.record(replicated, self.source, self.journals, self.vault)
        if entry.backup.kind == "full" and self.database.capture != "logical":
            leftovers.tidy(self.source, self.slot)  # only now: the entry covers what the slot kept
        return entry

    def take_away(self) -> None:
        """Takes everything of pgkeep out of the database, however its changes are or were kept.

        Raises ConfigError, Unavailable.
        """
        leftovers.take_away(self.source, self.slot)
