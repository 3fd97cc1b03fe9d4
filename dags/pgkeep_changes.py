"""### The changes, every hour

    collect_changes >> check_encryption >> replicate >> record >> release

| task | when it is green |
|---|---|
| `collect_changes` | what was committed since the last entry is encrypted, signed, and in this node's own IPFS peer |
| `check_encryption` | it was read back: the same bytes, readable by exactly the configured keys |
| `replicate` | enough distinct peers have it (waits without a worker slot) |
| `record` | the journal names it, and the journal is replicated too: now it is a backup |
| `release` | the peers show that entry; the source may forget what it covers |

A run brings the journal up to now, at least to the end of its interval.

| what you see | what it means, and what to do |
|---|---|
| all green | The changes are a backup now. A quiet hour is an entry without an object. |
| green, tasks *skipped* | An earlier run went beyond this interval: the log of `collect_changes` names its entry. |
| *a full backup is made* in that log | The changes could not be carried exactly. The reason: `pgkeep list NAME` |
| *up for retry* | Something did not answer, or two runs met. Nothing to do, unless it stays so. |
| `replicate` *deferred* | A peer is away: bring it back, within two hours. No worker is held meanwhile. |
| `replicate` red | It stayed away. The source still has the changes; the next run collects all of them again. |
| red | It will not mend itself. Do what the log's last error says after *Next*, then clear the task. |

**Missed hours** need nothing: the source keeps the changes (with `capture = "csvlog"`: as long as its log files stay),
and the next run collects them all. Where each hour is to have its run: *Trigger*, *Backfill*, *Missing Runs*. Scheduled
runs, backfills, retries and runs by hand are safe in any order, and at once.

**While this DAG is paused**, with `capture = "logical"`, the source keeps its WAL, and nobody looks at `slot_limit_gb`:
set `max_slot_wal_keep_size` there. With `capture = "csvlog"`, log files that go meanwhile make a full backup necessary.
Do not leave it paused.

Back again: `pgkeep restore NAME --into URL`, `[--at TIME]`.
"""

from datetime import timedelta

from pgkeep.airflow.assets import either
from pgkeep.airflow.declaration import configured, cron, database_dag
from pgkeep.airflow.operators import (
    CheckEncryptionOperator,
    CollectChangesOperator,
    RecordOperator,
    ReleaseOperator,
    ReplicateOperator,
)
from pgkeep.airflow.windows import first_window

HOURS = 2
"""That long a run waits for its copies. Then somebody is told, and the next run looks after the source's disk."""

for database in configured():
    if database.capture == "none":
        continue
    with database_dag(
        database,
        "changes",
        schedule=cron(database, database.changes_schedule),
        description=f"Changes of {database.name}, encrypted, replicated, recorded",
        doc=__doc__,
        tags={"backup", "changes"},
        start=first_window(database),
        catchup=database.begins is not None,
        within=timedelta(hours=2 * HOURS),
    ):
        collect_changes = CollectChangesOperator(task_id="collect_changes", database=database.name)
        check_encryption = CheckEncryptionOperator(
            task_id="check_encryption", database=database.name, stored=collect_changes.output
        )
        replicate = ReplicateOperator(
            task_id="replicate", database=database.name, sealed=check_encryption.output, hours=HOURS
        )
        record = RecordOperator(task_id="record", database=database.name, replicated=replicate.output)
        release = ReleaseOperator(
            task_id="release", database=database.name, entry=record.output, outlets=[either(database.name)]
        )

        collect_changes >> check_encryption >> replicate >> record >> release
