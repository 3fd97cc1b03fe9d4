"""How the last watch of a database ended, as Airflow's own database has it: for the page in the api-server."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import select

from pgkeep.progress import human_time

TOO_LONG = timedelta(hours=2)
"""It looks twice an hour, and may take an hour where something does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A run of the watch that is over. `well`: it found nothing."""

    well: bool
    ended: datetime


def last_look(slug: str) -> Look | None:
    """The last one, or None: there was none yet."""
    over = (DagRunState.SUCCESS, DagRunState.FAILED)
    query = (
        select(DagRun.state, DagRun.end_date)
        .where(DagRun.dag_id == f"pgkeep_{slug}_watch", DagRun.state.in_(over), DagRun.end_date.is_not(None))
        .order_by(DagRun.end_date.desc())
    )
    with create_session() as session:
        row = session.execute(query.limit(1)).first()
    return Look(well=row[0] == DagRunState.SUCCESS, ended=row[1]) if row else None


def steps(slug: str, look: Look | None, *, now: datetime) -> Iterator[str]:
    """What somebody has to do about it. Before the first look, nothing."""
    if look is None:
        return
    age = human_time(abs(now - look.ended).total_seconds())
    if now - look.ended > TOO_LONG:
        yield (
            f"the watch has not looked for {age}, so copies and keys are not known. Next: see whether "
            f"pgkeep_{slug}_watch is paused, and whether Airflow's scheduler runs"
        )
    elif not look.well:
        yield f"the watch failed {age} ago. Next: read the log of pgkeep_{slug}_watch, which says what is wrong"
