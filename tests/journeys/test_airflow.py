"""A live Airflow: scheduler, triggerer, dag-processor and api-server as their users run them."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from fix_node import Node, wait_for
from pgkeep import sandbox as servers
from pgkeep.sandbox.airflow_client import Airflow
from pgkeep.sandbox.sample import create_sample

PATIENCE = 300.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sandbox of its own: peers and tasks are killed here."""
    home = tmp_path_factory.mktemp("with_airflow")
    servers.up(home, airflow=True, isolated=False, report=print)
    yield home
    servers.remove(home, report=print)


@pytest.fixture
def operator(home: Path) -> Node:
    servers.up(home, airflow=True, isolated=False, report=print)
    return Node(home=home, environ={**os.environ, **servers.environment(home)})


def new_database(operator: Node, *, size: int) -> str:
    name = f"kept_{os.urandom(3).hex()}"
    source = f"{operator.environ['PGKEEP_SOURCE_URL']}?passfile={operator.environ['PGPASSFILE']}"
    create_sample(source, dbname=name, size=size, seed=3, report=print)
    operator.pgkeep("init", name)
    return name


def test_a_new_database_is_backed_up_at_once_and_comes_back(operator: Node) -> None:
    name, airflow = new_database(operator, size=2_000_000), Airflow(operator.environ)
    run = airflow.first_run(f"pgkeep_{name}_full", patience=PATIENCE)
    states = {task: state for task, state, _ in airflow.follow(run, patience=PATIENCE)}
    assert states == dict.fromkeys(("dump_database", "check_encryption", "replicate", "record", "release"), "success")
    (entry,) = operator.entries(name)
    assert entry["copies_now"] == 3
    assert entry["backup"]["origin"]["by"] == f"airflow:{run.dag}/{run.id}/1"
    told = asset_events(airflow, f"pgkeep/{name}/full")
    assert [event["extra"]["entry"] for event in told] == [1]
    assert told[0]["extra"]["rows"] == entry["backup"]["totals"]["rows"]
    operator.pgkeep("restore", name, "--into", operator.target(name))
    assert operator.measure(name, server="SCRATCH") == operator.measure(name)


def test_a_missing_peer_is_waited_for_without_a_worker_and_without_a_new_dump(operator: Node) -> None:
    name, airflow = new_database(operator, size=2_000_000), Airflow(operator.environ)
    operator.kill("cluster-3")
    run = airflow.first_run(f"pgkeep_{name}_full", patience=PATIENCE)
    wait_for(lambda: state_of(airflow, run, "replicate") == "deferred", patience=PATIENCE)
    servers.up(operator.home, airflow=True, isolated=False, report=print)
    assert dict(finished(airflow, run))["record"] == "success"
    assert airflow.tasks(run)["dump_database"]["try_number"] == 1
    assert operator.entries(name)[0]["copies_now"] == 3


def test_a_task_killed_inside_its_dump_is_run_again(operator: Node) -> None:
    name, airflow = new_database(operator, size=150_000_000), Airflow(operator.environ)
    run = airflow.first_run(f"pgkeep_{name}_full", patience=PATIENCE)
    wait_for(lambda: dumping(name) is not None, patience=PATIENCE)
    task = dumping(name)
    assert task is not None
    task.send_signal(signal.SIGKILL)
    assert dict(finished(airflow, run))["release"] == "success"
    assert airflow.tasks(run)["dump_database"]["try_number"] == 2
    assert [entry["sequence"] for entry in operator.entries(name)] == [1], "one run is one entry"


def test_the_page_is_for_those_who_may_see_it(operator: Node) -> None:
    name = new_database(operator, size=1_000_000)
    operator.pgkeep("backup", name, "--full")
    url = operator.environ["PGKEEP_UI_URL"].rstrip("/") + "/pgkeep/"
    assert requests.get(url, timeout=30).status_code == 401
    airflow = Airflow(operator.environ)
    page = requests.get(url, headers={"Authorization": f"Bearer {airflow.token()}"}, timeout=30)
    assert page.status_code == 200
    assert name in page.text


def state_of(airflow: Airflow, run: Any, task: str) -> str | None:
    return str(airflow.tasks(run).get(task, {}).get("state"))


def finished(airflow: Airflow, run: Any) -> Iterator[tuple[str, str]]:
    for task, state, _ in airflow.follow(run, patience=PATIENCE):
        yield task, state


def asset_events(airflow: Airflow, name: str) -> list[Mapping[str, Any]]:
    events: list[Mapping[str, Any]] = airflow.get("/assets/events")["asset_events"]
    return [event for event in events if event["name"] == name]


def dumping(name: str) -> psutil.Process | None:
    """The process of the task that dumps that database: the parent of its pg_dump."""
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "pg_dump" and process.environ().get("PGDATABASE") == name:
                return process.parent()
        except psutil.Error:
            continue
    return None
