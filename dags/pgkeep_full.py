"""### A full backup, every day

    dump_database >> check_encryption >> replicate >> record >> release

| task | when it is green |
|---|---|
| `dump_database` | the changes so far are recorded; the dump is encrypted, signed, and in this node's own peer |
| `check_encryption` | it was read back: the same bytes, readable by exactly the configured keys |
| `replicate` | enough distinct peers have it (waits without a worker slot) |
| `record` | the journal names it, and the journal is replicated too: now it is a backup |
| `release` | the peers show that entry; the source may forget what it covers |

Every task may be killed and cleared at any point: only that task is done again, and nothing is recorded twice.
The last error in the log of a red task says what happened and what to do next.

Back again: `pgkeep list NAME`, `pgkeep restore NAME --into URL`.
"""

import os
from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable

from pgkeep.airflow.alerts import run_failed
from pgkeep.airflow.assets import backups
from pgkeep.airflow.operators import (
    CheckEncryptionOperator,
    DumpDatabaseOperator,
    RecordOperator,
    ReleaseOperator,
    ReplicateOperator,
)
from pgkeep.airflow.retries import TRIED_AGAIN
from pgkeep.settings import VARIABLE, load

# Without a valid file this raises: Airflow shows an import error. Silence would look like backups.
for name, database in load(os.environ.get(VARIABLE)).databases.items():
    with DAG(
        dag_id=f"pgkeep_{database.slug}_full",
        description=f"Full backup of {name}, encrypted, replicated, recorded",
        doc_md=__doc__,
        schedule=CronDataIntervalTimetable(database.full_schedule, timezone=database.timezone),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        on_failure_callback=run_failed,
        tags={"pgkeep", "backup", "full"},
        default_args=TRIED_AGAIN,
    ):
        dump_database = DumpDatabaseOperator(task_id="dump_database", database=name)
        check_encryption = CheckEncryptionOperator(
            task_id="check_encryption", database=name, stored=dump_database.output
        )
        replicate = ReplicateOperator(task_id="replicate", database=name, sealed=check_encryption.output)
        record = RecordOperator(task_id="record", database=name, replicated=replicate.output)
        release = ReleaseOperator(
            task_id="release", database=name, entry=record.output, outlets=[backups(name, "full")]
        )

        dump_database >> check_encryption >> replicate >> record >> release
