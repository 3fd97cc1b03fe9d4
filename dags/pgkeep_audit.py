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

import os
from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable

from pgkeep.airflow.alerts import run_failed
from pgkeep.airflow.operators import AuditOperator
from pgkeep.airflow.retries import TRIED_AGAIN
from pgkeep.settings import VARIABLE, load

# Without a valid file this raises: Airflow shows an import error. Silence would look like proofs.
for name, database in load(os.environ.get(VARIABLE)).databases.items():
    with DAG(
        dag_id=f"pgkeep_{database.slug}_audit",
        description=f"Every copy of the backups of {name}, read back and repaired",
        doc_md=__doc__,
        schedule=CronDataIntervalTimetable(database.audit_schedule, timezone=database.timezone),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        on_failure_callback=run_failed,
        tags={"pgkeep", "audit"},
        default_args=TRIED_AGAIN,
    ):
        AuditOperator(task_id="audit", database=name)
