"""Records kept as Airflow Variables, seen from whatever process runs. Nothing in them is a secret.

Tasks, the callbacks of DAGs (in the dag-processor) and those of deadlines (in the triggerer) all reach them, and they
survive all of these. In `dag.test` callbacks run outside of any of them: then the metadata database is asked directly.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from pgkeep import records
from pgkeep.airflow import supervisor
from pgkeep.errors import Unavailable

log = logging.getLogger(__name__)

R = TypeVar("R")


class Store(Protocol):
    """Texts by key. None: it is not there. What goes wrong is raised, as Airflow raises it."""

    def get(self, key: str) -> str | None: ...
    def set(self, key: str, text: str, description: str) -> None: ...
    def delete(self, key: str) -> None: ...
    def keys(self, prefix: str) -> Sequence[str]: ...


def store() -> Store:
    """Where Variables are, seen from this process."""
    if supervisor.is_there():
        return _Variables()
    from pgkeep.airflow.metadata_database import MetadataDatabase

    return MetadataDatabase()


class _Variables:
    """As tasks and callbacks reach them. They are read where they are written: from no other secrets backend of a
    worker, and no cache.
    """

    def get(self, key: str) -> str | None:
        from airflow.sdk.execution_time.comms import GetVariable, VariableResult

        found = supervisor.ask(GetVariable(key=key), VariableResult)
        if found is not None and found.value is not None:
            return str(found.value)
        if key in self.keys(key):  # asked of the database itself
            raise LookupError("it is there, but Airflow does not give it")
        return None

    def set(self, key: str, text: str, description: str) -> None:
        from airflow.sdk import Variable

        Variable.set(key, text, description=description)

    def delete(self, key: str) -> None:
        from airflow.sdk import Variable

        Variable.delete(key)

    def keys(self, prefix: str) -> Sequence[str]:
        from airflow.sdk import Variable

        return list(Variable.keys(prefix))


def read(cls: type[R], key: str) -> R | None:
    """The record under that key, or None. Raises Unavailable: it cannot be read; Corrupted: it is no such record."""
    try:
        text = store().get(key)
    except Exception as error:
        raise Unavailable(
            f"Airflow's Variable {key} cannot be read ({type(error).__name__})",
            next_step="see that Airflow's api-server and its database answer",
        ) from error
    return None if text is None else records.from_bytes(cls, text.encode())


def write(key: str, record: object, about: str) -> None:
    """`about`: what it is, for who finds it in Airflow's UI. Raises whatever Airflow raises."""
    store().set(key, json.dumps(records.encode(record), indent=1), about)


def remove(key: str) -> None:
    """If it is there. Raises whatever Airflow raises."""
    if store().get(key) is not None:
        store().delete(key)


def quietly(ask: Callable[[], R], what: str) -> R | None:
    """What `ask` returns. What goes wrong is said in the log, and fails nothing: then None, after which nothing may be
    written that was to be read here.
    """
    try:
        return ask()
    except Exception as error:
        log.warning("Airflow does not remember %s: %s: %s", what, type(error).__name__, error)
        return None
