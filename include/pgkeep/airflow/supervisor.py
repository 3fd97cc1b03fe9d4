"""Questions to Airflow, as tasks, callbacks and triggers put them.

Airflow's own ways to ask, `Variable.get` and `BaseHook.get_connection`, take whatever goes wrong for "not there".
"""

from typing import Any, TypeVar

R = TypeVar("R")


def is_there() -> bool:
    """Whether this process is one that asks: a task, a callback or a trigger."""
    from airflow.sdk.execution_time import task_runner

    return hasattr(task_runner, "SUPERVISOR_COMMS")


def ask(message: Any, kind: type[R]) -> R | None:
    """The answer, or None: the api-server says that there is none. Of everything else, raises whatever Airflow raises.

    (The api-server says so of what its database does not give, too.)
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    answer = SUPERVISOR_COMMS.send(message)
    if isinstance(answer, kind):
        return answer
    if not isinstance(answer, ErrorResponse):
        answer = ErrorResponse(detail={"message": f"no {kind.__name__}, but {type(answer).__name__}"})
    if answer.error in (ErrorType.VARIABLE_NOT_FOUND, ErrorType.CONNECTION_NOT_FOUND):
        return None
    raise AirflowRuntimeError(answer)
