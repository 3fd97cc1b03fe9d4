"""What is said when a run fails: one clear line. Loaded by the dag-processor, so it imports nothing of weight."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def run_failed(context: "Context") -> None:
    """The DAG's `on_failure_callback`: also called when a task was killed on its last try."""
    run, ti = context.get("dag_run"), context.get("ti")
    dag_id, run_id = (run.dag_id, run.run_id) if run else ("a DAG of pgkeep", "unknown")
    log.error(
        "%s FAILED: run %s of %s%s (%s). Next: read that task's log in the Airflow UI, do what its last error "
        "says, then clear the task: it goes on from there.",
        next((story.upper() for story in ("audit", "restore") if dag_id.endswith(f"_{story}")), "BACKUP"),
        run_id,
        dag_id,
        f" in task {ti.task_id}" if ti else "",
        context.get("reason") or "no reason given",
    )
