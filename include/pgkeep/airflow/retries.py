"""When a task of ours is tried again. Loaded by the dag-processor, so it imports nothing of weight."""

from datetime import timedelta
from typing import Any

TRIED_AGAIN: dict[str, Any] = {
    "owner": "pgkeep",
    "retries": 5,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=30),
}
"""The `default_args` of every DAG. What no retry mends fails at once, whatever is left of them: `outcomes`."""
