"""### Retention, every day

Lets go of the entries that no rule keeps (`keep_last`, `keep_hourly` .. `keep_yearly`, `min_full`). The log has the
whole plan: what goes, what stays, and why. To see it before: `pgkeep retire NAME --dry-run`.

First the journal stops naming an entry, on every peer; only then its objects are unpinned. Killed in between, the next
run goes on. Nothing goes as long as fewer than `min_full` full backups are proven by a drill.

| what you see | what it means, and what to do |
|---|---|
| *nothing goes: only 0 of 2 .. proven* | No drill has run: write `scratch`, or look at `pgkeep_NAME_drill`. |
| *not let go of yet* | A peer is away, or takes no pin away (`unpin_disable`): the next run tries again. |
| *up for retry* | Something did not answer, or another run wrote the journal. Nothing to do, unless it stays so. |
"""

import os
from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable

from pgkeep.airflow.alerts import run_failed
from pgkeep.airflow.operators import RetireOperator
from pgkeep.airflow.retries import TRIED_AGAIN
from pgkeep.settings import VARIABLE, load

# Without a valid file this raises: Airflow shows an import error. Silence would look like backups.
for name, database in load(os.environ.get(VARIABLE)).databases.items():
    with DAG(
        dag_id=f"pgkeep_{database.slug}_retire",
        description=f"What is not kept of {name} any longer is let go of",
        doc_md=__doc__,
        schedule=CronDataIntervalTimetable(database.retire_schedule, timezone=database.timezone),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        on_failure_callback=run_failed,
        tags={"pgkeep", "retention"},
        default_args=TRIED_AGAIN,
    ):
        RetireOperator(task_id="retire", database=name)
