"""The letters: what has happened, what can still be restored, what to do, and where to look. No secrets, no data."""

from collections.abc import Sequence
from urllib.parse import quote

from airflow.sdk import conf

from pgkeep.airflow.incidents import Incident, LastWords
from pgkeep.airflow.journal_memory import JournalMemory
from pgkeep.airflow.variables import quietly
from pgkeep.journal import Journal
from pgkeep.settings import Database, Settings

Written = tuple[str, str]
"""Subject and text."""


def failure(
    settings: Settings,
    dag_id: str,
    run_id: str,
    *,
    task: str | None,
    words: LastWords | None,
    link: str | None,
    alone: bool = False,
) -> Written:
    """A run has failed. `words`: of the task, if it has left any. `alone`: it was begun by hand, and by itself."""
    why = words.what if words else "it left no word, so it may have been killed. Next: read its log"
    return f"pgkeep: {dag_id} FAILED", _text(
        f"Run {run_id} of {dag_id} failed" + (f" in task {task}." if task else "."),
        f"Why: {why}",
        _restorable(settings, dag_id),
        "When that is mended, clear the task: it goes on from there."
        + (" Where the wish itself was wrong, trigger a new run." if alone else ""),
        link or _run_link(dag_id, run_id),
        ""
        if alone
        else "You are not told of further failed runs of this DAG before one ends well, unless the watch "
        "finds something else.",
    )


def hanging(settings: Settings, dag_id: str, run_id: str) -> Written:
    """A run has not ended in time."""
    return f"pgkeep: {dag_id} HANGS", _text(
        f"Run {run_id} of {dag_id} has not ended in time.",
        _restorable(settings, dag_id),
        "Next: look what it waits for; a task that does nothing any more can be cleared.",
        _run_link(dag_id, run_id),
    )


def asking(settings: Settings, dag_id: str, run_id: str, *, question: str) -> Written:
    """A restore waits for a person."""
    database = of_dag(dag_id, list(settings.databases.values()))
    hours = f" within {database.approval_hours:g} hours" if database else ""
    return f"pgkeep: {dag_id} waits for an answer", _text(
        question,
        f"Run {run_id} of {dag_id} waits until somebody approves or rejects it. Unanswered{hours}, it ends, and "
        "nothing has happened. If none of you has asked for this restore, reject it, and find out who has.",
        _run_link(dag_id, run_id),
    )


def recovery(settings: Settings, incident: Incident, run_id: str) -> Written:
    """It is over."""
    return f"pgkeep: {incident.dag} is well again", _text(
        f"Run {run_id} of {incident.dag} has ended well. Something was wrong since {incident.since}.",
        _restorable(settings, incident.dag),
        _run_link(incident.dag, run_id),
    )


def journal(database: Database, known: Journal) -> Written:
    """The journal itself, after a full backup."""
    full = next((str(entry.sequence) for entry in reversed(known.entries) if entry.backup.kind == "full"), "none")
    return f"pgkeep: journal of {database.name}, version {known.sequence}", _text(
        f"Attached is version {known.sequence} of the journal of {database.name}, which names all its "
        f"{len(known.entries)} entries (the last full backup: {full}), encrypted and signed, as the peers hold it.",
        "Keep this mail. When everything else is lost, it, a recipient's private key and one living peer bring the "
        "database back (docs/disaster.md). When a version that you have in a mail is higher than that of "
        f"pgkeep list {database.name}, somebody has put an older journal in its place.",
    )


def _text(*paragraphs: str) -> str:
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _restorable(settings: Settings, dag_id: str) -> str:
    """As it was last seen: the journal itself is not read here, for this process may have neither keys nor peers."""
    database = of_dag(dag_id, list(settings.databases.values()))
    seen = quietly(JournalMemory(database.slug).seen, f"the journal of {database.name}") if database else None
    if database is None or seen is None:
        name = database.name if database else "NAME"
        return f"What can be restored is not known here: pgkeep list {name} shows it."
    if seen.moment is None:
        return f"NOTHING of {database.name} can be restored, by version {seen.sequence} of its journal."
    return (
        f"{database.name} can be restored as it was at {seen.moment}: entry {seen.entry}, as of version "
        f"{seen.sequence} of its journal, the newest that was seen."
    )


def of_dag(dag_id: str, databases: Sequence[Database]) -> Database | None:
    """The database that `pgkeep_<slug>_<story>` keeps."""
    slug = dag_id.removeprefix("pgkeep_").rpartition("_")[0]
    return next((found for found in databases if found.slug == slug), None)


def _run_link(dag_id: str, run_id: str) -> str:
    base: str = conf.get("api", "base_url", fallback="http://localhost:8080/")
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{quote(run_id)}"
