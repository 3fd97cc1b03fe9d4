"""### The audit, every day

    audit

Green: every copy of every backup that was asked for was read back from the very peer that holds it, and what was found
damaged or missing is whole again.

| what it does | |
|---|---|
| reads back | the journal's versions everywhere, and a share of all other bytes: those that waited longest come first |
| repairs | lost blocks, rotten blocks, lost pins, peers that are gone: and reads back what it has repaired |
| sweeps | what a crash left and no journal names, once the journal has gone on for the grace period |
| looks at | the journal's chain and signatures, the keys, the recipients, the room on the peers |

| what you see | what it means, and what to do |
|---|---|
| green | All is well, or well again: *REPAIRED* in the log names each copy. The same peer again and again: its disk. |
| *as the cluster claims* in the log | That peer's Kubo cannot be asked from here: nobody has proven its copies. |
| *notice* | Somebody should look at it. No backup is in danger because of it. |
| *up for retry* | Fewer copies than wanted: a peer is away, or copies are still on their way. |
| red | A copy could not be repaired, or a key serves no more: do what the log says after *Next*. |

By hand: `pgkeep audit NAME --share 1` reads everything, `--dry-run` changes nothing.
"""

from datetime import timedelta

from pgkeep.airflow.declaration import configured, cron, database_dag
from pgkeep.airflow.proving import AuditOperator

for database in configured():
    with database_dag(
        database,
        "audit",
        schedule=cron(database, database.audit_schedule),
        description=f"Every copy of the backups of {database.name}, read back and repaired",
        doc=__doc__,
        tags={"audit"},
        within=timedelta(hours=24),
    ):
        AuditOperator(task_id="audit", database=database.name)
