"""Speed and memory of a full backup and its restore, side by side with the bare pipe; `make benchmark SIZE=1GB`.

    pg_dump -Fc -Z0 | zstd | gpg --encrypt | ipfs add          against   the stream of `dump_database`
    ipfs cat | gpg --decrypt | zstd -d | pg_restore            against   `restore` up to the comparison

Both run in turn on the same servers, twice; the better of each counts. What pgkeep does beyond the pipe (fingerprints,
reading back, replication, comparison) is timed apart. Nothing is asserted: it prints ratios, a person judges.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pgkeep import backup, restore, sandbox, settings, wiring
from pgkeep.model import Origin
from pgkeep.plan import RecoveryPlan
from pgkeep.sandbox import sample
from pgkeep.site import Site

ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1GB")
    parser.add_argument("--step", choices=("backup", "restore"))
    parser.add_argument("--name")
    chosen = parser.parse_args()
    if chosen.step:
        print(json.dumps(STEPS[chosen.step](chosen.name)))
        return
    with tempfile.TemporaryDirectory(prefix="pgkeep-benchmark-") as folder:
        home = Path(folder) / "home"
        try:
            sandbox.up(home, airflow=False, isolated=False, report=print)
            _run(home, chosen.size)
        finally:
            sandbox.down(home, report=print)
            sandbox.remove(home, report=print)


def _run(home: Path, size: str) -> None:
    environ = {**os.environ, **sandbox.environment(home)}
    whole = sample.parse_size(size)
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    small = _measure(environ, "small", whole // 10)
    large = _measure(environ, "large", whole)
    _tell(large, f"{size} ")
    growth = (large["size"] / small["size"]) or 1
    for step in ("backup", "restore"):
        print(
            f"{growth:.1f} times the data take {large[step]['seconds'] / small[step]['seconds']:.1f} times the {step}"
        )
    peak = max(large["backup"]["peak"], large["restore"]["peak"])
    print(
        f"peak memory of pgkeep: {peak / 1e6:.0f} MB with {size}, {small['backup']['peak'] / 1e6:.0f} MB with a tenth"
    )


def _measure(environ: Mapping[str, str], name: str, size: int) -> dict[str, Any]:
    source = f"{environ['PGKEEP_SOURCE_URL']}?passfile={quote(environ['PGPASSFILE'])}"
    sample.create_sample(source, dbname=name, size=size, seed=1, report=print)
    subprocess.run([_program("pgkeep"), "init", name, "--full-only"], env=environ, check=True)
    rounds = [_round(environ, name) for _ in range(ROUNDS)]
    best = {step: min((r[step] for r in rounds), key=lambda run: float(run["seconds"])) for step in rounds[0]}
    return {"size": best["backup"]["size"], **best}


def _round(environ: Mapping[str, str], name: str) -> dict[str, dict[str, Any]]:
    cid, out = _piped(environ, _PIPE_OUT, NAME=name)
    _recreate(environ, name)
    _, back = _piped(environ, _PIPE_BACK, NAME=name, CID=cid.strip())
    return {
        "pipe out": {"seconds": out},
        "pipe back": {"seconds": back},
        "backup": _step(environ, "backup", name),
        "restore": _step(environ, "restore", name),
    }


_PIPE_OUT = """set -o pipefail
pg_dump -Fc -Z0 "$PGKEEP_SOURCE_URL/$NAME" | zstd -q -3 |
gpg --batch --quiet --trust-model always --compress-algo none $RECIPIENTS --encrypt |
ipfs --api "$API" add --quieter --cid-version 1 --chunker size-1048576"""
_PIPE_BACK = """set -o pipefail
ipfs --api "$API" cat "$CID" | gpg --batch --quiet --decrypt | zstd -q -d |
pg_restore --exit-on-error --dbname "$PGKEEP_SCRATCH_URL/$NAME" """


def _piped(environ: Mapping[str, str], script: str, **values: str) -> tuple[str, float]:
    kubo = json.loads(environ["AIRFLOW_CONN_PGKEEP_KUBO"])
    keys = settings.load(environ["PGKEEP_CONFIG"]).keys
    more = {
        "API": f"/ip4/{kubo['host']}/tcp/{kubo['port']}",
        "RECIPIENTS": " ".join(f"--recipient {key}" for key in keys.recipients),
    }
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", script], env={**environ, **more, **values}, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout, time.monotonic() - started


def _recreate(environ: Mapping[str, str], name: str) -> None:
    for command in (f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}" TEMPLATE template0'):
        subprocess.run(
            ["psql", "-Xq", "-c", command, f"{environ['PGKEEP_SCRATCH_URL']}/postgres"], env=environ, check=True
        )


def _step(environ: Mapping[str, str], step: str, name: str) -> dict[str, Any]:
    """In a process of its own, so that its memory is its own."""
    program = [sys.executable, __file__, "--step", step, "--name", name]
    done = subprocess.run(program, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def _backup(name: str) -> dict[str, Any]:
    site = _site(name)
    marks: dict[str, float] = {}

    def watch(part: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        marks[part] = time.monotonic()
        yield from chunks

    started = time.monotonic()
    stored = backup.capture(
        site.source, site.sealer, site.vault, site.journals, origin=Origin(host="here", by="benchmark"), watch=watch
    )
    captured = time.monotonic()
    sealed = backup.check(stored, site.sealer, site.vault)
    checked = time.monotonic()
    replicated = backup.replicate(sealed, site.vault, copies=site.copies, patience=600)
    copied = time.monotonic()
    backup.record(replicated, site.source, site.journals, site.vault)
    return {
        "seconds": marks["globals"] - marks["dump"],
        "before": marks["dump"] - started,
        "fingerprints": captured - marks["globals"],
        "check": checked - captured,
        "replicate": copied - checked,
        "record": time.monotonic() - copied,
        "size": stored.backup.parts[0].plain_size,
        "peak": _peak(),
    }


def _restore(name: str) -> dict[str, Any]:
    site = _site(name)
    target = wiring.target(f"pgkeep_scratch/{name}", settings.from_environment(os.environ))
    entry = site.journals.head().journal.entry()
    done = restore.restore(RecoveryPlan(base=entry, steps=()), site.sealer, site.vault, target, replace=True)
    return {"seconds": done.restore_seconds, "comparison": done.verify_seconds, "peak": _peak()}


STEPS = {"backup": _backup, "restore": _restore}


def _site(name: str) -> Site:
    found = settings.load(os.environ[settings.VARIABLE])
    return wiring.site(found, name, settings.from_environment(os.environ))


def _peak() -> int:
    """The most memory that this process ever held, in bytes (VmHWM of proc(5))."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _tell(found: Mapping[str, Any], what: str) -> None:
    for step, pipe in (("backup", "pipe out"), ("restore", "pipe back")):
        ours, theirs = found[step]["seconds"], found[pipe]["seconds"]
        rate = found["size"] / ours / 1e6
        ratio = f"{theirs / ours:.2f} times its speed"
        print(f"{what}{step}: {ours:.1f} s ({rate:.0f} MB/s), bare pipe {theirs:.1f} s: {ratio}")
        apart = {key: f"{value:.1f} s" for key, value in found[step].items() if key not in ("seconds", "size", "peak")}
        print(f"   apart: {apart}")


if __name__ == "__main__":
    main()
