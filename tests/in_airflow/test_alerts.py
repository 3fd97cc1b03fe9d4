"""What is said when a run fails, whatever Airflow tells about it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context

from pgkeep.airflow.alerts import run_failed

RUN = SimpleNamespace(dag_id="pgkeep_shop_full", run_id="manual__1")


@pytest.mark.parametrize(
    ("context", "says"),
    [
        (
            {"dag_run": RUN, "ti": SimpleNamespace(task_id="record"), "reason": "task_failure"},
            "run manual__1 of pgkeep_shop_full in task record (task_failure)",
        ),
        ({"dag_run": RUN, "reason": "timed_out"}, "run manual__1 of pgkeep_shop_full (timed_out)"),
        ({}, "of a DAG of pgkeep (no reason given)"),
    ],
)
def test_one_line_with_the_next_step(context: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture) -> None:
    run_failed(cast(Context, context))
    (line,) = caplog.messages
    assert says in line
    assert "Next:" in line
