"""What somebody learns, and can do, who has an Airflow login, Airflow's database, its logs, or a peer's disk."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk.log import redact  # type: ignore[attr-defined]
from fastapi import FastAPI

from in_airflow.api import client
from in_airflow.dags import Keep, asset_events, connect, entries, handed_on, run, states
from in_airflow.home import HOME
from pgkeep.airflow.hooks import airflow_connection

ROW = "what-only-the-owner-of-this-row-may-read"
CHANGED = "what-only-the-owner-of-this-change-may-read"
RUNS = "/api/v2/dags/pgkeep_shop_{}/dagRuns"
STORIES = ("full", "changes", "drill", "audit", "retire", "restore")


@pytest.mark.parametrize("story", STORIES)
def test_a_viewer_starts_nothing(server: FastAPI, story: str) -> None:
    """Not even learns whether there is such a DAG: the right is asked for first."""
    runs = RUNS.format(story)
    task = f"{runs}/some/taskInstances/approve"
    tried = [
        ("POST", runs, {"logical_date": None, "conf": {}}),
        ("POST", f"{runs}/some/clear", {"dry_run": False}),
        ("PATCH", f"{task}/-1/hitlDetails", {"chosen_options": ["Approve"], "params_input": {}}),
        ("PATCH", f"{runs}/some", {"state": "success"}),
        ("PATCH", f"/api/v2/dags/pgkeep_shop_{story}", {"is_paused": True}),
    ]
    viewer = client(server, "vera")
    assert [viewer.request(method, path, json=body).status_code for method, path, body in tried] == [403] * len(tried)


def test_a_viewer_reads_no_connection(server: FastAPI) -> None:
    viewer = client(server, "vera")
    assert viewer.get("/api/v2/connections").status_code == 403
    form = {"connection_id": "x", "conn_type": "ipfs", "host": "127.0.0.1", "port": 1}
    assert viewer.post("/api/v2/connections/test", json=form).status_code == 403


def test_passwords_are_masked_in_logs(configure: Callable[..., Path]) -> None:
    configure("shop")
    password = airflow_connection("nobody_cluster").password
    assert password
    assert redact(f"the password is {password}") == "the password is ***"


def test_no_plaintext_is_anywhere_but_in_postgresql(
    keep: Keep, sandbox: Mapping[str, str], sandbox_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in what tasks hand on, nor in logs, in Airflow's home, or on the disk of a peer."""
    site = keep("secret", changes=True)
    with connect(sandbox, "secret") as connection:
        connection.execute("INSERT INTO document VALUES (1001, %s)", [ROW])
    said = told(run(site, "changes"))
    with connect(sandbox, "secret") as connection:
        connection.execute("UPDATE document SET text = %s WHERE i = 1001", [CHANGED])
    said += told(run(site, "changes"))
    assert [entry.backup.kind for entry in entries(site)] == ["gap", "full", "changes"]
    assert not [text for text in (caplog.text, *said) if ROW in text or CHANGED in text]
    files = [*on_disk(HOME), *on_disk(sandbox_home, but="postgres")]
    assert any(sandbox_home / "peers" in path.parents for path in files), "the peers' disks are among them"
    assert [path for path in files if holds(path)] == []


def told(ended: DagRun) -> list[str]:
    """All that the run has handed on, to its own tasks and to others."""
    assert set(states(ended).values()) == {"success"}
    return [json.dumps(handed_on(ended, task), default=str) for task in states(ended)] + [str(asset_events(ended))]


def on_disk(folder: Path, *, but: str = "") -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not (but and but in path.parts))


def holds(path: Path) -> bool:
    content = path.read_bytes()
    return ROW.encode() in content or CHANGED.encode() in content
