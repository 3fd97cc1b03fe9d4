"""The DAG of a full backup over real servers, run by Airflow in this process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from airflow.sdk import Context

from in_airflow.dags import Keep, asset_events, connect, entries, handed_on, run, states, tries
from pgkeep import records
from pgkeep import sandbox as servers
from pgkeep.airflow import assets
from pgkeep.airflow.operators import ReplicateOperator
from pgkeep.model import Entry, Replicated, Stored

STEPS = ["dump_database", "check_encryption", "replicate", "record", "release"]
KILLED = """
import sys
from types import SimpleNamespace
from pgkeep.airflow.operators import DumpDatabaseOperator
ti = SimpleNamespace(dag_id="pgkeep_killed_full", run_id="killed", try_number=1)
DumpDatabaseOperator(task_id="dump_database", database=sys.argv[1]).execute({"ti": ti})
"""


def test_a_backup_by_airflow(keep: Keep, caplog: pytest.LogCaptureFixture, sandbox: Mapping[str, str]) -> None:
    site = keep('we"ird {{ Name }}')
    ended = run(site, "full")
    assert states(ended) == dict.fromkeys(STEPS, "success")
    (entry,) = entries(site)
    assert entry.backup.totals
    assert entry.backup.totals.rows == 500
    assert entry.backup.origin.by == f"airflow:{ended.dag_id}/{ended.run_id}/1"
    assert all(copy.read_back for copies in entry.holders.values() for copy in copies)
    assert records.decode(Entry, handed_on(ended, "record")) == entry
    assert asset_events(ended) == [(assets.backups(site.database.name, "full").name, assets.summary(entry))]
    said = caplog.text
    assert "500 rows in 1 table," in said
    assert "From now on it is a backup" in said
    for name, value in sandbox.items():
        if name.startswith("AIRFLOW_CONN_"):
            assert json.loads(value).get("password", "no password") not in said


def test_a_second_run_is_a_second_entry(keep: Keep) -> None:
    site = keep("twice")
    assert set(states(run(site, "full")).values()) == set(states(run(site, "full")).values()) == {"success"}
    assert [entry.sequence for entry in entries(site)] == [1, 2]


def test_a_database_that_does_not_exist_fails_at_once(
    keep: Keep, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("dropped")
    with connect(sandbox, "postgres") as connection:
        connection.execute("DROP DATABASE dropped")
    ended = run(site, "full")
    assert states(ended) == {STEPS[0]: "failed"} | dict.fromkeys(STEPS[1:], "upstream_failed")
    assert tries(ended, STEPS[0]) == 1
    assert f"BACKUP FAILED: run {ended.run_id} of pgkeep_dropped_full in task dump_database" in caplog.text
    assert not entries(site)


def test_a_peer_stays_away_too_long_and_a_later_try_needs_no_new_dump(
    keep: Keep, sandbox: Mapping[str, str], sandbox_home: Path
) -> None:
    site = keep("waiting")
    with replication_seconds(sandbox, 5.0):
        kill(sandbox_home, "kubo-3", "cluster-3")
        ended = run(site, "full")
    found = states(ended)
    assert [found[task] for task in STEPS] == ["success", "success", "failed", "upstream_failed", "upstream_failed"]
    assert not entries(site)
    servers.up(sandbox_home, airflow=False, isolated=False, report=print)
    before = site.vault.listing("pgkeep/waiting/full/").names
    step = ReplicateOperator(
        task_id="replicate", database="waiting", sealed=handed_on(ended, "check_encryption"), patience=60.0
    )
    replicated = records.decode(Replicated, step.execute(cast(Context, {})))
    assert all(len(copies) == 3 for copies in replicated.holders.values())
    stored = records.decode(Stored, handed_on(ended, "dump_database"))
    assert replicated.sealed.backup == stored.backup
    assert site.vault.listing("pgkeep/waiting/full/").names == before


def test_a_peer_comes_back_while_the_task_waits(
    keep: Keep, sandbox_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("patient")
    kill(sandbox_home, "kubo-3", "cluster-3")
    with ThreadPoolExecutor() as pool:
        healed = pool.submit(heal_when, lambda: "Waiting for it without a worker" in caplog.text, sandbox_home)
        assert states(run(site, "full")) == dict.fromkeys(STEPS, "success")
        assert healed.result() is None
    assert len(entries(site)) == 1


def test_a_dump_that_is_killed_leaves_no_backup_and_the_next_try_makes_one(
    keep: Keep, sandbox: Mapping[str, str]
) -> None:
    site = keep("killed")
    with connect(sandbox, "killed") as connection, connection.transaction():
        connection.execute("LOCK TABLE document IN ACCESS EXCLUSIVE MODE")
        task = subprocess.Popen([sys.executable, "-W", "ignore", "-c", KILLED, "killed"], env=os.environ)
        try:
            wait_for_blocked(sandbox, task)
        finally:
            task.kill()
        assert task.wait() == -signal.SIGKILL
    assert not entries(site)
    assert states(run(site, "full")) == dict.fromkeys(STEPS, "success")
    assert len(entries(site)) == 1


def heal_when(condition: Callable[[], bool], home: Path) -> None:
    wait_until(condition)
    servers.up(home, airflow=False, isolated=False, report=print)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.05)


@contextmanager
def replication_seconds(environ: Mapping[str, str], seconds: float) -> Iterator[None]:
    """The vault's patience, for a while."""
    path = Path(environ["PGKEEP_CONFIG"])
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("[vault]\n", f"[vault]\nreplication_hours = {seconds / 3600}\n"), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def kill(home: Path, *names: str) -> None:
    found = {server.name: server.pid for server in servers.status(home)}
    for name in names:
        pid = found[name]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


def wait_for_blocked(environ: Mapping[str, str], task: subprocess.Popen[bytes]) -> None:
    """Returns when the task waits for a lock on a relation of the source server."""

    def blocked() -> bool:
        assert task.poll() is None, "it ended before it was killed"
        return bool(connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall())

    with connect(environ, "postgres") as connection:
        wait_until(blocked)
