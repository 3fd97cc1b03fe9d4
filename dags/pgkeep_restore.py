"""### A restore, by hand, with approval

    plan  ->  approve  ->  restore

Trigger it with the form: which moment, where to, and whether a database that stands there is to be replaced.

| task | what it does |
|---|---|
| `plan` | finds the entries that lead to that moment, and looks at what would be replaced; touches nothing |
| `approve` | shows it, and waits for a person: *Browse, Required Actions* |
| `restore` | restores beside, compares with what was measured at the source, and only then takes the name |

Exactly the entries that were approved are read, whatever is backed up meanwhile. What stood there is not dropped: it
stays beside, as `<name>_before_<UTC>`.

| what you see | what it means, and what to do |
|---|---|
| `approve` waits | Somebody has to answer. Other runs go on. |
| `restore` skipped, run green | Rejected, or not answered in time: nothing has happened, so nobody is alarmed. |
| `approve` waits again | That approval did not count; its log says why: somebody else has to give it. |
| the same, log silent | It came within seconds of the question, and Airflow lost it: answer again. |
| `plan` red | No way to that moment, or something stands there: its last error says what to choose. |
| red, *shown for approval* | Another database stands there now, or none. Nothing was replaced: trigger a new run. |
| red, *not name entry .. any more* | Retention has let go of it since: trigger a new run. |
| red, *nobody has approved* | Somebody has marked `approve` as a success: clear it, and answer it. |
| `approve` red, *asked for more than .. hours ago* | Cleared too late: trigger a new run. |
| `approve` red, *has changed since* | Airflow shows the run's first question, which holds no more: trigger a new run. |
| red, *no private key* | This worker is not meant for restores: see `drill_queue`. |
| `restore` up for retry | Something did not answer, or it was killed. The next try drops what is half-made. |

*scratch* is the server of the drills, for a look at old rows; *production* the one whose database is kept. Anywhere
else: `pgkeep restore NAME --into URL`. After a restore in production the changes begin anew, with a full backup.
"""

from datetime import timedelta

from airflow.sdk import Param

from pgkeep.airflow.declaration import configured, database_dag
from pgkeep.airflow.restoring import ApproveRestoreOperator, PlanRestoreOperator, RestoreOperator

MOMENT = r"^(latest|(entry|xid) [0-9]{1,19}|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2}))$"

for database in configured():
    servers = ["production"] if database.scratch is None else ["scratch", "production"]
    with database_dag(
        database,
        "restore",
        schedule=None,
        description=f"{database.name}, brought back when a person has approved it",
        doc=__doc__,
        tags={"restore"},
        runs=16,  # one that waits for its answer is in nobody's way
        within=timedelta(hours=database.approval_hours + 24),
        params={
            "moment": Param(
                "latest",
                type="string",
                pattern=MOMENT,
                title="Moment",
                description="latest, a time with its zone (2026-01-31T14:05:00Z), entry N, or xid X",
            ),
            "server": Param(
                servers[0],
                type="string",
                enum=servers,
                title="Server",
                description="scratch: the server of the drills; production: the one whose database is kept",
            ),
            "dbname": Param(
                database.dbname,
                type="string",
                minLength=1,
                maxLength=63,
                pattern=r"^[^\x00-\x1f\x7f]+$",
                title="Name",
                description="under which it comes back there",
            ),
            "replace": Param(
                False,
                type="boolean",
                title="Replace",
                description="take the place of a database that is not empty; that one stays under a dated name",
            ),
            "stale": Param(
                False,
                type="boolean",
                title="Stale tables",
                description="accept tables without a primary key as of the last entry before that moment",
            ),
        },
    ):
        plan = PlanRestoreOperator(task_id="plan", database=database.name)
        approve = ApproveRestoreOperator(
            task_id="approve",
            database=database.name,
            hours=database.approval_hours,
            retry_delay=timedelta(seconds=10),  # somebody waits
        )
        plan >> approve
        RestoreOperator(
            task_id="restore",
            database=database.name,
            approved=approve.output,
            max_active_tis_per_dag=1,
            **({"queue": database.drill_queue} if database.drill_queue else {}),
        )
