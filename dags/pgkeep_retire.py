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

from datetime import timedelta

from pgkeep.airflow.declaration import configured, cron, database_dag
from pgkeep.airflow.proving import RetireOperator

for database in configured():
    with database_dag(
        database,
        "retire",
        schedule=cron(database, database.retire_schedule),
        description=f"What is not kept of {database.name} any longer is let go of",
        doc=__doc__,
        tags={"retention"},
        within=timedelta(hours=6),
    ):
        RetireOperator(task_id="retire", database=database.name)
