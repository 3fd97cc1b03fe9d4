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

from datetime import timedelta

from pgkeep.airflow.assets import backups
from pgkeep.airflow.declaration import configured, database_dag
from pgkeep.airflow.proving import DrillOperator

for database in configured():
    if database.scratch is None:
        continue
    with database_dag(
        database,
        "drill",
        schedule=[backups(database.name, "full")],
        description=f"The newest backups of {database.name}, restored and compared",
        doc=__doc__,
        tags={"drill"},
        queue=database.drill_queue,
        within=timedelta(hours=24),
    ):
        DrillOperator(task_id="drill", database=database.name)
