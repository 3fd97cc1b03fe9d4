"""The steps of a backup as Airflow operators: each decodes the record of the step before, opens the site, calls the
one function of the story, and hands the next record on as JSON. What a step means is written in `pgkeep.backup`.
"""

import logging
import socket
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import AssetAlias, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from pgkeep import backup, freshness, records, sentences
from pgkeep.airflow import assets, metrics
from pgkeep.airflow.handover import entry_record
from pgkeep.airflow.hooks import SiteHook, Sites
from pgkeep.airflow.journal_memory import JournalMemory
from pgkeep.airflow.outcomes import airflow_outcome, permanent
from pgkeep.airflow.triggers import ReplicationTrigger
from pgkeep.errors import NotReplicated, PgkeepError, Unavailable
from pgkeep.model import Covered, Entry, Instant, Origin, Replicated, Sealed, Stored, instant
from pgkeep.progress import log_lines

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pgkeep.site import Site

log = logging.getLogger(__name__)

Record = dict[str, Any]
"""An encoded record, as it travels between tasks."""


class BackupStep(BaseOperator):
    """A step for one configured database. `sites` opens it (the hook's way, unless a test has another).

    The name is no template: a database may well be called `{{ shop }}`.
    """

    ui_color = "#e8f0fe"

    def __init__(self, *, database: str, sites: Sites | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.database = database
        self._sites = sites

    def site(self) -> "Site":
        """The adapters of this node for the database. Raises ConfigError."""
        return (self._sites or SiteHook().site)(self.database)


class DumpDatabaseOperator(BackupStep):
    """Dumps, compresses, encrypts, and stores in this node's own peer, in one stream. Hands on `Stored`.

    Where changes are kept, those up to the dump's moment are recorded first, with up to `patience` seconds for copies.
    """

    def __init__(self, *, patience: float = 600.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patience = patience

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            stored = self.site().full(origin=origin(context), patience=self.patience, watch=log_lines(log))
            log.info(sentences.stored(stored))
            return records.encode(stored)


class CollectChangesOperator(BackupStep):
    """Collects what was committed since the last entry, up to now. Hands on `Stored`.

    Skipped, and all that follows with it, where an entry shows the end of the run's interval already. Where the changes
    cannot be carried exactly, it makes a full backup instead.
    """

    def __init__(self, *, patience: float = 600.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patience = patience

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            run = self.site().run(origin=origin(context), patience=self.patience, watch=log_lines(log))
            stored = run.hourly(until=wanted(context))
            if isinstance(stored, Covered):
                self._skip(sentences.covered(stored))
            log.info(sentences.stored(stored))
            return records.encode(stored)

    def _skip(self, why: str) -> NoReturn:
        """Green, and everything that follows with it: said in the log, where an operator looks first."""
        log.info("%s. Nothing is to do: this run and the tasks that follow are skipped.", why)
        raise AirflowSkipException(why)


class CheckEncryptionOperator(BackupStep):
    """Reads the backup back, and lets nothing leave that is not encrypted for exactly the right keys. -> `Sealed`."""

    template_fields = ("stored",)

    def __init__(self, *, stored: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stored = stored

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            site, stored = self.site(), records.decode(Stored, self.stored)
            sealed = backup.check(stored, site.sealer, site.vault)
            log.info(sentences.sealed(sealed))
            return records.encode(sealed)


class ReplicateOperator(BackupStep):
    """Waits for the copies, without a worker slot, until the vault's `replication_hours` are over. -> `Replicated`.

    `hours`: another limit instead, for changes; a full backup, which may be large, has its own. `patience`: seconds in
    the worker before it makes room; `pause`: seconds before the triggerer's first look. Peers that are down or silent
    meanwhile are waited for. Cleared after that, it goes on; nothing is dumped again.
    """

    template_fields = ("sealed",)

    def __init__(
        self, *, sealed: Any, hours: float | None = None, patience: float = 10.0, pause: float = 15.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sealed = sealed
        self.hours = hours
        self.patience = patience
        self.pause = pause

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            site, full = self.site(), records.decode(Sealed, self.sealed).backup.kind == "full"
            seconds = site.replication_seconds if self.hours is None or full else 3600 * self.hours
            return self._replicate(site, deadline=time.time() + seconds, pause=self.pause)

    def go_on(self, context: "Context", event: dict[str, Any]) -> Record:
        """Called when the trigger has fired. Raises AirflowFailException when the deadline is over."""
        with airflow_outcome():
            if event["refused"]:
                log.warning("The triggerer could not look, so this worker does: %s", event["refused"])
            return self._replicate(self.site(), deadline=event["deadline"], pause=event["pause"])

    def _replicate(self, site: "Site", *, deadline: float, pause: float) -> Record:
        sealed = records.decode(Sealed, self.sealed)
        try:
            replicated = backup.replicate(sealed, site.vault, copies=site.copies, patience=self.patience)
        except (NotReplicated, Unavailable) as error:
            self._wait(error, copies=site.copies, deadline=deadline, pause=pause)
        log.info(sentences.replicated(replicated))
        return records.encode(replicated)

    def _wait(self, error: PgkeepError, *, copies: int, deadline: float, pause: float) -> NoReturn:
        left = deadline - time.time()
        if left <= 0:
            raise permanent(error) from error
        log.info("%s Waiting for it without a worker, up to %s.", error, timedelta(seconds=round(left)))
        trigger = ReplicationTrigger(sealed=self.sealed, copies=copies, deadline=deadline, pause=pause)
        # The trigger ends by itself; Airflow's own limit is for the day when no triggerer runs.
        self.defer(trigger=trigger, method_name="go_on", timeout=timedelta(seconds=left + 900))


class RecordOperator(BackupStep):
    """Writes the entry into the journal, which makes it a backup; twice is once. Hands on `Entry`.

    Changes that another run has overtaken are collected again here, from where that one ended: `patience` seconds for
    their copies.
    """

    template_fields = ("replicated",)

    def __init__(self, *, replicated: Any, patience: float = 600.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replicated = replicated
        self.patience = patience

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            entry = self.site().record(
                records.decode(Replicated, self.replicated),
                origin=origin(context),
                patience=self.patience,
                watch=log_lines(log),
                until=wanted(context),
            )
            log.info(sentences.recorded(entry))
            return entry_record(entry)


class ReleaseOperator(BackupStep):
    """Lets the source forget what the entry covers, and tells Airflow of the new backup through its outlets."""

    template_fields = ("entry",)

    def __init__(self, *, entry: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entry = entry

    def execute(self, context: "Context") -> None:
        with airflow_outcome():
            site, entry = self.site(), records.decode(Entry, self.entry)
            backup.release(entry, site.source, site.journals)
            log.info(sentences.released(entry))
            remember(site)
            metrics.recorded(entry, slug=site.database.slug)
        for outlet in self.outlets:
            event = context["outlet_events"][outlet]
            if isinstance(outlet, AssetAlias):
                event.add(assets.backups(self.database, entry.backup.kind), extra=assets.summary(entry))
            else:
                event.extra.update(assets.summary(entry))


def remember(site: "Site") -> None:
    """How far the journal has come; unless it does not come after what was seen before: then the watch tells of it."""
    from pgkeep import preflight

    memory = JournalMemory(site.database.slug)
    try:
        remembered = memory.recall()  # before the look: what is recorded meanwhile makes the journal newer, not this
    except Unavailable as error:  # the watch fails for it; this backup is complete
        log.warning("%s", error)
        return
    head = site.journals.head()
    if not freshness.contradicting(remembered, preflight.lineage(site, head, remembered)):
        memory.keep(freshness.sight(head, lost=site.lost()))


def origin(context: "Context") -> Origin:
    """Who makes this backup: this host, and the try of the task."""
    ti = context["ti"]
    return Origin(host=socket.gethostname(), by=f"airflow:{ti.dag_id}/{ti.run_id}/{ti.try_number}")


def wanted(context: "Context") -> Instant | None:
    """The moment up to which a run has to bring the journal: the end of its data interval; None means now.

    A run by hand in the UI has a logical date, the moment of the click, and the interval that was over by then.
    """
    dates = (context.get("data_interval_end"), context.get("logical_date"))
    return max((instant(date) for date in dates if date), default=None)
