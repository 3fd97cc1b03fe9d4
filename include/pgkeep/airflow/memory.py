"""What Airflow remembers for us, as Airflow Variables: incidents, and how far each journal had come.

Tasks, the callbacks of DAGs (in the dag-processor) and those of deadlines (in the triggerer) all reach them, and they
survive all of these. In `dag.test` callbacks run outside of any of them: then the metadata database is asked directly.
Nothing here is a secret. What cannot be remembered is said in a log, and fails nothing; but who asks how far a journal
had come is told when that cannot be read: none is not the same.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pgkeep import records
from pgkeep.airflow.incidents import Incident, LastWords, Said, nothing
from pgkeep.errors import Unavailable
from pgkeep.freshness import Recollection, Seen, later

log = logging.getLogger(__name__)

INCIDENT, SAID, SEEN = "pgkeep_incident__", "pgkeep_said__", "pgkeep_seen__"
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
    from pgkeep.airflow.memory_database import MetadataDatabase

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


# --- incidents ---------------------------------------------------------------------------------------------------


def incident(dag: str) -> Incident:
    """What is known to be wrong with that DAG."""
    found = _quietly(lambda: _read(Incident, f"{INCIDENT}{dag}"), f"what was told of {dag}")
    return found or nothing(dag)


def incidents() -> Iterator[Incident]:
    """All of which something is known."""
    keys = _quietly(lambda: store().keys(INCIDENT), "what was told") or ()
    yield from (incident(key.removeprefix(INCIDENT)) for key in keys)


def keep_incident(found: Incident) -> None:
    """Remembers it; nothing is kept of a DAG with which all is well."""
    key = f"{INCIDENT}{found.dag}"
    if found.forgettable:
        _quietly(lambda: _remove(key), f"that {found.dag} is well")
    else:
        about = "What pgkeep has told people of this DAG. Remove it, and it tells them anew."
        _quietly(lambda: store().set(key, _text(found), about), f"what is told of {found.dag}")


def keep_words(dag: str, words: LastWords) -> None:
    """Remembers why a try has failed, for the callback that tells people. Apart from the letters: what two tasks
    say at once may lose words, but no letter.
    """
    _keep_said(dag, said(dag).and_then(words))


def said(dag: str) -> Said:
    """Why its tries have failed last."""
    return _quietly(lambda: _read(Said, f"{SAID}{dag}"), f"why {dag} fails") or Said()


def forget_words(dag: str, *, run: str) -> None:
    """That run has ended well."""
    left = said(dag).without(run)
    if left.words:
        _keep_said(dag, left)
    else:
        _quietly(lambda: _remove(f"{SAID}{dag}"), f"that {dag} is well")


def _keep_said(dag: str, found: Said) -> None:
    about = "Why tries of this DAG's tasks have failed last. Goes by itself when those runs end well."
    _quietly(lambda: store().set(f"{SAID}{dag}", _text(found), about), f"why {dag} fails")


# --- journals ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JournalMemory:
    """A `freshness.Memory` in a Variable, and what else is known of the journal of that database (by its slug)."""

    slug: str
    further: tuple[Recollection, ...] = ()

    @property
    def key(self) -> str:
        return f"{SEEN}{self.slug}"

    def seen(self) -> Seen | None:
        """The highest version that was seen, or None."""
        return _quietly(lambda: _read(Seen, self.key), f"the journal of {self.slug}")

    def recall(self) -> Sequence[Recollection]:
        """Raises Unavailable: what is remembered cannot be read."""
        where = f"Airflow's Variable {self.key}"
        try:
            seen = _read(Seen, self.key)
        except Exception as error:
            raise Unavailable(
                f"{where} cannot be read ({type(error).__name__}), so an older journal would not be noticed",
                next_step="see that Airflow's database answers; if the Variable was changed by hand, remove it",
            ) from error
        if seen is None:
            return self.further
        return (Recollection(seen=seen, where=where, forget=f"remove {where}"), *self.further)

    def keep(self, seen: Seen) -> None:
        about = "How far pgkeep has seen this journal. An older one is refused; remove this to accept one."
        found = later(self.seen(), seen)
        _quietly(lambda: store().set(self.key, _text(found), about), f"the journal of {self.slug}")


# --- the edge ----------------------------------------------------------------------------------------------------


def _read(cls: type[R], key: str) -> R | None:
    text = store().get(key)
    return None if text is None else records.decode(cls, json.loads(text))


def _remove(key: str) -> None:
    if store().get(key) is not None:
        store().delete(key)


def _text(record: object) -> str:
    return json.dumps(records.encode(record), indent=1)


def _quietly(ask: Callable[[], R], what: str) -> R | None:
    try:
        return ask()
    except Exception as error:
        log.warning("Airflow does not remember %s: %s: %s", what, type(error).__name__, error)
        return None
