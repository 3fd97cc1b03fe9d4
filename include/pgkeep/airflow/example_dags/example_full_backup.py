"""A full backup of one database every night, by pgkeep's operators alone. Copy it into your DAGs, with your own names.

`orders` stands in `pgkeep.toml`, and `pgkeep init orders` has begun its journal.
"""

from airflow.sdk import DAG

from pgkeep.airflow.operators import (
    CheckEncryptionOperator,
    DumpDatabaseOperator,
    RecordOperator,
    ReleaseOperator,
    ReplicateOperator,
)

with DAG("example_full_backup", schedule="0 2 * * *", default_args={"database": "orders", "retries": 3}) as dag:
    dumped = DumpDatabaseOperator(task_id="dump_database").output
    checked = CheckEncryptionOperator(task_id="check_encryption", stored=dumped).output
    replicated = ReplicateOperator(task_id="replicate", sealed=checked).output
    recorded = RecordOperator(task_id="record", replicated=replicated).output
    ReleaseOperator(task_id="release", entry=recorded)
