"""### A drill, after every full backup

Restores the newest backups into databases of their own on the scratch server, reading from one peer drawn by lot, and
compares them with what the source held at that very transaction:

1. the full backup by itself,
2. with the changes since,
3. the full backup before it, with all changes up to this one: both must hold and define the same.

The verdict goes into the journal (`pgkeep list NAME`), also a bad one; the databases are dropped. Only full backups
that are proven count for `min_full`, and as long as too few are, nothing is ever let go of.

| what you see | what it means, and what to do |
|---|---|
| green | These backups come back, and that fast. |
| *up for retry* | A system did not answer; nothing is known. The next try draws another peer. |
| red, *came back different* | A backup is not what its source was. Make a full backup now; keep this one for a look. |
| red, *no whole copy* | The peer that was drawn has lost or damaged an object: repair it, then clear the task. |
| red, *do not give what the full backup .. holds* | The changes missed something. The full backup itself is good. |
| red, *no private key* | This worker is not meant for drills: see `drill_queue`. |

By hand: trigger it, or `pgkeep drill NAME`.
"""

import os
from datetime import UTC, datetime

from airflow.sdk import DAG

from pgkeep.airflow.alerts import run_failed
from pgkeep.airflow.assets import backups
from pgkeep.airflow.operators import DrillOperator
from pgkeep.airflow.retries import TRIED_AGAIN
from pgkeep.settings import VARIABLE, load

# Without a valid file this raises: Airflow shows an import error. Silence would look like backups.
for name, database in load(os.environ.get(VARIABLE)).databases.items():
    if database.scratch is None:
        continue
    with DAG(
        dag_id=f"pgkeep_{database.slug}_drill",
        description=f"The newest backups of {name}, restored and compared",
        doc_md=__doc__,
        schedule=[backups(name, "full")],
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        on_failure_callback=run_failed,
        tags={"pgkeep", "drill"},
        default_args=TRIED_AGAIN | ({"queue": database.drill_queue} if database.drill_queue else {}),
    ):
        DrillOperator(task_id="drill", database=name)
