"""What Airflow remembers for us of incidents: what people were told, and what tries that have failed have said.

What cannot be remembered is said in a log, and fails nothing.
"""

from collections.abc import Iterator

from pgkeep.airflow import variables
from pgkeep.airflow.incidents import Incident, LastWords, Said, nothing
from pgkeep.airflow.variables import quietly

INCIDENT, SAID = "pgkeep_incident__", "pgkeep_said__"


def recall(dag: str) -> Incident:
    """What is known to be wrong with that DAG."""
    found = quietly(lambda: variables.read(Incident, f"{INCIDENT}{dag}"), f"what was told of {dag}")
    return found or nothing(dag)


def recall_all() -> Iterator[Incident]:
    """All of which something is known."""
    keys = quietly(lambda: variables.store().keys(INCIDENT), "what was told") or ()
    yield from (recall(key.removeprefix(INCIDENT)) for key in keys)


def keep(found: Incident) -> None:
    """Remembers it; nothing is kept of a DAG with which all is well."""
    key = f"{INCIDENT}{found.dag}"
    if found.forgettable:
        quietly(lambda: variables.remove(key), f"that {found.dag} is well")
    else:
        about = "What pgkeep has told people of this DAG. Remove it, and it tells them anew."
        quietly(lambda: variables.write(key, found, about), f"what is told of {found.dag}")


def keep_words(dag: str, words: LastWords) -> None:
    """Remembers why a try has failed, for the callback that tells people. Apart from the letters: what two tasks
    say at once may lose words, but no letter.
    """
    _keep_said(dag, said(dag).and_then(words))


def said(dag: str) -> Said:
    """Why its tries have failed last."""
    return quietly(lambda: variables.read(Said, f"{SAID}{dag}"), f"why {dag} fails") or Said()


def forget_words(dag: str, *, run: str) -> None:
    """That run has ended well."""
    left = said(dag).without(run)
    if left.words:
        _keep_said(dag, left)
    else:
        quietly(lambda: variables.remove(f"{SAID}{dag}"), f"that {dag} is well")


def _keep_said(dag: str, found: Said) -> None:
    about = "Why tries of this DAG's tasks have failed last. Goes by itself when those runs end well."
    quietly(lambda: variables.write(f"{SAID}{dag}", found, about), f"why {dag} fails")
