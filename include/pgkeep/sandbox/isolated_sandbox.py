"""A sandbox in a world of its own, with nothing but loopback: `pgkeep sandbox up --isolated`.

One small process holds that world open; it is the first process in it, so when it ends all servers end. It is
recorded like a server, as HOME/run/isolation.json. Commands that need to see the servers are run inside, by `nsenter`;
`HOME/env` is the same from both sides, but its addresses are reached only inside:

    python -m pgkeep.sandbox.isolated_sandbox HOME -- COMMAND [ARGUMENT ...]

runs a command there, with the sandbox's variables set.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pgkeep import errors

from . import command, isolation, lifecycle, processes
from .place import Report, locked, make_private_directory
from .processes import Server, ServerStatus


def up(home: Path, *, airflow: bool, isolated: bool, report: Report) -> None:
    """As `sandbox.up` says. A sandbox that is isolated already stays so."""
    if not (_holder(home) or (isolated and _make_world(home, report))):
        lifecycle.up(home, airflow=airflow, report=report)
        return
    for word, value in _inside(home, "up", *(["--airflow"] if airflow else [])):
        if word == "report":
            report(value)
    report(f"it is isolated; a command inside: {sys.executable} -m {__name__} {home} -- COMMAND")


def status(home: Path) -> Sequence[ServerStatus]:
    if not _holder(home):
        return lifecycle.status(home)
    found = [value for word, value in _inside(home, "status") if word == "status"]
    return [ServerStatus(**server | {"log": Path(server["log"])}) for server in found]


def down(home: Path, *, report: Report) -> None:
    if not _holder(home):
        lifecycle.down(home, report=report)
        return
    for word, value in _inside(home, "down"):
        if word == "report":
            report(value)
    processes.stop(home / "run", _world(home))


def remove(home: Path, *, report: Report) -> None:
    down(home, report=report)
    lifecycle.delete(home)


def _world(home: Path) -> Server:
    return Server(
        name="isolation",
        argv=[*isolation.unshare_command(), *isolation.inside_command("--prepare")],
        directory=home / "run" / "isolation",
        log=home / "logs" / "isolation.log",
        stop_signal=signal.SIGKILL,  # `unshare` ignores SIGTERM; killed, it takes its child along, and that everything
    )


def _holder(home: Path) -> int | None:
    """The first process of this sandbox's world, if it has one and we are outside of it."""
    outer = processes.leader(home / "run", "isolation")
    children = [p.pid for p in processes.process_table() if outer and p.parent == outer.pid]
    return next((pid for pid in children if holds(pid)), None)


def holds(pid: int) -> bool:
    """Whether that process holds a world open, and a ready one: before its loopback is up nobody has a port there."""
    try:
        return isolation.HOLDING.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _make_world(home: Path, report: Report) -> bool:
    """Makes and holds a world for this sandbox; False, after saying why, where it cannot have one of its own."""
    if not isolation.is_allowed():
        report(isolation.FORBIDDEN.strip())
        return False
    if any(server.running for server in lifecycle.status(home)):
        raise errors.ConfigError(
            "this sandbox runs on the host's loopback",
            next_step="pgkeep sandbox down; then pgkeep sandbox up --isolated",
        )
    with locked(home, report):
        world = _world(home)
        make_private_directory(make_private_directory(home / "run") / "isolation")
        processes.ensure(home / "run", world)
        processes.wait_until(lambda: _holder(home) is not None, home / "run", world, seconds=20)
    return True


def _inside(home: Path, *words: str) -> Iterator[tuple[str, Any]]:
    """Runs this module inside; what it says, as (kind, value). Raises the error that was raised there."""
    holder = _holder(home)
    if holder is None:
        raise errors.Unavailable("the isolated world ended at this moment", next_step="run it again")
    argv = isolation.join_command(holder, sys.executable, "-m", __name__, str(home), *words)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            word, value = json.loads(line)
            if word == "error":
                kind = getattr(errors, value.pop("class"))
                raise kind(value["what"], next_step=value["next_step"])
            yield word, value
    if process.returncode != 0:
        raise errors.Unavailable(
            f"`sandbox {words[0]}` ended inside the isolated world with exit code {process.returncode}",
            next_step="pgkeep sandbox down, then up",
        )


def _say(word: str) -> Callable[[object], None]:
    def say(value: object) -> None:
        sys.stdout.write(json.dumps([word, value], default=str) + "\n")
        sys.stdout.flush()

    return say


def _answer(home: Path, words: Sequence[str]) -> None:
    """The other end of `_inside`."""
    report = _say("report")
    try:
        match words:
            case ["up", *flags]:
                lifecycle.up(home, airflow="--airflow" in flags, report=report)
            case ["down"]:
                lifecycle.down(home, report=report)
            case ["status"]:
                for server in lifecycle.status(home):
                    _say("status")(asdict(server))
    except errors.PgkeepError as error:
        _say("error")({"class": type(error).__name__, "what": error.what, "next_step": error.next_step})


def main(arguments: Sequence[str]) -> None:
    if len(arguments) < 2:
        sys.exit("usage: python -m pgkeep.sandbox.isolated_sandbox HOME -- COMMAND [ARGUMENT ...]")
    home = Path(arguments[0]).absolute()
    if arguments[1] != "--":
        _answer(home, arguments[1:])
        return
    holder = _holder(home)
    if holder is None:
        raise errors.ConfigError(f"no isolated sandbox runs in {home}", next_step="pgkeep sandbox up --isolated")
    argv = isolation.join_command(holder, *arguments[2:])
    os.execvpe(argv[0], argv, os.environ | lifecycle.environment(home))  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    command.run(main)
