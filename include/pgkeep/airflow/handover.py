"""What tasks hand on: small enough for Airflow's database, and for people to read."""

from dataclasses import replace
from typing import Any

from pgkeep import positions, records
from pgkeep.model import Entry


def entry_record(entry: Entry) -> dict[str, Any]:
    """The entry, encoded, without what the journal keeps of each of the database's objects: no later task needs it."""
    link = entry.backup.link
    if link is not None:
        link = replace(link, position=positions.brief(link.position))
    return records.encode(replace(entry, backup=replace(entry.backup, link=link)))
