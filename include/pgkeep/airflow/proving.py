"""Drills, audits and retirement as Airflow operators: each calls the one function of its story."""

import logging
from typing import TYPE_CHECKING, Any

from pgkeep import records, sentences
from pgkeep.airflow import metrics
from pgkeep.airflow.operators import BackupStep, Record, origin, remember
from pgkeep.airflow.outcomes import airflow_outcome
from pgkeep.errors import PgkeepError
from pgkeep.progress import log_lines

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pgkeep.site import Site

log = logging.getLogger(__name__)


class DrillOperator(BackupStep):
    """Restores the newest backups from a peer drawn by lot, compares them, and records what it found. -> `Verdict`.

    Needs a recipient's private key, and the server that `scratch` names. A bad verdict is recorded, too; then it fails.
    """

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            site = self.site()
            verdict = site.drill(origin=origin(context), watch=log_lines(log))
            log.info(sentences.proven(verdict, self.database))
            metrics.drilled(verdict, slug=site.database.slug)
            return records.encode(verdict)


class RetireOperator(BackupStep):
    """Lets go of what the settings do not keep; the plan, with the reasons, is in its log. Hands on the numbers."""

    def execute(self, context: "Context") -> list[int]:
        with airflow_outcome():
            done = self.site().retire()
            log.info("what stays, and why:\n%s", sentences.fate_table(done.fates))
            log.log(logging.WARNING if done.kept_back else logging.INFO, sentences.retired(done))
            return [fate.entry.sequence for fate in done.fates if not fate.stays]


def _remember(site: "Site") -> None:
    """What is lost is no more among what can be restored. The watch does it, too: no audit is repeated for that."""
    try:
        remember(site)
    except PgkeepError as error:
        log.warning("what can be restored now is not known: %s", error)


class AuditOperator(BackupStep):
    """Has every peer prove what it holds, repairs what can be repaired, and sweeps litter. Hands on the `Report`.

    `share`: of all bytes, that is read back; else what the settings say. `patience`: seconds for copies made anew.
    """

    def __init__(self, *, share: float | None = None, patience: float = 600.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share
        self.patience = patience

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            site = self.site()
            report = site.audit(share=self.share, patience=self.patience, watch=log_lines(log)).run()
            log.info("\n".join(sentences.audited(report)))
            _remember(site)
        with airflow_outcome(topics=report.topics):
            report.require_well()
        return records.encode(report)
