"""Operators for what goes on beside the backups: watching that they are young, and mailing the journal away."""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgkeep import freshness, records
from pgkeep.airflow import assets, metrics
from pgkeep.airflow.journal_memory import JournalMemory
from pgkeep.airflow.operators import BackupStep, Record
from pgkeep.airflow.outcomes import airflow_outcome
from pgkeep.errors import ConfigError, Unavailable
from pgkeep.freshness import Facts, Recollection, Seen

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

LEFT_TO_OTHERS = ("damaged",)
"""One incident, one letter: the audit's own run fails while something is damaged, and tells it."""


class WatchOperator(BackupStep):
    """Fails with one clear sentence when something is late, or about to be: see `pgkeep.freshness`. Hands on `Seen`.

    While copies are missing it is tried again, whatever else is wrong: nobody is told of a peer's short absence.
    Needs the node's own key, and no recipient's. Its inlet is the asset of the full backups: the newest event tells of
    a version of the journal that existed, beside what the last run has seen.
    """

    def __init__(self, *, database: str, **kwargs: Any) -> None:
        super().__init__(database=database, inlets=[assets.backups(database, "full")], **kwargs)

    def execute(self, context: "Context") -> Record:
        from pgkeep import preflight
        from pgkeep.airflow import delivery

        with airflow_outcome():
            site = self.site()
            slug = site.database.slug
            memory = JournalMemory(slug, further=tuple(self._told(context)))
            facts, concerns = preflight.look(site, memory)
            looked_at(facts, slug=slug)
        for concern in (found for found in concerns if found.topic in LEFT_TO_OTHERS):
            log.warning("%s (told by the audit's own run). Next: %s", concern.what, concern.next_step)
        concerns = tuple(concern for concern in concerns if concern.topic not in LEFT_TO_OTHERS)
        with airflow_outcome(topics=sorted({concern.topic for concern in concerns})):
            if concerns:
                raise freshness.error(self.database, concerns, last_try=is_last_try(context))
        with airflow_outcome():  # last: a notifier that cannot be made hides nothing
            delivery.require_notifiers(site.database.alerts)
        seen = freshness.sight(facts.head, lost=facts.lost)
        log.info("%s can be restored as it was at %s: all that is watched is well", self.database, seen.moment)
        return records.encode(seen)

    def _told(self, context: "Context") -> Iterator[Recollection]:
        """What the newest event of the asset says. It goes by itself: the next full backup brings another one."""
        accessors = context.get("inlet_events")
        if not accessors:
            return
        asset = assets.backups(self.database, "full")
        for event in accessors[asset].ascending(False).limit(1):
            number = (event.extra or {}).get("entry")
            if isinstance(number, int):
                yield Recollection(
                    seen=Seen(sequence=number, cid=None, moment=None, entry=number),
                    where=f"the newest event of Airflow's asset {asset.name}",
                    forget=f"make a full backup, which gives {asset.name} another event",
                )


def is_last_try(context: "Context") -> bool:
    """Whether Airflow has no retries left for this task."""
    ti = context["ti"]
    return ti.try_number > ti.max_tries


class MailJournalOperator(BackupStep):
    """Mails the journal to the operators, byte for byte as the peers hold it. Hands on the version."""

    def execute(self, context: "Context") -> int:
        from pgkeep.airflow import delivery, letters

        with airflow_outcome():
            site = self.site()
            alerts = site.database.alerts
            if not alerts.mail:
                raise ConfigError("nobody is named to mail the journal to", next_step="write mail in [alerts]")
            head = site.journals.head()
            version, sealed = head.journal.sequence, site.journals.sealed(head)
            subject, text = letters.journal(site.database, head.journal)
            name = f"{site.database.slug}-journal-{version}.gpg"
            try:
                delivery.mail(alerts, subject=subject, text=text, attachments={name: sealed})
            except Exception as error:
                raise Unavailable(
                    f"version {version} of the journal of {self.database} was not mailed: {type(error).__name__}: "
                    f"{error}",
                    next_step=f"see that the mail server of connection {alerts.smtp} works, then clear this task",
                ) from error
            log.info("version %s of the journal went to %s", version, ", ".join(alerts.mail))
            return version


def looked_at(facts: Facts, *, slug: str) -> None:
    """Tells Airflow's metrics what was found."""
    metrics.gauge("journal_version", facts.journal.sequence, slug=slug)
    metrics.gauge("copies_missing", max((s.want - s.have for s in facts.shortages), default=0), slug=slug)
    if facts.retained is not None:
        metrics.gauge("retained_bytes", facts.retained, slug=slug)
    way = freshness.newest(facts.surviving)
    if way:
        age = facts.now - datetime.fromisoformat(way.last.backup.cut.time)
        metrics.gauge("newest_moment_age_seconds", age.total_seconds(), slug=slug)
