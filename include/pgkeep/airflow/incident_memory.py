"""What Airflow remembers for us of incidents: what people were told, and what tries that have failed have said.

What cannot be remembered is said in a log, and fails nothing. What cannot be read is not written over.
"""

import logging
from collections.abc import Collection, Iterator
from functools import partial
from typing import TypeVar

from pgkeep.airflow import incidents, variables
from pgkeep.airflow.incidents import Incident, LastWords, Letter, Said, nothing
from pgkeep.airflow.variables import quietly
from pgkeep.errors import Corrupted

INCIDENT, SAID = "pgkeep_incident__", "pgkeep_said__"

log = logging.getLogger(__name__)

R = TypeVar("R")


def recall(dag: str) -> Incident:
    """What is known to be wrong with that DAG. Raises Unavailable: it cannot be read, which is not nothing."""
    return _read(Incident, f"{INCIDENT}{dag}") or nothing(dag)


def recall_all(of: str | None = None) -> Iterator[Incident]:
    """All of which something is known, or that DAG's; but for what cannot be read."""
    keys = [f"{INCIDENT}{of}"] if of else quietly(lambda: variables.store().keys(INCIDENT), "what was told") or ()
    for dag in (key.removeprefix(INCIDENT) for key in keys):
        found = quietly(partial(recall, dag), f"what was told of {dag}")
        if found:
            yield found


def keep(found: Incident) -> bool:
    """Remembers it, and says whether it could; nothing is kept of a DAG with which all is well."""
    return quietly(partial(_keep, found), f"what is told of {found.dag}") is not None


def _keep(found: Incident) -> Incident:
    key = f"{INCIDENT}{found.dag}"
    if found.forgettable:
        variables.remove(key)
    else:
        about = "What pgkeep has told people of this DAG. Remove it, and it tells them anew."
        variables.write(key, found, about)
    return found


def delivered(dag: str, letter: Letter, ways: Collection[str]) -> None:
    """It has gone over these ways. (Where that cannot be remembered, it goes again.)"""
    quietly(lambda: keep(incidents.delivered(recall(dag), letter, ways)), f"that {letter.subject!r} is told")


def keep_words(dag: str, words: LastWords) -> None:
    """Remembers why a try has failed, for the callback that tells people. Apart from the letters: what two tasks
    say at once may lose words, but no letter.
    """
    quietly(lambda: _keep_said(dag, _said(dag).and_then(words)), f"why {dag} fails")


def said(dag: str) -> Said:
    """Why its tries have failed last, for a letter: nothing, if it cannot be read."""
    return quietly(lambda: _said(dag), f"why {dag} fails") or Said()


def forget_words(dag: str, *, run: str) -> None:
    """That run has ended well."""
    quietly(lambda: _keep_said(dag, _said(dag).without(run)), f"that {dag} is well")


def _said(dag: str) -> Said:
    return _read(Said, f"{SAID}{dag}") or Said()


def _keep_said(dag: str, found: Said) -> None:
    if found.words:
        about = "Why tries of this DAG's tasks have failed last. Goes by itself when those runs end well."
        variables.write(f"{SAID}{dag}", found, about)
    else:
        variables.remove(f"{SAID}{dag}")


def _read(cls: type[R], key: str) -> R | None:
    """Raises Unavailable. What is no record serves nobody any more: it may be written over."""
    try:
        return variables.read(cls, key)
    except Corrupted as error:
        log.warning("Airflow's Variable %s is begun anew: %s", key, error.what)
        return None
