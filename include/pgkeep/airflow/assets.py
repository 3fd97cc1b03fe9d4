"""What pgkeep tells the rest of Airflow: one asset per database and kind of backup, an event for each new entry."""

from typing import Any

from airflow.sdk import Asset, AssetAlias

from pgkeep.model import Entry, Kind
from pgkeep.pin_names import name_prefix


def either(database: str) -> AssetAlias:
    """What a collection of changes gives: changes, or a full backup instead. The event goes to the one it was."""
    return AssetAlias(name_prefix(database).rstrip("/"), group="pgkeep")


def backups(database: str, kind: Kind) -> Asset:
    """The backups of a database, as `pgkeep/<name>/full`, `../changes`. Characters odd in a path are %-encoded."""
    name = f"{name_prefix(database)}{kind}"
    return Asset(name=name, uri=f"x-{name.replace('/', '://', 1)}", group="pgkeep")


def summary(entry: Entry) -> dict[str, Any]:
    """An entry in a few words, as the `extra` of an asset event: what a DAG that follows needs to find it."""
    backup = entry.backup
    found = {
        "database": backup.database,
        "entry": entry.sequence,
        "time": backup.cut.time,
        "bytes": backup.size,
        "copies": entry.copies,
        "cids": {part.name: part.cid for part in backup.parts},
    }
    if backup.totals is not None:
        found |= {"rows": backup.totals.rows, "tables": backup.totals.tables}
    if backup.link is not None:
        found |= {"transactions": backup.link.transactions, "changes": backup.link.changes}
    return found
