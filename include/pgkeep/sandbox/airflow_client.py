"""The sandbox's Airflow as a user of its REST API sees it."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from pgkeep.errors import Unavailable

NOT_FOUND, CONFLICT = 404, 409
LINGERS = 8.0
"""Seconds; the executor hears of the end of a process up to 5 s late."""
FINAL = ("success", "failed", "upstream_failed", "skipped", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one DAG. `end`: of its data interval; runs by hand have none."""

    dag: str
    id: str
    end: datetime | None = None


class Airflow:
    """Logs in with what `pgkeep sandbox env` says; `second`: as the second user. Raises Unavailable."""

    def __init__(self, environ: Mapping[str, str], *, second: bool = False) -> None:
        who = "PGKEEP_UI_SECOND" if second else "PGKEEP_UI"
        self._url = environ["PGKEEP_UI_URL"].rstrip("/")
        self._user = environ[f"{who}_USER"]
        self._password_file = Path(environ[f"{who}_PASSWORD_FILE"])
        self._session = requests.Session()
        self._session.trust_env = False

    def trigger(self, dag: str, *, patience: float, params: Mapping[str, Any] | None = None) -> Run:
        """Starts a run, as soon as Airflow has read the DAG; one run, however often the request has to be repeated.

        `params`: what its form would ask. Raises Unavailable, with Airflow's words if it refuses them.
        """
        asked = {"logical_date": None, "conf": dict(params or {})}
        run, deadline = Run(dag=dag, id=f"manual__{uuid.uuid4()}"), time.monotonic() + patience
        said = "no answer"
        while time.monotonic() < deadline:
            with contextlib.suppress(Unavailable):
                answer = self._call("POST", f"/dags/{dag}/dagRuns", json=asked | {"dag_run_id": run.id})
                if answer.ok or answer.status_code == CONFLICT:  # ours: an earlier answer was lost
                    return run
                said = answer.text[:300]
                if answer.status_code != NOT_FOUND:
                    break
            time.sleep(0.5)
        raise Unavailable(f"Airflow does not start {dag}: {said}", next_step="see its logs")

    def first_run(self, dag: str, *, patience: float) -> Run:
        """The first run of a new DAG: the scheduler starts it by itself, as soon as it has read the file."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            answer = self._call("GET", f"/dags/{dag}/dagRuns?order_by=id&limit=1")
            if answer.ok and answer.json()["dag_runs"]:
                return Run(dag=dag, id=str(answer.json()["dag_runs"][0]["dag_run_id"]))
            time.sleep(0.5)
        raise Unavailable(f"Airflow has not started {dag} within {patience:.0f} s", next_step="see its logs")

    def pause(self, dag: str, *, paused: bool) -> None:
        """Stops the scheduler from starting runs and tasks of that DAG, or lets it go on. Raises Unavailable."""
        self._done("PATCH", f"/dags/{dag}", json={"is_paused": paused})

    def backfill(self, dag: str, begin: datetime, end: datetime) -> None:
        """Asks for runs of the missing windows that begin between `begin` and `end`, both included.

        Raises Unavailable.
        """
        asked = {"dag_id": dag, "from_date": begin.isoformat(), "to_date": end.isoformat(), "max_active_runs": 10}
        self._done("POST", "/backfills", json=asked | {"reprocess_behavior": "none"})

    def runs(self, dag: str, *, run_type: str | None = None) -> list[Run]:
        """The runs of a DAG, oldest first. `run_type`: one of scheduled, manual, backfill. Raises Unavailable."""
        kind = f"&run_type={run_type}" if run_type else ""
        found = self.get(f"/dags/{dag}/dagRuns?order_by=run_after&limit=100{kind}")["dag_runs"]
        return [Run(dag=dag, id=str(run["dag_run_id"]), end=_moment(run["data_interval_end"])) for run in found]

    def wait_until_idle(self, dag: str, *, patience: float) -> None:
        """Returns when no task of that DAG runs; a paused DAG starts no other. Raises Unavailable."""
        deadline = time.monotonic() + patience
        active = f"/dags/{dag}/dagRuns/~/taskInstances?state=running&state=queued&limit=1"
        while self.get(active)["total_entries"]:
            if time.monotonic() > deadline:
                raise Unavailable(f"tasks of {dag} still run after {patience:.0f} s", next_step="see their logs")
            time.sleep(0.3)

    def question(self, run: Run, task: str, *, patience: float) -> Mapping[str, Any]:
        """What a run asks a person, once it does and nobody has answered. Raises Unavailable.

        Not at once: Airflow's LocalExecutor loses an answer that comes while it still counts the process that asked.
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            found = self.get(f"/dags/{run.dag}/dagRuns/{run.id}/hitlDetails?response_received=false")["hitl_details"]
            if found and self.tasks(run)[task]["state"] == "awaiting_input":
                time.sleep(LINGERS)
                return dict(found[0])
            if self.get(f"/dags/{run.dag}/dagRuns/{run.id}")["state"] in ("success", "failed"):
                break
            time.sleep(0.3)
        raise Unavailable(f"{run.dag} does not ask anybody", next_step=f"look at it: {self._url}")

    def answer(self, run: Run, task: str, option: str) -> None:
        """As the button in Airflow's page. Raises Unavailable, with Airflow's words if this user may not."""
        path = f"/dags/{run.dag}/dagRuns/{run.id}/taskInstances/{task}/-1/hitlDetails"
        self._done("PATCH", path, json={"chosen_options": [option], "params_input": {}})

    def clear(self, run: Run, task: str) -> None:
        """Has a task, and what follows it, run again. Raises Unavailable."""
        asked = {"dry_run": False, "dag_run_id": run.id, "task_ids": [task], "include_downstream": True}
        self._done("POST", f"/dags/{run.dag}/clearTaskInstances", json=asked | {"only_failed": False})

    def said(self, run: Run, task: str) -> list[str]:
        """The lines of a task's log, of its last try. Raises Unavailable."""
        tried = self.tasks(run)[task]["try_number"]
        found = self.get(f"/dags/{run.dag}/dagRuns/{run.id}/taskInstances/{task}/logs/{tried}")
        return [str(line["event"]) for line in found["content"] if isinstance(line, dict)]

    def follow(self, run: Run, *, patience: float) -> Iterator[tuple[str, str, float]]:
        """Task, final state and seconds of each task as it ends. Raises Unavailable unless all ends in success."""
        seen, deadline = set[str](), time.monotonic() + patience
        while True:
            state = self.get(f"/dags/{run.dag}/dagRuns/{run.id}")["state"]
            for task in self.get(f"/dags/{run.dag}/dagRuns/{run.id}/taskInstances")["task_instances"]:
                if task["state"] in FINAL and task["task_id"] not in seen:
                    seen.add(task["task_id"])
                    yield task["task_id"], task["state"], float(task["duration"] or 0)
            if state in ("success", "failed") or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        if state != "success" or not seen:
            raise Unavailable(f"the run of {run.dag} ended as {state}", next_step=f"look at it: {self._url}")

    def tasks(self, run: Run) -> Mapping[str, Mapping[str, Any]]:
        """All task instances of a run, by task."""
        found = self.get(f"/dags/{run.dag}/dagRuns/{run.id}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def connect(self, connection: Mapping[str, Any]) -> None:
        """Adds a connection, as the REST API describes one; `extra` may be an object. Raises Unavailable."""
        self._done("POST", "/connections", json={**connection, "extra": json.dumps(connection.get("extra", {}))})

    def get(self, path: str) -> Any:
        """What the REST API answers there. Raises Unavailable."""
        return self._done("GET", path)

    def _done(self, method: str, path: str, **data: Any) -> Any:
        answer = self._call(method, path, **data)
        if not answer.ok:
            said = f"{answer.status_code} to {method} {path}: {answer.text[:300]}"
            raise Unavailable(f"Airflow answers {said}", next_step="see its logs")
        return answer.json()

    def _call(self, method: str, path: str, **data: Any) -> requests.Response:
        try:
            if "Authorization" not in self._session.headers:
                self._session.headers["Authorization"] = f"Bearer {self.token()}"
            return self._session.request(method, f"{self._url}/api/v2{path}", timeout=30, **data)
        except requests.RequestException as error:
            raise Unavailable(f"Airflow at {self._url} does not answer", next_step="pgkeep sandbox up") from error

    def token(self) -> str:
        """A bearer token of the login."""
        login = {"username": self._user, "password": self._password_file.read_text(encoding="utf-8").strip()}
        answer = self._session.post(f"{self._url}/auth/token", json=login, timeout=30)
        if not answer.ok:
            raise Unavailable(f"Airflow refuses the login of {self._user}", next_step="pgkeep sandbox env")
        return str(answer.json()["access_token"])


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
