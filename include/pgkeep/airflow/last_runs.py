"""How the last run of each DAG of a database ended, as Airflow's own database has it: for the page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import select
from sqlalchemy.orm import Session

from pgkeep.progress import human_time

TOO_LONG = timedelta(hours=2)
"""The watch looks twice an hour, and may take an hour where something does not answer."""
STORIES: Mapping[str, str] = {
    "full": "full backup",
    "changes": "collection of changes",
    "drill": "drill",
    "audit": "audit",
    "retire": "retirement",
    "watch": "watch",
    "journal": "mail of the journal",
}
"""Not `restore`: somebody waits for that one, and it may be given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """A run that is over, the last one of its DAG."""

    well: bool
    ended: datetime


def last_runs(slug: str) -> Mapping[str, LastRun]:
    """By story, where any run is over. A DAG that is no more, as without a scratch server, has none."""
    with create_session() as session:
        found = {story: _last_run(session, f"pgkeep_{slug}_{story}") for story in STORIES}
    return {story: run for story, run in found.items() if run}


def _last_run(session: Session, dag_id: str) -> LastRun | None:
    over = (DagRunState.SUCCESS, DagRunState.FAILED)
    query = (
        select(DagRun.state, DagRun.end_date)
        .join(DagModel, DagModel.dag_id == DagRun.dag_id)
        .where(DagRun.dag_id == dag_id, DagRun.state.in_(over), DagRun.end_date.is_not(None))
        .where(DagModel.is_stale.is_(False))
        .order_by(DagRun.end_date.desc())
    )
    row = session.execute(query.limit(1)).first()
    return LastRun(well=row[0] == DagRunState.SUCCESS, ended=row[1]) if row else None


def steps(slug: str, runs: Mapping[str, LastRun], *, now: datetime) -> Iterator[str]:
    """What somebody has to do about them. Before the first run, nothing."""
    for story, run in runs.items():
        age = human_time(abs(now - run.ended).total_seconds())
        if story == "watch" and now - run.ended > TOO_LONG:
            yield (
                f"the watch has not looked for {age}, so copies and keys are not known. Next: see whether "
                f"pgkeep_{slug}_watch is paused, and whether Airflow's scheduler runs"
            )
        elif not run.well:
            yield f"the {STORIES[story]} failed {age} ago. Next: read the log of pgkeep_{slug}_{story}"
