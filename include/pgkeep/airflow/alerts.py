"""What is said when a run fails, hangs, or is well again: a line in the log; and a letter, where [alerts] says to whom.

All DAGs have these callbacks. Loaded by the dag-processor, so nothing of weight is imported before there is something
to tell. Nothing that goes wrong here fails anything else: what could not be told waits for the next occasion, of any
DAG.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from pgkeep.airflow.turns import alone
from pgkeep.errors import PgkeepError
from pgkeep.model import now
from pgkeep.settings import VARIABLE, Alerts, Settings, load

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pgkeep.airflow.incidents import Incident, Letter

log = logging.getLogger(__name__)

FAILED, HANGS = "failed", "hangs"
"""Topics, of those who have no closer ones."""
MAKING = ("changes", "full")
"""The stories whose failure is that of a backup."""
OVER = ("success", "failed")
"""States of runs that have ended."""
BY_HAND = ("restore",)
"""The stories whose runs have nothing to do with each other."""
CHANGING, SENDING = "alerts-changing", "alerts-sending"
"""Apart, so that a silent mail server keeps nobody from noting what there is to tell: callbacks have a time limit."""
Change = Callable[["Incident", Settings], "Incident"]


def run_failed(context: "Context") -> None:
    """The DAG's `on_failure_callback`: also called when a task was killed on its last try."""
    ti = context.get("ti")
    dag_id, run_id = _ids(context)
    story = _story(dag_id)
    log.error(
        "%s FAILED: run %s of %s%s (%s). Next: read that task's log in the Airflow UI, do what its last error "
        "says, then clear the task: it goes on from there.",
        "BACKUP" if story in MAKING else story.upper(),
        run_id,
        dag_id,
        f" in task {ti.task_id}" if ti else "",
        context.get("reason") or "no reason given",
    )

    def change(incident: "Incident", settings: Settings) -> "Incident":
        from pgkeep.airflow import incident_memory, incidents, letters

        task, attempt = (ti.task_id, ti.try_number) if ti else (None, None)
        words = incident_memory.said(dag_id).of(run=run_id, task=task, attempt=attempt)
        link, alone = ti.log_url if ti else None, story in BY_HAND

        def write() -> letters.Written:
            return letters.failure(settings, dag_id, run_id, task=task, words=words, link=link, alone=alone)

        ways = settings.alerts.ways
        if alone:
            return incidents.by_hand(incident, ways=ways, write=write)
        return incidents.wrong(incident, words.topics if words else (FAILED,), ways=ways, now=now(), write=write)

    tell(dag_id, change)


def run_succeeded(context: "Context") -> None:
    """The DAG's `on_success_callback`: what was wrong is over, and what could not be told is told now."""
    dag_id, run_id = _ids(context)

    def change(incident: "Incident", settings: Settings) -> "Incident":
        from pgkeep.airflow import incident_memory, incidents, letters

        incident_memory.forget_words(dag_id, run=run_id)
        return incidents.over(
            incident, ways=settings.alerts.ways, write=lambda: letters.recovery(settings, incident, run_id)
        )

    tell(dag_id, change)


async def run_hangs(context: Mapping[str, Any]) -> None:
    """Of a DAG's deadline, in the triggerer: a run has not ended in time.

    Airflow keeps the deadline of a run that has failed. Deadlines count from when a run was queued, and the runs of a
    backfill are queued at once, to wait for one another.
    """
    run = context["dag_run"]
    dag_id, run_id = str(run["dag_id"]), str(run["dag_run_id"])
    if run.get("state") in OVER:
        return
    if run.get("run_type") == "backfill" and not run.get("start_date"):
        log.info("run %s of %s still waits for other runs of its backfill", run_id, dag_id)
        return
    log.error("run %s of %s HANGS. Next: look in the Airflow UI what it waits for.", run_id, dag_id)

    def change(incident: "Incident", settings: Settings) -> "Incident":
        from pgkeep.airflow import incidents, letters

        def write() -> letters.Written:
            return letters.hanging(settings, dag_id, run_id)

        if _story(dag_id) in BY_HAND:
            return incidents.by_hand(incident, ways=settings.alerts.ways, write=write)
        return incidents.late(incident, HANGS, ways=settings.alerts.ways, now=now(), write=write)

    await asyncio.to_thread(tell, dag_id, change)


def restore_waits(dag_id: str, run_id: str, question: str) -> None:
    """Of a restore, in its task: it waits for somebody's answer. What waits of other DAGs is left to the callbacks."""

    def change(incident: "Incident", settings: Settings) -> "Incident":
        from pgkeep.airflow import incidents, letters

        ways = settings.alerts.ways
        return incidents.by_hand(
            incident, ways=ways, write=lambda: letters.asking(settings, dag_id, run_id, question=question)
        )

    tell(dag_id, change, others=False)


def tell(dag_id: str, change: Change, *, others: bool = True) -> None:
    """Changes what is known of that DAG, then sends all letters that wait; `others`: those of other DAGs, too.

    Without [alerts], does nothing.
    """
    try:
        settings = load(os.environ.get(VARIABLE))
    except PgkeepError as error:
        log.warning("nobody is told: %s", error)
        return
    if not settings.alerts.ways:
        return
    with alone(CHANGING):
        homeless = _keep_change(dag_id, change, settings)
    _send_now(homeless, settings.alerts)
    with alone(SENDING, wait=False) as we_are:
        if we_are:
            send_all(settings.alerts, of=None if others else dag_id)


def _keep_change(dag_id: str, change: Change, settings: Settings) -> tuple["Letter", ...]:
    """Letters that nobody remembers, for what people know of that DAG cannot be read, and is not written over; or
    cannot be written.
    """
    from pgkeep.airflow import incident_memory, incidents

    try:
        before = incident_memory.recall(dag_id)
    except PgkeepError as error:
        log.warning("what people know of %s is not known here, so they may be told again: %s", dag_id, error)
        return change(incidents.nothing(dag_id), settings).outbox
    after = change(before, settings)
    if after == before or incident_memory.keep(after):  # before anything is sent: whatever happens now, it is not lost
        return ()
    return tuple(letter for letter in after.outbox if letter not in before.outbox)


def _send_now(letters: Iterable["Letter"], alerts: Alerts) -> None:
    """Once: no later occasion knows of them."""
    from pgkeep.airflow import delivery

    for letter in letters:
        delivery.send(letter, alerts, but=())


def send_all(alerts: Alerts, *, of: str | None = None) -> None:
    """Sends what waits, also what comes meanwhile; `of`: of that DAG alone.

    A way that fails is left alone until the next occasion: a silent server takes half a minute.
    """
    from pgkeep.airflow import delivery, incident_memory

    failed = set[str]()
    tried: set[Letter] = set()
    while found := next(_waiting(failed, tried, of=of), None):
        dag, letter = found
        tried.add(letter)
        taken = delivery.send(letter, alerts, but=failed)
        failed |= {*letter.ways} - taken
        with alone(CHANGING):
            incident_memory.delivered(dag, letter, taken)


def _waiting(failed: Set[str], tried: Set["Letter"], *, of: str | None) -> Iterator[tuple[str, "Letter"]]:
    """Letters that can be tried, with their DAGs."""
    from pgkeep.airflow import incident_memory

    for incident in incident_memory.recall_all(of):
        for letter in incident.outbox:
            if letter not in tried and not {*letter.ways} <= failed:
                yield incident.dag, letter


def _story(dag_id: str) -> str:
    """What the DAG is for."""
    return dag_id.rpartition("_")[2]


def _ids(context: "Context") -> tuple[str, str]:
    """Of the DAG and the run. A callback may know no more than these."""
    run, dag = context.get("dag_run"), context.get("dag")
    if run:
        return run.dag_id, run.run_id
    return dag.dag_id if dag else "a DAG of pgkeep", context.get("run_id") or "unknown"
