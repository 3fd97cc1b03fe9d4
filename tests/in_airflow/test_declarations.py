"""The DAG files as Airflow reads them: what they declare, and that reading them is quick, quiet and never silent."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, AssetAll, CronDataIntervalTimetable
from airflow.sdk.exceptions import ParamValidationError

from in_airflow.home import ROOT
from pgkeep import approval
from pgkeep.airflow.assets import backups, either
from pgkeep.plan import Point

Configure = Callable[..., Path]
NAMES = ("shop", 'we"ird Name', "Ünïcode 数据", "a" * 63, "{{ shop }}", "a/b")
STORIES, MAILED = 7, 1
"""`MAILED`: only where somebody is named to mail to."""
# Run in a process of its own: what a parse imports and asks for must not depend on what ran before it.
PARSE = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
asked = []
sys.addaudithook(lambda event, args: asked.append(event) if event in
    ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "sqlite3.connect") else None)
started = time.monotonic()
bag = DagBag(sys.argv[1])
heavy = [name for name in ("psycopg", "requests", "gnupg", "aiosmtplib", "pgkeep.adapters", "pgkeep.wiring")
    if name in sys.modules]
import json
print(json.dumps({"dags": len(bag.dags), "asked": asked, "heavy": heavy, "seconds": time.monotonic() - started}))
"""


@pytest.fixture
def dags(configure: Configure) -> dict[str, DAG]:
    configure(*NAMES)
    bag = DagBag(str(ROOT / "dags"))
    assert not bag.import_errors
    return bag.dags


def test_one_dag_for_each_database(dags: dict[str, DAG]) -> None:
    assert len(dags) == STORIES * len(NAMES)
    assert {
        f"pgkeep_shop_{story}" for story in ("full", "changes", "drill", "retire", "audit", "restore", "watch")
    } <= dags.keys()
    assert {getattr(task, "database", None) for dag in dags.values() for task in dag.tasks} == set(NAMES)


def first_task(dag: DAG) -> str:
    return "dump_database" if "full" in dag.tags else "collect_changes"


def making_backups(dags: dict[str, DAG]) -> list[DAG]:
    return [dag for dag in dags.values() if "backup" in dag.tags]


def test_each_dag_tells_the_story_in_order(dags: dict[str, DAG]) -> None:
    for dag in making_backups(dags):
        assert {step: dag.get_task(step).downstream_task_ids for step in dag.task_ids} == {
            first_task(dag): {"check_encryption"},
            "check_encryption": {"replicate"},
            "replicate": {"record"},
            "record": {"release"},
            "release": set(),
        }


def test_each_dag_is_ready_for_bad_days(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert "pgkeep" in dag.tags
        assert dag.tags & {"backup", "drill", "retention", "audit", "restore", "watch"}
        assert dag.on_failure_callback
        assert dag.on_success_callback
        assert (dag.catchup, dag.max_active_runs) == (False, 16 if "restore" in dag.tags else 1)
        assert dag.doc_md
        assert dag.start_date
        for task in dag.tasks:
            assert task.owner == "pgkeep"
            assert task.retries is not None
            assert task.retries >= 2
            assert task.retry_exponential_backoff
            assert task.max_retry_delay


def test_where_somebody_is_told_runs_that_hang_are_and_journals_are_mailed(configure: Configure) -> None:
    path = configure("shop")
    assert not any(dag.deadline for dag in DagBag(str(ROOT / "dags")).dags.values()), "nobody would be told"
    path.write_text(path.read_text(encoding="utf-8") + '\n[alerts]\nmail = ["ops@example.org"]\n', encoding="utf-8")
    dags = DagBag(str(ROOT / "dags")).dags
    assert len(dags) == STORIES + MAILED
    assert all(dag.deadline for dag in dags.values())
    late = dags["pgkeep_shop_restore"].deadline
    assert isinstance(late, list)
    assert late[0].interval == timedelta(hours=24 + 24), "it waits for a person first"
    mailed = dags["pgkeep_shop_journal"].timetable.asset_condition
    assert mailed == AssetAll(backups("shop", "full")), "whoever has made it"


def test_the_watch_looks_twice_an_hour(dags: dict[str, DAG]) -> None:
    dag = dags["pgkeep_shop_watch"]
    assert dag.timetable == CronDataIntervalTimetable("15,45 * * * *", timezone="UTC")
    assert dag.get_task("watch").queue != "keys", "it needs no recipient's key"
    assert dag.get_task("watch").inlets == [backups("shop", "full")]


def test_each_dag_has_an_asset_of_its_own(dags: dict[str, DAG]) -> None:
    outlets = [tuple(dag.get_task("release").outlets) for dag in making_backups(dags)]
    wanted = [(asset,) for name in NAMES for asset in (backups(name, "full"), either(name))]
    assert sorted(outlets, key=str) == sorted(wanted, key=str)
    assert len({str(asset) for (asset,) in outlets}) == 2 * len(NAMES)
    assert backups("shop", "full").name == "pgkeep/shop/full"
    assert backups("Shop", "full").uri != backups("shop", "full").uri


def test_an_audit_is_one_task_once_a_day(dags: dict[str, DAG]) -> None:
    audits = [dag for dag in dags.values() if "audit" in dag.tags]
    assert len(audits) == len(NAMES)
    assert {tuple(dag.task_ids) for dag in audits} == {("audit",)}
    assert {str(dag.timetable) for dag in audits} == {str(CronDataIntervalTimetable("30 5 * * *", timezone="UTC"))}


def test_an_audit_is_scheduled_by_its_own_setting(configure: Configure) -> None:
    path = configure("shop")
    own = 'audit_schedule = "@weekly"\naudit_share = 1\n'
    path.write_text(path.read_text(encoding="utf-8") + "\n" + own, encoding="utf-8")
    dag = DagBag(str(ROOT / "dags")).dags["pgkeep_shop_audit"]
    assert dag.timetable == CronDataIntervalTimetable("@weekly", timezone="UTC")


def test_changes_are_collected_from_the_first_day_on(configure: Configure) -> None:
    path = configure("shop")
    own = 'begins = 2026-01-31T14:05:00Z\nchanges_schedule = "30 * * * *"\n'
    path.write_text(path.read_text(encoding="utf-8") + "\n" + own, encoding="utf-8")
    dag = DagBag(str(ROOT / "dags")).dags["pgkeep_shop_changes"]
    assert dag.timetable == CronDataIntervalTimetable("30 * * * *", timezone="UTC")
    assert dag.catchup
    assert dag.start_date == datetime(2026, 1, 31, 13, 30, tzinfo=UTC), "the window that had begun is collected, too"


def test_windows_begin_by_the_clock_of_the_database(configure: Configure) -> None:
    path = configure("shop")
    own = 'begins = 2026-07-01T01:00:00Z\nchanges_schedule = "@daily"\ntimezone = "Europe/Brussels"\n'
    path.write_text(path.read_text(encoding="utf-8") + "\n" + own, encoding="utf-8")
    dag = DagBag(str(ROOT / "dags")).dags["pgkeep_shop_changes"]
    assert dag.start_date == datetime(2026, 6, 30, 22, 0, tzinfo=UTC)


def test_a_database_with_full_backups_only(configure: Configure) -> None:
    path = configure("shop")
    path.write_text(path.read_text(encoding="utf-8") + '\ncapture = "none"\n', encoding="utf-8")
    assert set(DagBag(str(ROOT / "dags")).dags) == {
        f"pgkeep_shop_{story}" for story in ("full", "drill", "retire", "audit", "restore", "watch")
    }


def test_a_drill_follows_every_full_backup_where_the_keys_are(dags: dict[str, DAG]) -> None:
    for name in NAMES:
        (dag,) = [d for d in dags.values() if "drill" in d.tags and getattr(d.tasks[0], "database", None) == name]
        assert dag.timetable.asset_condition == AssetAll(backups(name, "full"))
        assert dag.get_task("drill").queue == "keys"
    assert dags["pgkeep_shop_retire"].get_task("retire").queue != "keys"


def test_a_restore_asks_before_and_runs_where_the_keys_are(dags: dict[str, DAG]) -> None:
    for name in NAMES:
        (dag,) = [d for d in dags.values() if "restore" in d.tags and getattr(d.tasks[0], "database", None) == name]
        assert str(dag.schedule) == "None"
        assert {step: dag.get_task(step).downstream_task_ids for step in dag.task_ids} == {
            "plan": {"approve"},
            "approve": {"restore"},
            "restore": set(),
        }
        assert [dag.get_task(step).queue == "keys" for step in ("plan", "approve", "restore")] == [False, False, True]
        assert dag.params.dump() == {
            "moment": "latest",
            "server": "scratch",
            "dbname": name,
            "replace": False,
            "stale": False,
        }


@pytest.mark.parametrize(
    "asked",
    [
        {"moment": "yesterday"},
        {"moment": "2026-01-31T14:05:00"},
        {"moment": ""},
        {"server": "elsewhere"},
        {"dbname": ""},
        {"dbname": "a" * 64},
        {"replace": "yes"},
        {"moment": None},
    ],
)
def test_what_a_form_may_not_say(dags: dict[str, DAG], asked: dict[str, object]) -> None:
    params = dags["pgkeep_shop_restore"].params
    with pytest.raises(ParamValidationError):
        params.update(asked)


@pytest.mark.parametrize("moment", ["entry 3", "xid 812", "2026-01-31T14:05:00Z", "2026-01-31 15:05:00.5+01:00"])
def test_moments_that_a_form_takes_are_those_that_are_understood(dags: dict[str, DAG], moment: str) -> None:
    params = dags["pgkeep_shop_restore"].params
    params["moment"] = moment
    assert params.validate()["moment"] == moment
    assert approval.point(moment) != Point()


def test_the_owner_leads_to_the_runbook(configure: Configure) -> None:
    path = configure("shop", "crm")
    own = path.read_text(encoding="utf-8") + 'runbook = "https://wiki.example/crm"\n'
    path.write_text(own, encoding="utf-8")
    for dag in DagBag(str(ROOT / "dags")).dags.values():
        owned = dag.owner_links or {}
        assert owned == ({"pgkeep": "https://wiki.example/crm"} if "_crm_" in dag.dag_id else {})
        assert set(owned) <= {task.owner for task in dag.tasks}


def test_without_a_scratch_server_there_is_no_drill(configure: Configure) -> None:
    path = configure("shop")
    path.write_text(path.read_text(encoding="utf-8").replace('scratch = "nobody_scratch"\n', ""), encoding="utf-8")
    dags = DagBag(str(ROOT / "dags")).dags
    assert "pgkeep_shop_drill" not in dags
    assert dags["pgkeep_shop_restore"].params["server"] == "production", "there is no other"


def test_retention_runs_when_the_file_says_so(configure: Configure) -> None:
    path = configure("shop")
    path.write_text(path.read_text(encoding="utf-8") + '\nretire_schedule = "30 7 * * *"\n', encoding="utf-8")
    dag = DagBag(str(ROOT / "dags")).dags["pgkeep_shop_retire"]
    assert dag.timetable == CronDataIntervalTimetable("30 7 * * *", timezone="UTC")


def test_schedule_and_timezone_are_the_database_s_own(configure: Configure) -> None:
    path = configure("shop")
    own = 'full_schedule = "30 4 * * 7"\ntimezone = "Europe/Brussels"\n'
    path.write_text(path.read_text(encoding="utf-8") + "\n" + own, encoding="utf-8")
    dag = DagBag(str(ROOT / "dags")).dags["pgkeep_shop_full"]
    assert dag.timetable == CronDataIntervalTimetable("30 4 * * 7", timezone="Europe/Brussels")


@pytest.mark.parametrize("content", ["not toml", "[vault]\ncopies = 0\n", None])
def test_a_broken_file_is_an_import_error(configure: Configure, content: str | None) -> None:
    path = configure("shop")
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="utf-8")
    bag = DagBag(str(ROOT / "dags"))
    assert not bag.dags
    assert len(bag.import_errors) == STORIES + MAILED, "every file says so"
    for error in bag.import_errors.values():
        assert "ConfigError" in error
        assert "Next:" in error


def test_a_forgotten_variable_is_an_import_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGKEEP_CONFIG", raising=False)
    errors = DagBag(str(ROOT / "dags")).import_errors.values()
    assert errors
    assert all("PGKEEP_CONFIG is not set" in error for error in errors)


def test_no_database_yet_is_no_error(configure: Configure) -> None:
    configure()
    bag = DagBag(str(ROOT / "dags"))
    assert not bag.dags
    assert not bag.import_errors


def test_a_parse_asks_nobody_and_loads_no_driver(configure: Configure) -> None:
    configure(*NAMES)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE, str(ROOT / "dags")],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["dags"] == STORIES * len(NAMES)
    assert found["asked"] == []
    assert found["heavy"] == []


def test_the_plugins_folder_holds_one_thin_file() -> None:
    assert [path.name for path in (ROOT / "plugins").rglob("*.py")] == ["pgkeep_plugin.py"]
