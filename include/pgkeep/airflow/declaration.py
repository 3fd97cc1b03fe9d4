"""What every DAG of pgkeep has in common. Loaded by the dag-processor, so it imports nothing of weight."""

import os
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from pgkeep.airflow.alerts import run_failed, run_hangs, run_succeeded
from pgkeep.airflow.retries import TRIED_AGAIN
from pgkeep.settings import VARIABLE, Database, load

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def configured() -> Iterator[Database]:
    """The databases of `pgkeep.toml`. Without a valid file it raises, and Airflow shows an import error.

    Silence would look like backups. Raises ConfigError.
    """
    yield from load(os.environ.get(VARIABLE)).databases.values()


def cron(database: Database, expression: str) -> CronDataIntervalTimetable:
    """That schedule, by the clock of the database's own time zone. Its runs have a data interval."""
    return CronDataIntervalTimetable(expression, timezone=database.timezone)


def database_dag(
    database: Database,
    story: str,
    *,
    schedule: Any,
    description: str,
    doc: str | None,
    tags: Collection[str],
    start: datetime | None = None,
    catchup: bool = False,
    queue: str = "",
    runs: int = 1,
    within: timedelta | None = None,
    **more: Any,
) -> DAG:
    """`pgkeep_<name>_<story>`: one run at a time, not paused at first, and somebody is told when a run fails.

    `doc`: the page that the UI shows, Markdown. `queue`: of its tasks, if not Airflow's own. `runs`: more at a time.
    `within`: so long after a run was queued somebody is told that it hangs; None: it may take as long as it likes.
    (Airflow reads only files in which it finds the word "dag": here, by this function's name.)
    """
    return DAG(
        dag_id=f"pgkeep_{database.slug}_{story}",
        description=description,
        doc_md=doc,
        schedule=schedule,
        start_date=start or LONG_AGO,
        catchup=catchup,
        max_active_runs=runs,
        is_paused_upon_creation=False,
        on_failure_callback=run_failed,
        on_success_callback=run_succeeded,
        # `dag.test` of Airflow 3.3.2 cannot end a run that has a deadline: without anybody to tell there is none.
        deadline=_deadline(within) if within and database.alerts.ways else None,
        tags={"pgkeep", *tags},
        owner_links={TRIED_AGAIN["owner"]: database.runbook} if database.runbook else {},
        default_args=TRIED_AGAIN | ({"queue": queue} if queue else {}),
        **more,
    )


def _deadline(within: timedelta) -> DeadlineAlert:
    """By when it was queued: by its logical date, each run that is made up for would be late at once."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=within, callback=AsyncCallback(run_hangs), name="hangs"
    )
