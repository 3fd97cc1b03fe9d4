"""What pgkeep tells the rest of Airflow: one asset per database and kind of backup, an event for each new entry."""

from typing import Any

from airflow.sdk import Asset

from pgkeep.model import Entry
from pgkeep.pin_names import name_prefix


def full_backups(database: str) -> Asset:
    """The full backups of a database, as `pgkeep/<name>/full`. Characters odd in a path are %-encoded."""
    name = f"{name_prefix(database)}full"
    return Asset(name=name, uri=f"x-{name.replace('/', '://', 1)}", group="pgkeep")


def summary(entry: Entry) -> dict[str, Any]:
    """An entry in a few words, as the `extra` of an asset event: what a DAG that follows needs to find it."""
    backup = entry.backup
    return {
        "database": backup.database,
        "entry": entry.sequence,
        "time": backup.cut.time,
        "rows": backup.totals.rows,
        "tables": backup.totals.tables,
        "bytes": backup.size,
        "copies": entry.copies,
        "cids": {part.name: part.cid for part in backup.parts},
    }
