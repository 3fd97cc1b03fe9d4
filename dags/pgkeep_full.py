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

from datetime import timedelta

from pgkeep.airflow.assets import backups
from pgkeep.airflow.declaration import configured, cron, database_dag
from pgkeep.airflow.operators import (
    CheckEncryptionOperator,
    DumpDatabaseOperator,
    RecordOperator,
    ReleaseOperator,
    ReplicateOperator,
)

for database in configured():
    with database_dag(
        database,
        "full",
        schedule=cron(database, database.full_schedule),
        description=f"Full backup of {database.name}, encrypted, replicated, recorded",
        doc=__doc__,
        tags={"backup", "full"},
        within=timedelta(hours=48),
    ):
        dump_database = DumpDatabaseOperator(task_id="dump_database", database=database.name)
        check_encryption = CheckEncryptionOperator(
            task_id="check_encryption", database=database.name, stored=dump_database.output
        )
        replicate = ReplicateOperator(task_id="replicate", database=database.name, sealed=check_encryption.output)
        record = RecordOperator(task_id="record", database=database.name, replicated=replicate.output)
        release = ReleaseOperator(
            task_id="release", database=database.name, entry=record.output, outlets=[backups(database.name, "full")]
        )

        dump_database >> check_encryption >> replicate >> record >> release
