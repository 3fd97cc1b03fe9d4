"""Processes are found by number and start, ended with all that they left, and never mistaken."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgkeep.errors import ConfigError, Unavailable
from pgkeep.sandbox import processes
from pgkeep.sandbox.processes import Server, ServerStatus


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


def shell(run: Path, script: str, *, configuration: str = "", grace: float = 5.0) -> Server:
    directory = run / "place"
    directory.mkdir(exist_ok=True)
    return Server(
        name="it",
        argv=["sh", "-c", script],
        directory=directory,
        log=run / "it.log",
        configuration=configuration,
        grace=grace,
    )


@pytest.fixture
def sleeper(run: Path) -> Iterator[Server]:
    server = shell(run, "exec sleep 60")
    processes.start(run, server)
    yield server
    processes.stop(run, server)


def test_a_started_server_is_found_and_ends(run: Path, sleeper: Server) -> None:
    found = processes.leader(run, "it")
    assert found
    assert found.session == found.pid
    assert processes.stop(run, sleeper) is True
    assert processes.leader(run, "it") is None
    assert processes.stop(run, sleeper) is False


def test_it_runs_on_when_started_twice(run: Path, sleeper: Server) -> None:
    before = processes.leader(run, "it")
    assert processes.ensure(run, sleeper) is False
    assert processes.leader(run, "it") == before


def test_another_configuration_starts_it_anew(run: Path, sleeper: Server) -> None:
    before = processes.leader(run, "it")
    assert processes.ensure(run, shell(run, "exec sleep 60", configuration="new")) is True
    after = processes.leader(run, "it")
    assert before
    assert after
    assert after.pid != before.pid
    assert processes.look_up(before.pid) is None


def test_children_in_sessions_of_their_own_end_too(run: Path) -> None:
    server = shell(run, "setsid sleep 60 & setsid sleep 61 & wait")
    processes.start(run, server)
    while len(processes.members(run, server)) < 3:
        time.sleep(0.01)
    everything = processes.members(run, server)
    processes.stop(run, server)
    assert [p for p in everything if processes.look_up(p.pid)] == []


FIRST_THREAD_ENDS = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)  # exit(2): of this thread alone
"""


def test_a_process_is_there_until_its_last_thread_has_ended(run: Path) -> None:
    """What is killed on a loaded machine looks so for a while: its ports and locks are still held."""
    server = replace(shell(run, ""), argv=[sys.executable, "-c", FIRST_THREAD_ENDS])
    processes.start(run, server)
    pid = json.loads((run / "it.json").read_text())["pid"]
    while (found := processes.look_up(pid)) and found.state != "Z":
        time.sleep(0.01)
    assert found
    assert processes.leader(run, "it") == found
    assert processes.stop(run, server) is True
    assert processes.look_up(found.pid) is None


def test_orphans_of_a_killed_server_end_with_the_next_start(run: Path) -> None:
    server = shell(run, "sleep 60 & setsid sleep 61 & wait")
    processes.start(run, server)
    while len(processes.members(run, server)) < 3:
        time.sleep(0.01)
    first = processes.leader(run, "it")
    assert first
    orphans = [p.pid for p in processes.members(run, server) if p.pid != first.pid]
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    processes.start(run, server)
    assert [pid for pid in orphans if processes.look_up(pid)] == []
    processes.stop(run, server)


def test_who_does_not_answer_is_killed(run: Path) -> None:
    server = shell(run, "trap '' TERM; while :; do sleep 0.1; done", grace=0.3)
    processes.start(run, server)
    time.sleep(0.2)
    found = processes.leader(run, "it")
    assert found
    processes.stop(run, server)
    assert processes.look_up(found.pid) is None


def test_a_stranger_with_the_same_number_is_left_alone(run: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        record = {"pid": stranger.pid, "started": 1, "world": processes._this_world(), "configuration": ""}
        (run / "it.json").write_text(json.dumps(record))
        assert processes.leader(run, "it") is None
        processes.stop(run, shell(run, "true"))
        assert stranger.poll() is None
        stranger.terminate()


@pytest.mark.parametrize("record", ["", "[]", "{", '{"pid": 1, "started": 1, "world": "another boot"}'])
def test_a_record_that_says_nothing_is_nobody(run: Path, record: str) -> None:
    (run / "it.json").write_text(record)
    assert processes.leader(run, "it") is None


def test_a_program_that_is_not_there(run: Path) -> None:
    server = Server(name="it", argv=["/nowhere/program"], directory=run, log=run / "it.log")
    with pytest.raises(ConfigError, match="it cannot be started"):
        processes.start(run, server)


def test_a_server_that_ends_while_it_starts(run: Path) -> None:
    server = shell(run, "exit 3")
    processes.start(run, server)
    with pytest.raises(Unavailable, match="it ended while it was starting"):
        processes.wait_until(lambda: False, run, server, seconds=30)
    processes.stop(run, server)


def test_a_server_that_never_gets_ready(run: Path, sleeper: Server) -> None:
    with pytest.raises(Unavailable, match="was not ready after"):
        processes.wait_until(lambda: False, run, sleeper, seconds=0.1)


def test_what_would_redirect_the_servers_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPASSFILE", "AIRFLOW__CORE__EXECUTOR", "IPFS_PATH", "CLUSTER_SECRET", "GNUPGHOME"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("NO_PROXY", "internal")
    monkeypatch.delenv("no_proxy", raising=False)
    inherited = processes.inherited_environment()
    assert "elsewhere" not in inherited.values()
    assert inherited["NO_PROXY"] == "internal,127.0.0.1,localhost"


def test_logs_and_records_are_private(run: Path, sleeper: Server) -> None:
    assert (run / "it.log").stat().st_mode & 0o777 == 0o600
    assert (run / "it.json").stat().st_mode & 0o777 == 0o600


def test_a_status_reads_as_a_line(tmp_path: Path) -> None:
    line = ServerStatus(name="source", pid=7, address="postgresql://x", log=tmp_path)
    assert str(line).split() == ["source", "running", "(7)", "postgresql://x"]
    assert str(ServerStatus(name="source", pid=None, address="", log=tmp_path)).split() == ["source", "stopped"]
