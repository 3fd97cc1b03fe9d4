"""Why a task fails, kept for the callback of its DAG, which sees no exception. Imports nothing of weight."""

import logging
import os
from collections.abc import Sequence

from pgkeep.errors import PgkeepError
from pgkeep.settings import VARIABLE, load

log = logging.getLogger(__name__)


def keep(what: str, topics: Sequence[str]) -> None:
    """Remembers it for the try of the task that runs here, if anybody is to be told; outside of one, does nothing."""
    from airflow.sdk import get_current_context

    try:
        ti = get_current_context()["ti"]
        wanted = load(os.environ.get(VARIABLE)).alerts.ways
    except (RuntimeError, PgkeepError):
        return
    if wanted:
        from pgkeep.airflow import incident_memory
        from pgkeep.airflow.incidents import LastWords

        words = LastWords(run=ti.run_id, task=ti.task_id, attempt=ti.try_number, what=what, topics=tuple(topics))
        incident_memory.keep_words(ti.dag_id, words)
