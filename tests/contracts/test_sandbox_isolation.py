"""A world with nothing but loopback: what it shows, what it lets through, and that nothing outlives it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgkeep import sandbox
from pgkeep.errors import ConfigError
from pgkeep.sandbox import isolated_sandbox, isolation, processes

pytestmark = pytest.mark.skipif(not isolation.is_allowed(), reason="this system forbids network namespaces")
ENTER = [sys.executable, "-m", "pgkeep.sandbox.isolation", "--"]


def inside(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*ENTER, *command], capture_output=True, text=True, check=False)


def running(marker: str) -> list[int]:
    found = []
    for process in processes.process_table():
        with contextlib.suppress(OSError):
            if marker in Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace").split("\0"):
                found.append(process.pid)
    return found


def test_there_is_nothing_but_loopback_and_that_works() -> None:
    script = "import socket; print(socket.if_nameindex()); s = socket.create_server(('127.0.0.1', 0)); "
    script += "print(bool(socket.create_connection(s.getsockname()[:2])))"
    answer = inside(sys.executable, "-c", script)
    assert answer.stdout.splitlines() == ["[(1, 'lo')]", "True"]
    assert answer.stderr == ""


def test_the_outside_cannot_be_reached() -> None:
    script = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=20)"
    answer = inside(sys.executable, "-c", script)
    assert answer.returncode == 1
    assert "Network is unreachable" in answer.stderr


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_passes_through(script: str, code: int) -> None:
    assert inside("sh", "-c", script).returncode == code


def test_the_user_stays_the_same() -> None:
    assert inside("id", "-u").stdout.strip() == str(os.getuid())


def test_nothing_is_left_running() -> None:
    marker = f"86400.{os.getpid()}"
    assert inside("sh", "-c", f"setsid sleep {marker} & sleep 0.2").returncode == 0
    assert running(marker) == []


def test_a_termination_is_passed_on() -> None:
    marker = f"86401.{os.getpid()}"
    with subprocess.Popen([*ENTER, "sleep", marker]) as process:
        while not [pid for pid in running(marker) if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    assert running(marker) == []


def test_without_a_command_its_use_is_shown() -> None:
    answer = subprocess.run(ENTER, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith("usage: ")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "isolated sandbox"
    try:
        yield place
    finally:
        sandbox.remove(place, report=lambda _: None)


def up(home: Path, *, isolated: bool = True) -> list[str]:
    lines: list[str] = []
    sandbox.up(home, airflow=False, isolated=isolated, report=lines.append)
    return lines


def test_an_isolated_sandbox_is_reached_from_inside_only(home: Path) -> None:
    up(home)
    servers = sandbox.status(home)
    assert len(servers) == 8
    assert all(server.running for server in servers)
    port = int(servers[0].address.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    command = ["sh", "-c", 'psql "$PGKEEP_SOURCE_URL/postgres" -Atc "select 6*7"']
    entered = subprocess.run(
        [sys.executable, "-m", "pgkeep.sandbox.isolated_sandbox", str(home), "--", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert entered.stdout == "42\n"
    assert "everything is running already" in up(home)
    assert "everything is running already" in up(home, isolated=False)


def test_when_its_world_ends_it_can_be_had_again(home: Path) -> None:
    up(home)
    holder = processes.leader(home / "run", "isolation")
    assert holder
    os.kill(holder.pid, signal.SIGKILL)
    while processes.leader(home / "run", "isolation"):
        time.sleep(0.02)
    while any(server.running for server in sandbox.status(home)):
        time.sleep(0.02)
    up(home)
    assert all(server.running for server in sandbox.status(home))


def test_a_world_is_not_entered_before_its_loopback_is_up() -> None:
    """Its first process is there long before, with the command line of `unshare`."""
    with subprocess.Popen([*isolation.unshare_command(), *isolation.inside_command("--prepare")]) as outer:
        try:
            first: list[int] = []
            while not first:
                children = [p.pid for p in processes.process_table() if p.parent == outer.pid]
                first = [pid for pid in children if isolated_sandbox.holds(pid)]
            assert "127.0.0.1" in Path(f"/proc/{first[0]}/net/fib_trie").read_text()
        finally:
            outer.kill()


def test_down_ends_its_world(home: Path) -> None:
    up(home)
    sandbox.down(home, report=lambda _: None)
    assert processes.leader(home / "run", "isolation") is None
    assert not any(server.running for server in sandbox.status(home))
    assert [p for p in processes.process_table() if p.directory.startswith(str(home))] == []


def test_it_does_not_move_while_it_runs(home: Path) -> None:
    up(home, isolated=False)
    with pytest.raises(ConfigError, match="runs on the host's loopback"):
        up(home)


def test_an_error_inside_comes_out_as_itself(home: Path) -> None:
    up(home)
    (home / "state.json").write_text("{}{")
    with pytest.raises(ConfigError, match="not the state of a sandbox"):
        up(home)
    (home / "state.json").write_text("{}")
