"""The windows of time whose changes are collected, as Airflow counts them."""

from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]

from pgkeep.settings import Database


def first_window(database: Database) -> datetime | None:
    """When the window began in which pgkeep began to keep the database; None if the file does not say.

    Airflow starts with the first window that begins at or after a DAG's start: the rest of the window in which
    `pgkeep init` was run would else be collected one window late.
    """
    if database.begins is None:
        return None
    zone = ZoneInfo(database.timezone)
    found = croniter(database.changes_schedule, database.begins.astimezone(zone)).get_prev(datetime)
    assert isinstance(found, datetime)
    return found
