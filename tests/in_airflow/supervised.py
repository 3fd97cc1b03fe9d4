"""This process as a task of Airflow sees itself: what it asks goes to Airflow's own execution API, in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import request_handlers, supervisor
from airflow.sdk.execution_time.comms import ErrorResponse
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

HANDLERS: dict[str, Callable[..., Any]] = {
    "GetVariable": request_handlers.handle_get_variable,
    "GetVariableKeys": request_handlers.handle_get_variable_keys,
    "PutVariable": request_handlers.handle_put_variable,
    "DeleteVariable": request_handlers.handle_delete_variable,
    "GetConnection": request_handlers.handle_get_connection,
}


class Supervisor:
    """What stands at the other end of a task's `SUPERVISOR_COMMS`."""

    def __init__(self) -> None:
        self._client = supervisor.InProcessTestSupervisor._api_client()  # type: ignore[no-untyped-call]
        self._answers = True

    def send(self, message: Any) -> Any:
        name = type(message).__name__
        if name == "MaskSecret":
            return None
        if not self._answers:  # as a supervisor says it (`handle_requests`), and the task's end of the line raises it
            raise AirflowRuntimeError(
                ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"message": "Connection refused"})
            )
        with supervisor.set_supervisor_comms(None):
            return HANDLERS[name](self._client, message)[0]

    @contextmanager
    def without_api_server(self) -> Iterator[None]:
        self._answers = False
        try:
            yield
        finally:
            self._answers = True

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """The api-server answers, and cannot ask its own database."""
        error = OperationalError("SELECT", {}, Exception("the connection is closed"))
        with patch.object(Session, "scalar", side_effect=error), patch.object(Session, "scalars", side_effect=error):
            yield


@contextmanager
def supervised() -> Iterator[Supervisor]:
    """Of what is done within, that is a task's."""
    stands_in = Supervisor()
    with supervisor.set_supervisor_comms(stands_in):
        yield stands_in
