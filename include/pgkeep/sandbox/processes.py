"""Starting servers that outlive the command, finding them again, and ending them: these and no others.

A process is known by its number *and* the moment it started (clock ticks since boot, from /proc), so a number that
was given to somebody else is never mistaken for ours. Every server has a directory of its own to run in; what still
runs there without a terminal belongs to it, whatever became of its parent, its session or its record.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgkeep.errors import ConfigError, Unavailable

from .place import make_private_directory, write_private

# Settings of other programs that would change what our servers do.
FOREIGN_PREFIXES = ("PG", "AIRFLOW", "_AIRFLOW", "IPFS", "CLUSTER_", "LIBP2P", "GOLOG", "GNUPGHOME", "PYTHONWARNINGS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One line of the process table, as /proc says it. Equal when `pid` and `started` are: the rest is passing."""

    pid: int
    state: str = field(compare=False)
    parent: int = field(compare=False)
    session: int = field(compare=False)
    terminal: int = field(compare=False)
    started: int
    """Clock ticks after the boot."""
    directory: str = field(compare=False)
    """Where it runs; empty where this user may not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How one server is started and stopped."""

    name: str
    argv: Sequence[str]
    directory: Path
    """It runs here, and nothing else does."""
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    configuration: str = ""
    """Digest of all it was configured by: a running server with another one is started again."""
    user: int | None = None
    group: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 20.0
    """Seconds between the stop signal and SIGKILL."""
    address: str = ""
    """What a person connects to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One server as `status` shows it."""

    name: str
    pid: int | None
    address: str
    log: Path

    def __str__(self) -> str:
        how = f"running ({self.pid})" if self.running else "stopped"
        return f"{self.name:<22} {how:<18} {self.address}".rstrip()

    @property
    def running(self) -> bool:
        return self.pid is not None


def inherited_environment() -> dict[str, str]:
    """This process's environment without what would redirect the servers, or their talk on loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
    direct = ",".join(filter(None, [kept.get("no_proxy") or kept.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return kept | {"NO_PROXY": direct, "no_proxy": direct}


def look_up(pid: int) -> Process | None:
    """The process with this number, or None. A zombie counts as gone: it holds nothing any more.

    Unless only its first thread is one. While others are still ending, its files, locks and ports are held.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    words = line.rpartition(")")[2].split()
    directory = ""
    with contextlib.suppress(OSError):
        directory = str(Path(f"/proc/{pid}/cwd").readlink())
    found = Process(
        pid=pid,
        state=words[0],
        parent=int(words[1]),
        session=int(words[3]),
        terminal=int(words[4]),
        started=int(words[19]),
        directory=directory,
    )
    threads = int(words[17])
    return None if found.state == "X" or (found.state == "Z" and threads <= 1) else found


def process_table() -> list[Process]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [found for pid in pids if (found := look_up(pid))]


def _this_world() -> str:
    """Numbers and ticks mean something within one boot and one pid namespace only."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _record(run: Path, name: str) -> dict[str, object]:
    try:
        content = json.loads((run / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def leader(run: Path, name: str) -> Process | None:
    """The process recorded as `name`, if exactly that one still runs."""
    record = _record(run, name)
    found = look_up(int(str(record["pid"]))) if record.get("world") == _this_world() else None
    return found if found and found.started == record["started"] else None


def is_current(run: Path, server: Server) -> bool:
    """Whether the server runs, configured as it should be."""
    return (
        leader(run, server.name) is not None and _record(run, server.name).get("configuration") == server.configuration
    )


def members(run: Path, server: Server) -> list[Process]:
    """Every process of this server: recorded, in its session, below those, or left over in its directory."""
    table = process_table()
    record = _record(run, server.name)
    sessions: set[int] = set()
    if record.get("world") == _this_world():
        pid = int(str(record["pid"]))
        living = look_up(pid)
        # While anything is in a session its number is not given out again: ours, unless its leader is a stranger.
        if living is None or living.started == record["started"]:
            sessions.add(pid)
    directory = os.path.realpath(server.directory)
    ours = {p.pid for p in table if p.session in sessions or (p.directory == directory and not p.terminal)}
    ours.discard(os.getpid())
    return [p for p in table if p.pid in _with_descendants(ours, table)]


def _with_descendants(roots: set[int], table: Sequence[Process]) -> set[int]:
    found: set[int] = set()
    new = roots
    while new:
        found |= new
        new = {p.pid for p in table if p.parent in new} - found
    return found


def start(run: Path, server: Server) -> None:
    """Starts the server in a session of its own and records it. Remnants of an earlier one are ended first."""
    stop(run, server)
    environment = inherited_environment() | dict(server.environment)
    descriptor = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            server.argv,
            cwd=server.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,  # or Ctrl-C in the terminal would end the servers
            umask=0o077,
            user=server.user,
            group=server.group,
            extra_groups=None if server.user is None else [],
        )
    except OSError as error:
        raise ConfigError(
            f"{server.name} cannot be started: {error.strerror} ({server.argv[0]})",
            next_step="see that the program is there, and may be run by this user",
        ) from error
    finally:
        os.close(descriptor)
    found = look_up(process.pid)
    record = {
        "pid": process.pid,
        "started": found.started if found else 0,
        "world": _this_world(),
        "configuration": server.configuration,
    }
    write_private(run / f"{server.name}.json", json.dumps(record))
    process.returncode = 0  # it is meant to outlive us: nobody here will wait for it


def stop(run: Path, server: Server) -> bool:
    """Ends the server and all it started; False if nothing of it was running."""
    found = leader(run, server.name)
    rest = members(run, server)
    if found:
        _signal([found], server.stop_signal)
        _wait_gone([found], server.grace)
        _signal([found], signal.SIGKILL)
        rest = _unique([*rest, *members(run, server)])
    _signal([p for p in rest if p != found], signal.SIGTERM)
    _wait_gone(rest, 3.0)
    _signal(rest, signal.SIGKILL)
    _wait_gone(rest, 10.0)
    _reap(_record(run, server.name))
    (run / f"{server.name}.json").unlink(missing_ok=True)
    return bool(rest)


def _unique(processes: Iterable[Process]) -> list[Process]:
    return list({(p.pid, p.started): p for p in processes}.values())


def _still(process: Process) -> bool:
    found = look_up(process.pid)
    return found is not None and found.started == process.started


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        if _still(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _wait_gone(processes: Sequence[Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(_still, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _reap(record: Mapping[str, object]) -> None:
    """Collects the recorded process if it was a child of ours, or it would stay as a zombie while we live."""
    with contextlib.suppress(ChildProcessError, KeyError):
        os.waitpid(int(str(record["pid"])), os.WNOHANG)


def ensure(run: Path, server: Server) -> bool:
    """Starts the server unless it already runs as configured; True if it was started."""
    make_private_directory(server.log.parent)
    if is_current(run, server):
        return False
    start(run, server)
    return True


def wait_until(ready: Callable[[], bool], run: Path, server: Server, *, seconds: float) -> None:
    """Returns when `ready()` is true. Raises Unavailable when the server ended instead, or took longer than that."""
    deadline = time.monotonic() + seconds
    while not ready():
        if leader(run, server.name) is None:
            raise Unavailable(f"{server.name} ended while it was starting", next_step=f"read {server.log}")
        if time.monotonic() > deadline:
            raise Unavailable(f"{server.name} was not ready after {seconds:.0f} s", next_step=f"read {server.log}")
        time.sleep(0.05)


def status_of(run: Path, server: Server) -> ServerStatus:
    found = leader(run, server.name)
    return ServerStatus(name=server.name, pid=found.pid if found else None, address=server.address, log=server.log)
