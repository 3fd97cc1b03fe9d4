"""### The watch, twice an hour

    watch

Green: all backups are as young as they should be. It makes nothing and mends nothing; it looks, and is red when
somebody has to.

| it is red when | limit | what to do |
|---|---|---|
| the newest moment that can be restored is too old | `newest_hours` | See `pgkeep_NAME_changes`, `_full`. |
| the newest full backup that a drill has proven is too old | `proven_days` | See `pgkeep_NAME_drill`. |
| the last audit is too long ago | `audit_days` | See `pgkeep_NAME_audit`. |
| the source keeps too much WAL for the next collection | half of `slot_limit_gb` | See `pgkeep_NAME_changes`. |
| for 15 minutes, too few copies of what the newest moment needs | `copies` | Bring the peer back; see the audit. |
| a key expires soon, or serves no more | `key_days` | Extend it, and import it on every node. |
| the journal is older than one that was seen before | | See docs/operating.md, *A journal that is refused*. |
| this machine's clock is before the newest line of the journal | 10 minutes | Set the clocks by NTP. |

An older journal is no accident: somebody with access to the cluster has put it back.

Whoever is named in `[alerts]` is told once of each of these, and once when all is well again. That Airflow itself is
down, or this DAG paused, only a look from outside can tell: `pgkeep check NAME` from cron, on another machine.
"""

from datetime import timedelta

from pgkeep.airflow.declaration import configured, cron, database_dag
from pgkeep.airflow.watch import WatchOperator

for database in configured():
    with database_dag(
        database,
        "watch",
        schedule=cron(database, "15,45 * * * *"),
        description=f"Whether the backups of {database.name} are as young as they should be",
        doc=__doc__,
        tags={"watch"},
        within=timedelta(hours=1),
    ):
        WatchOperator(task_id="watch", database=database.name, retries=4)  # so a quarter of an hour
