"""What Airflow's own metrics (StatsD, OpenTelemetry) say of a database, where they are switched on.

`pgkeep.<metric>`, with the tag `database`. Plain StatsD knows no tags: as Airflow does it for its own, the same goes
out as `pgkeep.<metric>.<database>`, unless `[metrics] legacy_names_on` is off. docs/operating.md lists them.
"""

import logging

from airflow.sdk import conf
from airflow.sdk.observability import stats

from pgkeep.model import Entry, Verdict

log = logging.getLogger(__name__)


def gauge(metric: str, value: float, *, slug: str) -> None:
    """Sets it. A server of metrics that is away fails nothing."""
    try:
        stats.gauge(f"pgkeep.{metric}", value, tags={"database": slug})
        if conf.getboolean("metrics", "legacy_names_on"):
            stats.gauge(f"pgkeep.{metric}.{slug}", value)
    except Exception as error:
        log.warning("the metric %s of %s is not told: %s", metric, slug, error)


def recorded(entry: Entry, *, slug: str) -> None:
    """Of a backup that exists now."""
    gauge(f"{entry.backup.kind}_bytes", entry.backup.size, slug=slug)
    gauge(f"{entry.backup.kind}_seconds", entry.backup.seconds, slug=slug)


def drilled(verdict: Verdict, *, slug: str) -> None:
    """Of a drill: how long it took to bring the full backup back, and to compare it."""
    gauge("restore_seconds", verdict.ways[0].seconds, slug=slug)
