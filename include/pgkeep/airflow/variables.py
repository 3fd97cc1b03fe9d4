"""Records kept as Airflow Variables, seen from whatever process runs. Nothing in them is a secret.

Tasks, the callbacks of DAGs (in the dag-processor) and those of deadlines (in the triggerer) all reach them, and they
survive all of these. In `dag.test` callbacks run outside of any of them: then the metadata database is asked directly.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from pgkeep import records

log = logging.getLogger(__name__)

R = TypeVar("R")


class Store(Protocol):
    """Texts by key."""

    def get(self, key: str) -> str | None: ...
    def set(self, key: str, text: str, description: str) -> None: ...
    def delete(self, key: str) -> None: ...
    def keys(self, prefix: str) -> Sequence[str]: ...


def store() -> Store:
    """Where Variables are, seen from this process."""
    from airflow.sdk.execution_time import task_runner

    if hasattr(task_runner, "SUPERVISOR_COMMS"):
        return _Variables()
    from pgkeep.airflow.metadata_database import MetadataDatabase

    return MetadataDatabase()


class _Variables:
    """As tasks and callbacks reach them."""

    def get(self, key: str) -> str | None:
        from airflow.sdk import Variable

        found: str | None = Variable.get(key, default=None)
        return found

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
    """The record under that key, or None. Raises what Airflow raises; Corrupted, ValueError: it is no such record."""
    text = store().get(key)
    return None if text is None else records.decode(cls, json.loads(text))


def write(key: str, record: object, about: str) -> None:
    """`about`: what it is, for who finds it in Airflow's UI. Raises whatever Airflow raises."""
    store().set(key, json.dumps(records.encode(record), indent=1), about)


def remove(key: str) -> None:
    """If it is there. Raises whatever Airflow raises."""
    if store().get(key) is not None:
        store().delete(key)


def quietly(ask: Callable[[], R], what: str) -> R | None:
    """What `ask` returns. What goes wrong is said in the log, and fails nothing: then None."""
    try:
        return ask()
    except Exception as error:
        log.warning("Airflow does not remember %s: %s: %s", what, type(error).__name__, error)
        return None
