"""A world that has nothing but loopback: what runs in it cannot reach anything outside, and cannot outlive it.

    python -m pgkeep.sandbox.isolation -- COMMAND [ARGUMENT ...]

runs the command in network and process namespaces of its own, and ends with its exit code. When it ends, all that it
left running ends, too. Where the system forbids such namespaces it says so and runs the command without them.

The world of `pgkeep sandbox up --isolated` is held open by one small process: see `isolated_sandbox.py`. This file uses
the standard library only and is also run by its path, so that every step inside costs milliseconds.
"""

import array
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

FORBIDDEN = (
    "pgkeep: WARNING: this system does not allow network namespaces here (unshare), so what follows runs on the host's "
    "network: that nothing leaves the machine is configured, but not proven\n"
)
HOLDING = "--hold"
"""The argument of the process that holds a world which is ready."""
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP: see netdevice(7)


def is_isolated() -> bool:
    """Whether this process sees no network interface but loopback."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def unshare_command() -> list[str]:
    """The start of a command line that runs the rest in namespaces of its own; an ordinary user keeps the own uid."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    return ["unshare", "--net", *user, "--pid", "--fork", "--kill-child", "--mount-proc"]


def join_command(pid: int, *command: str) -> list[str]:
    """The command line that runs `command` in the namespaces of `pid`, in the present working directory."""
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    target = ["nsenter", "--target", str(pid), *user, "--net", "--pid", "--mount", "--"]
    return [*target, *inside_command("--at", str(Path.cwd()), "--", *command)]


def inside_command(*words: str) -> list[str]:
    """The command line for what this file does inside."""
    return [sys.executable, "-I", __file__, *words]


def is_allowed() -> bool:
    """Whether such namespaces can be had here: tried, with loopback brought up in them."""
    if not shutil.which("unshare"):
        return False
    trial = [*unshare_command(), *inside_command("--inside", "--", "true")]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def enter(command: Sequence[str]) -> int:
    """Runs the command isolated where that is allowed, else as it is, after a warning; its exit code."""
    if is_allowed():
        return _exit_code([*unshare_command(), *inside_command("--inside", "--", *command)])
    if not is_isolated():
        sys.stderr.write(FORBIDDEN)
    return _exit_code(command)


def _exit_code(command: Sequence[str]) -> int:
    """Runs the command in the foreground. Ctrl-C is for the command to answer, SIGTERM is passed on."""
    with subprocess.Popen(command) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, _pass_on(process.pid))
        code = process.wait()
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    return code if code >= 0 else 128 - code


def _pass_on(pid: int) -> Callable[[int, object], None]:
    """`unshare` ignores SIGTERM, so it is sent to what `unshare` runs, too."""

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
                os.kill(int(child), number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    return pass_on


def bring_loopback_up() -> None:
    """`ip link set lo up`, for machines without `ip`. Needs the right to, which the maker of a namespace has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        request = array.array("B", struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(channel, _GET_FLAGS, request)
        (flags,) = struct.unpack_from("h", request, 16)
        if not flags & _UP:
            struct.pack_into("h", request, 16, flags | _UP)
            fcntl.ioctl(channel, _SET_FLAGS, request)


def run_as_first_process(command: Sequence[str]) -> int:
    """What process 1 of the new world does: loopback, the command, burying the dead; the command's exit code."""
    bring_loopback_up()
    pid = os.posix_spawnp(command[0], list(command), os.environ, setsigdef=[signal.SIGINT, signal.SIGTERM])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the command, too
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(pid, number))
    while True:
        ended, status = os.waitpid(-1, 0)  # orphans of the command are our children, too
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def prepare_to_hold() -> NoReturn:
    """Process 1 of an isolated sandbox whose world is not ready yet: who looks for `HOLDING` finds it only after."""
    bring_loopback_up()
    command = inside_command(HOLDING)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def hold() -> NoReturn:
    """Process 1 of an isolated sandbox: keeps its world, buries the dead; SIGTERM ends it, and everything in it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(1.0)


def main(arguments: Sequence[str]) -> int:
    command = list(arguments[arguments.index("--") + 1 :]) if "--" in arguments else []
    match list(arguments[: len(arguments) - len(command)]):
        case ["--prepare"]:
            prepare_to_hold()
        case [word] if word == HOLDING:
            hold()
        case ["--inside", "--"] if command:
            return run_as_first_process(command)
        case ["--at", directory, "--"] if command:
            os.chdir(directory)
            os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
        case ["--"] if command:
            return enter(command)
    sys.stderr.write("usage: python -m pgkeep.sandbox.isolation -- COMMAND [ARGUMENT ...]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
