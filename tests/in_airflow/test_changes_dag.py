"""The DAG of the changes over real servers, run by Airflow in this process: hour by hour, and on bad days."""

import json
import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk.exceptions import AirflowFailException

from in_airflow.dags import Keep, asset_events, connect, entries, handed_on, run, states, the_hour, tries
from in_airflow.steps import context
from pgkeep import chain
from pgkeep import sandbox as servers
from pgkeep.airflow import assets
from pgkeep.airflow.operators import CollectChangesOperator
from pgkeep.errors import Unavailable
from pgkeep.model import SlotPosition
from pgkeep.site import Site

STEPS = ["collect_changes", "check_encryption", "replicate", "record", "release"]
GREEN, SKIPPED = dict.fromkeys(STEPS, "success"), dict.fromkeys(STEPS, "skipped")


def kinds(site: Site) -> list[str]:
    """Of an unbroken chain."""
    chain.links(site.journals.head().journal)
    return [entry.backup.kind for entry in entries(site)]


def define(sandbox: Mapping[str, str], name: str, objects: int) -> None:
    """So many objects more."""
    with connect(sandbox, name) as connection:
        connection.execute(";".join(f"CREATE DOMAIN number_{i} AS int" for i in range(objects)))


def insert(sandbox: Mapping[str, str], name: str, first: int) -> None:
    with connect(sandbox, name) as connection:
        connection.execute("INSERT INTO document SELECT %s, 'x'", [first])


def hour(site: Site, *, ago: int = -1) -> DagRun:
    """The run of an hour that is not over yet, if nothing is said: nothing can show its end."""
    return run(site, "changes", until=the_hour(ago=ago))


def test_hours_by_airflow(keep: Keep, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture) -> None:
    site = keep('we"ird {{ Hours }}', changes=True)
    define(sandbox, site.database.name, 1000)
    first = hour(site)
    assert states(first) == GREEN
    assert kinds(site) == ["gap", "full"], "a full backup to begin with"
    assert asset_events(first) == [(assets.backups(site.database.name, "full").name, assets.summary(entries(site)[1]))]

    insert(sandbox, site.database.name, 1001)
    second = hour(site)
    assert states(second) == GREEN
    assert kinds(site) == ["gap", "full", "changes"]
    entry = entries(site)[-1]
    assert chain.link_of(entry).changes == 1
    assert entry.backup.origin.by == f"airflow:{second.dag_id}/{second.run_id}/1"
    assert all(copy.read_back for copies in entry.holders.values() for copy in copies)
    assert asset_events(second) == [(assets.backups(site.database.name, "changes").name, assets.summary(entry))]
    assert "1 change in 1 transaction" in caplog.text
    position = chain.position_of(entry.backup)
    assert isinstance(position, SlotPosition)
    assert len(position.definitions or ()) > 1000, "the journal knows each object"
    assert max(len(json.dumps(handed_on(second, task))) for task in STEPS[:4]) < 5000, "and no task hands that on"

    before = site.vault.listing("pgkeep/").names
    by_hand = run(site, "changes")
    assert states(by_hand) == GREEN
    assert kinds(site) == ["gap", "full", "changes", "changes"]
    assert entries(site)[-1].backup.parts == (), "a quiet hour stores no object"
    new = site.vault.listing("pgkeep/").names.keys() - before.keys()
    assert all("/journal/" in name for name in new), "nothing but a journal's version"
    assert "no changes since" in caplog.text


def test_an_hour_that_is_covered_is_green_and_skipped(
    keep: Keep, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("covered", changes=True)
    hour(site)
    insert(sandbox, "covered", 1001)
    for ago in (0, 1, 2000):
        ended = hour(site, ago=ago)
        assert states(ended) == SKIPPED
        assert ended.state == "success"
        assert asset_events(ended) == []
    assert "already covered by entry 1" in caplog.text
    assert kinds(site) == ["gap", "full"]
    assert states(hour(site)) == GREEN
    assert kinds(site) == ["gap", "full", "changes"]
    now_as_in_the_ui = run(site, "changes", until=datetime.now(UTC))
    assert now_as_in_the_ui.data_interval_end
    assert now_as_in_the_ui.logical_date
    assert now_as_in_the_ui.data_interval_end < now_as_in_the_ui.logical_date
    assert states(now_as_in_the_ui) == GREEN


def test_a_lost_slot_is_a_gap_and_a_full_backup_in_the_same_run(
    keep: Keep, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("slotless", changes=True)
    hour(site)
    with connect(sandbox, "slotless") as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'slotless'"
        )
    ended = hour(site)
    assert states(ended) == GREEN
    assert kinds(site) == ["gap", "full", "gap", "full"]
    assert "is gone, and the changes that it kept with it; a full backup is made now" in caplog.text
    assert [name for name, _ in asset_events(ended)] == ["pgkeep/slotless/full"]


def test_the_full_dag_ends_the_chain_first(keep: Keep, sandbox: Mapping[str, str]) -> None:
    site = keep("closed", changes=True)
    assert set(states(run(site, "full")).values()) == {"success"}
    insert(sandbox, "closed", 1001)
    assert set(states(run(site, "full")).values()) == {"success"}
    assert kinds(site) == ["gap", "full", "changes", "full"]
    assert entries(site)[2].backup.cut == entries(site)[3].backup.cut


def test_a_database_that_is_gone_fails_at_once(
    keep: Keep, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("vanished", changes=True)
    with connect(sandbox, "postgres") as connection:
        connection.execute("DROP DATABASE vanished")
    ended = hour(site)
    assert states(ended) == {STEPS[0]: "failed"} | dict.fromkeys(STEPS[1:], "upstream_failed")
    assert tries(ended, STEPS[0]) == 1
    assert "Next:" in caplog.text
    assert f"BACKUP FAILED: run {ended.run_id} of pgkeep_vanished_changes in task collect_changes" in caplog.text
    assert not entries(site)


def test_a_source_that_does_not_answer_is_tried_again(
    keep: Keep, sandbox: Mapping[str, str], sandbox_home: Path
) -> None:
    site = keep("silent", changes=True)
    hour(site)
    step = CollectChangesOperator(task_id="collect_changes", database="silent")
    pid = next(server.pid for server in servers.status(sandbox_home) if server.name == "source")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        step.execute(context())
    servers.up(sandbox_home, airflow=False, isolated=False, report=print)
    insert(sandbox, "silent", 1001)
    assert states(hour(site)) == GREEN
    assert kinds(site) == ["gap", "full", "changes"], "the source has kept what was not collected"


def test_full_backups_only_is_no_dag_of_changes(keep: Keep) -> None:
    site = keep("fullonly")
    with pytest.raises(AirflowFailException, match="keeps full backups only"):
        CollectChangesOperator(task_id="collect_changes", database=site.database.name).execute(context())
