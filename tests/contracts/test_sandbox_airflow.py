"""Airflow on the sandbox: healthy, locked, on loopback, healed after accidents, gone after `down`."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pgkeep import sandbox
from pgkeep.sandbox import processes

COMPONENTS = ["airflow-api-server", "airflow-dag-processor", "airflow-scheduler", "airflow-triggerer"]


def up(home: Path) -> None:
    sandbox.up(home, airflow=True, isolated=False, report=print)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("with airflow") / "home"
    try:
        up(place)
        yield place
    finally:
        sandbox.remove(place, report=lambda _: None)


def pids(home: Path) -> dict[str, int | None]:
    return {server.name: server.pid for server in sandbox.status(home)}


def health(home: Path) -> dict[str, str]:
    url = sandbox.environment(home)["PGKEEP_UI_URL"]
    answer = requests.get(f"{url}/api/v2/monitor/health", timeout=30)
    return {name: component["status"] for name, component in answer.json().items()}


def log_in(home: Path, password: str) -> requests.Response:
    variables = sandbox.environment(home)
    login = {"username": variables["PGKEEP_UI_USER"], "password": password}
    return requests.post(f"{variables['PGKEEP_UI_URL']}/auth/token", json=login, timeout=30)


def test_everything_is_healthy(home: Path) -> None:
    found = pids(home)
    assert [name for name in found if name.startswith("airflow")] == COMPONENTS
    assert all(found.values())
    assert set(health(home).values()) == {"healthy"}
    assert set(health(home)) == {"metadatabase", "scheduler", "triggerer", "dag_processor"}


def test_the_generated_password_opens_it_and_no_other(home: Path) -> None:
    file = Path(sandbox.environment(home)["PGKEEP_UI_PASSWORD_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert log_in(home, file.read_text().strip()).status_code == 201
    assert log_in(home, "admin").status_code == 401
    assert requests.get(f"{sandbox.environment(home)['PGKEEP_UI_URL']}/api/v2/dags", timeout=30).status_code == 401


def test_the_button_test_beside_a_connection_is_there(home: Path) -> None:
    """A person who tries things out may press it; in production Airflow leaves it off."""
    variables = sandbox.environment(home)
    token = log_in(home, Path(variables["PGKEEP_UI_PASSWORD_FILE"]).read_text().strip()).json()["access_token"]
    form = {"connection_id": "form", **json.loads(variables["AIRFLOW_CONN_PGKEEP_CLUSTER"])}
    answer = requests.post(
        f"{variables['PGKEEP_UI_URL']}/api/v2/connections/test",
        json=form,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    assert answer.json()["status"], answer.text


def test_it_listens_on_loopback_only(home: Path) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {p.pid for name in COMPONENTS for p in members(home, name)}
    sockets = {link for pid in ours for link in links(pid)}
    addresses = {words[1] for words in listening if words[3] == "0A" and f"socket:[{words[9]}]" in sockets}
    port = int(sandbox.environment(home)["PGKEEP_UI_URL"].rpartition(":")[2])
    assert addresses == {f"0100007F:{port:04X}"}
    listening6 = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    assert not [words for words in listening6 if words[3] == "0A" and f"socket:[{words[9]}]" in sockets]


def members(home: Path, name: str) -> list[processes.Process]:
    found = processes.leader(home / "run", name)
    assert found
    return [p for p in processes.process_table() if p.session == found.pid]


def links(pid: int) -> set[str]:
    """What that process has open; workers come and go, and so do their files."""
    found = set[str]()
    with contextlib.suppress(FileNotFoundError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(path.readlink()))
    return found


def test_its_commands_work_in_the_users_shell(home: Path) -> None:
    script = '. "$0"; airflow connections get pgkeep_source -o json && airflow config get-value core executor'
    answer = subprocess.run(
        ["sh", "-c", script, str(home / "env")], capture_output=True, text=True, check=True, env={"PATH": os.defpath}
    )
    assert '"conn_id": "pgkeep_source"' in answer.stdout.replace('"conn_id":"', '"conn_id": "')
    assert "LocalExecutor" in answer.stdout


def test_nobody_else_can_read_its_files(home: Path) -> None:
    open_to_others = [
        path
        for path in (home / "airflow").rglob("*")
        if not path.is_symlink() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    assert open_to_others == []


def test_a_second_up_changes_nothing(home: Path) -> None:
    before = pids(home)
    sandbox.up(home, airflow=False, isolated=False, report=print)
    assert pids(home) == before


HEARTBEATS = 12


@pytest.mark.parametrize("name", ["metadata", *COMPONENTS])
def test_up_heals_one_killed_server(home: Path, name: str) -> None:
    before = pids(home)
    found = processes.leader(home / "run", name)
    assert found
    os.kill(found.pid, signal.SIGKILL)
    while processes.look_up(found.pid):
        time.sleep(0.01)
    up(home)
    if name == "metadata":
        time.sleep(HEARTBEATS)  # whoever needs it notices its loss at his next heartbeat, and falls only then
        up(home)
    after = pids(home)
    assert all(after.values())
    assert after[name] != before[name]
    assert set(health(home).values()) == {"healthy"}


def test_down_leaves_nothing(home: Path) -> None:
    sandbox.down(home, report=print)
    assert [p for p in processes.process_table() if p.directory.startswith(str(home))] == []
    assert [server.name for server in sandbox.status(home) if server.running] == []
    up(home)
    assert set(health(home).values()) == {"healthy"}
