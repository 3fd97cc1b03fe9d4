"""A live Airflow: scheduler, triggerer, dag-processor and api-server as their users run them."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests
from psycopg import sql

from fix_mail import MailSink, mail_sink, text
from fix_node import Node, wait_for
from pgkeep import sandbox as servers
from pgkeep.errors import Unavailable
from pgkeep.sandbox.airflow_client import Airflow, Run
from pgkeep.sandbox.sample import create_sample

PATIENCE = 300.0
MINUTE = timedelta(minutes=1)
PROVEN = """\
scratch = "pgkeep_scratch"
audit_share = 1.0
keep_last = 1
keep_hourly = 0
keep_daily = 0
keep_weekly = 0
keep_monthly = 0
keep_yearly = 0
min_full = 1
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sandbox of its own: peers and tasks are killed here."""
    home = tmp_path_factory.mktemp("with_airflow")
    servers.up(home, airflow=True, isolated=False, report=print)
    settings = home / "pgkeep.toml"  # drills would cost time here, and are looked at elsewhere
    settings.write_text(settings.read_text().replace('scratch = "pgkeep_scratch"\n', ""))
    yield home
    servers.remove(home, report=print)


@pytest.fixture
def operator(home: Path) -> Node:
    servers.up(home, airflow=True, isolated=False, report=print)
    return Node(home=home, environ={**os.environ, **servers.environment(home)})


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A database whose changes are collected every minute; `begin`: its DAG is paused since before that minute."""

    name: str
    begin: datetime

    @property
    def dag(self) -> str:
        return f"pgkeep_{self.name}_changes"


@pytest.fixture(scope="module", autouse=True)
def mails(home: Path) -> Iterator[MailSink]:
    """All that is said to people while this module runs."""
    environ = servers.environment(home)
    path = Path(environ["PGKEEP_CONFIG"])
    with mail_sink() as sink:
        Airflow(environ).connect(json.loads(sink.connection) | {"connection_id": "smtp_default"})
        section = '[alerts]\nmail = ["ops@example.org"]\n\n[databases]\n'
        path.write_text(path.read_text(encoding="utf-8").replace("[databases]\n", section), encoding="utf-8")
        yield sink


@pytest.fixture(scope="module", autouse=True)
def missed(home: Path, mails: MailSink) -> Hours:
    """Windows that nobody collects while the other tests of this module run: the last one looks after them."""
    operator = Node(home=home, environ={**os.environ, **servers.environment(home)})
    name, airflow = new_database(operator, size=1_000_000, changes=True), Airflow(operator.environ)
    wait_for(lambda: pauses(airflow, f"pgkeep_{name}_changes"), patience=PATIENCE)
    begin = this_minute() + MINUTE
    wait_for(lambda: collected(operator, name), patience=PATIENCE)
    return Hours(name=name, begin=begin)


def collected(operator: Node, name: str) -> bool:
    """Whether `pgkeep backup` was done; where the scheduler's first full backup was faster, it says: run it again."""
    process = operator.start("backup", name)
    said = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, 4), said
    return process.returncode == 0


def pauses(airflow: Airflow, dag: str) -> bool:
    """Whether Airflow knows the DAG by now; it is paused then."""
    known = dag in known_dags(airflow)
    if known:
        airflow.pause(dag, paused=True)
    return known


def known_dags(airflow: Airflow) -> set[str]:
    return {str(found["dag_id"]) for found in airflow.get("/dags?limit=100")["dags"]}


def verdicts(operator: Node, name: str) -> dict[int, dict[str, Any]]:
    """The newest verdict on each entry."""
    found = json.loads(operator.pgkeep("list", name, "--json").stdout)["verdicts"]
    return {int(verdict["entry"]): verdict for verdict in found}


def this_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def new_database(operator: Node, *, size: int, changes: bool = False, more: str = "") -> str:
    """`changes`: collected every minute, from now on. `more`: further settings."""
    name = f"kept_{os.urandom(3).hex()}"
    source = f"{operator.environ['PGKEEP_SOURCE_URL']}?passfile={operator.environ['PGPASSFILE']}"
    create_sample(source, dbname=name, size=size, seed=3, report=print)
    operator.pgkeep("init", name, *([] if changes else ["--full-only"]))
    if changes:
        more += 'changes_schedule = "* * * * *"'
    if more:
        configure(operator, name, more.rstrip("\n"))
    return name


def test_a_new_database_is_backed_up_at_once_and_comes_back(operator: Node, mails: MailSink) -> None:
    name, airflow = new_database(operator, size=2_000_000), Airflow(operator.environ)
    run = airflow.first_run(f"pgkeep_{name}_full", patience=PATIENCE)
    states = {task: state for task, state, _ in airflow.follow(run, patience=PATIENCE)}
    steps = ("dump_database", "check_encryption", "replicate", "record", "release")
    assert states == dict.fromkeys(steps, "success")
    wait_for(lambda: f"pgkeep: journal of {name}, version 1" in mails.subjects, patience=PATIENCE)
    (entry,) = operator.entries(name)
    assert entry["copies_now"] == 3
    assert entry["backup"]["origin"]["by"] == f"airflow:{run.dag}/{run.id}/1"
    told = asset_events(airflow, f"pgkeep/{name}/full")
    assert [event["extra"]["entry"] for event in told] == [1]
    assert told[0]["extra"]["rows"] == entry["backup"]["totals"]["rows"]
    operator.pgkeep("restore", name, "--into", operator.target(name))
    assert operator.measure(name, server="SCRATCH") == operator.measure(name)


def test_a_new_full_backup_is_proven_repaired_and_makes_an_older_one_go(operator: Node) -> None:
    """The drill comes by itself, by the full backup's asset; the audit and the retirement as their schedules would."""
    name, airflow = new_database(operator, size=1_000_000, more=PROVEN), Airflow(operator.environ)
    full, drill, audit, retire = (f"pgkeep_{name}_{kind}" for kind in ("full", "drill", "audit", "retire"))
    assert dict(finished(airflow, airflow.first_run(full, patience=PATIENCE)))["release"] == "success"
    wait_for(lambda: {drill, audit, retire} <= known_dags(airflow), patience=PATIENCE)
    assert dict(finished(airflow, airflow.trigger(full, patience=PATIENCE)))["release"] == "success"
    entry = operator.entries(name)[-1]["sequence"]
    wait_for(lambda: started_by(airflow, name, entry=entry, dag=drill) is not None, patience=PATIENCE)
    drilled = started_by(airflow, name, entry=entry, dag=drill)
    assert drilled is not None
    assert dict(finished(airflow, drilled)) == {"drill": "success"}
    proven = verdicts(operator, name)[entry]
    assert proven["origin"]["by"].startswith(f"airflow:{drill}/{drilled.id}/")
    assert [way["failure"] for way in proven["ways"]] == [None]
    assert operator.psql("SELECT count(*) FROM pg_database WHERE datname ~ '_pgkeep_'", server="SCRATCH") == "0"

    cid = operator.dump_of(name)
    operator.flip(cid, peer=2)
    audited = airflow.trigger(audit, patience=PATIENCE)
    assert dict(finished(airflow, audited)) == {"audit": "success"}
    assert any(f"REPAIRED dump of entry {entry} ({cid})" in line for line in airflow.said(audited, "audit"))

    retired = airflow.trigger(retire, patience=PATIENCE)
    assert dict(finished(airflow, retired)) == {"retire": "success"}
    assert [kept["sequence"] for kept in operator.entries(name)] == [entry]


def test_a_missing_peer_is_waited_for_without_a_worker_and_without_a_new_dump(operator: Node) -> None:
    name, airflow = new_database(operator, size=2_000_000), Airflow(operator.environ)
    operator.kill("cluster-3")
    run = airflow.first_run(f"pgkeep_{name}_full", patience=PATIENCE)
    wait_for(lambda: state_of(airflow, run, "replicate") == "deferred", patience=PATIENCE)
    servers.up(operator.home, airflow=True, isolated=False, report=print)
    assert dict(finished(airflow, run))["record"] == "success"
    assert airflow.tasks(run)["dump_database"]["try_number"] == 1
    assert operator.entries(name)[0]["copies_now"] == 3


def test_a_task_killed_inside_its_dump_is_run_again(operator: Node, mails: MailSink) -> None:
    name, airflow = new_database(operator, size=150_000_000), Airflow(operator.environ)
    run = airflow.first_run(f"pgkeep_{name}_full", patience=PATIENCE)
    wait_for(lambda: dumping(name) is not None, patience=PATIENCE)
    task = dumping(name)
    assert task is not None
    task.send_signal(signal.SIGKILL)
    assert dict(finished(airflow, run))["release"] == "success"
    assert airflow.tasks(run)["dump_database"]["try_number"] == 2
    assert [entry["sequence"] for entry in operator.entries(name)] == [1], "one run is one entry"
    assert not [subject for subject in mails.subjects if f"{name}_full" in subject], "nobody is told of a retry"


def test_the_page_is_for_those_who_may_see_it(operator: Node) -> None:
    name = new_database(operator, size=1_000_000)
    operator.pgkeep("backup", name, "--full")
    url = operator.environ["PGKEEP_UI_URL"].rstrip("/") + "/pgkeep/"
    assert requests.get(url, timeout=30).status_code == 401
    airflow = Airflow(operator.environ)
    page = requests.get(url, headers={"Authorization": f"Bearer {airflow.token()}"}, timeout=30)
    assert page.status_code == 200
    assert name in page.text


def test_a_restore_waits_for_another_person_and_replaces_nothing_before(operator: Node, mails: MailSink) -> None:
    name, admin = new_database(operator, size=1_000_000), Airflow(operator.environ)
    configure(operator, name, "approval_by_another = true")
    configure(operator, name, approvers := 'approvers = ["admin", "vera"]')
    dag, vera = f"pgkeep_{name}_restore", Airflow(operator.environ, second=True)
    assert dict(finished(admin, admin.first_run(f"pgkeep_{name}_full", patience=PATIENCE)))["release"] == "success"
    kept = operator.measure(name)
    operator.psql("DELETE FROM session", dbname=name)
    lost = operator.measure(name)
    with pytest.raises(Unavailable, match="Invalid input for param moment"):
        admin.trigger(dag, patience=PATIENCE, params={"moment": "yesterday"})

    entry = operator.entries(name)[-1]["sequence"]
    wish = {"moment": "latest", "server": "production", "replace": True}
    rejected = admin.trigger(dag, patience=PATIENCE, params=wish)
    asked = admin.question(rejected, "approve", patience=PATIENCE)
    assert asked["subject"].startswith(f"Restore {name} into PRODUCTION")
    assert re.search(
        r"what it replaces \| a database of .* tables with about [\d,]+ rows; \d+ connection", asked["body"]
    )
    with pytest.raises(Unavailable, match=r"403 .*not a respondent"):
        admin.answer(rejected, "approve", "Approve")
    vera.answer(rejected, "approve", "Reject")
    skipped = {"plan": "success", "approve": "success", "restore": "skipped"}
    assert dict(finished(admin, rejected)) == skipped
    assert any("vera has rejected it" in line for line in admin.said(rejected, "approve"))
    configure(operator, name, hours := "approval_hours = 0.003")
    unanswered = admin.trigger(dag, patience=PATIENCE, params=wish)
    assert dict(finished(admin, unanswered)) == skipped
    assert any("Nobody has answered in time" in line for line in admin.said(unanswered, "approve"))
    configure(operator, name, "", instead_of=hours)
    operator.pgkeep("backup", name, "--full")
    admin.clear(unanswered, "approve")  # Airflow goes on showing what was asked before
    with pytest.raises(Unavailable, match="ended as failed"):
        dict(finished(admin, unanswered))
    assert any("what it would do has changed since" in line for line in admin.said(unanswered, "approve"))
    assert (operator.measure(name), beside(operator, name)) == (lost, [])

    configure(operator, name, "", instead_of=approvers)
    run = admin.trigger(dag, patience=PATIENCE, params=wish | {"moment": f"entry {entry}"})
    admin.question(run, "approve", patience=PATIENCE)
    wait_for(lambda: mails.subjects.count(f"pgkeep: {dag} waits for an answer") == 3, patience=PATIENCE)
    be_late(operator, run)
    wait_for(lambda: f"pgkeep: {dag} HANGS" in mails.subjects, patience=PATIENCE)
    admin.answer(run, "approve", "Approve")
    again = vera.question(run, "approve", patience=PATIENCE)
    assert any("admin has triggered this run, and somebody else" in line for line in admin.said(run, "approve"))
    assert (again["subject"], operator.measure(name), beside(operator, name)) == (asked["subject"], lost, [])
    vera.answer(run, "approve", "Approve")
    assert dict(finished(admin, run)) == {"plan": "success", "approve": "success", "restore": "success"}
    assert operator.measure(name) == kept
    (old,) = beside(operator, name)
    assert operator.measure(old) == lost


def test_people_are_told_what_is_wrong_and_that_it_is_over(operator: Node, mails: MailSink) -> None:
    """By the callbacks of DAGs, as the dag-processor runs them: another process for each, which remembers nothing."""
    name, airflow = new_database(operator, size=1_000_000), Airflow(operator.environ)
    operator.pgkeep("backup", name, "--full")
    watch = f"pgkeep_{name}_watch"
    configure(operator, name, late := "newest_hours = 0.0000001")
    for _ in range(2):
        run = airflow.trigger(watch, patience=PATIENCE)
        with pytest.raises(Unavailable, match="ended as failed"):
            dict(finished(airflow, run))
    configure(operator, name, "", instead_of=late)
    assert dict(finished(airflow, airflow.trigger(watch, patience=PATIENCE))) == {"watch": "success"}
    told = [f"pgkeep: {watch} FAILED", f"pgkeep: {watch} is well again"]
    wait_for(lambda: told[-1] in mails.subjects, patience=PATIENCE)
    failed, well = (mail for mail in mails.mails if watch in str(mail["subject"]))
    assert [str(failed["subject"]), str(well["subject"])] == told
    assert "the newest moment that can be restored is" in text(failed)
    assert f"{operator.environ['PGKEEP_UI_URL']}/dags/{watch}/runs/" in text(failed)
    assert f"{name} can be restored as it was at" in text(well)


def test_a_bad_night(operator: Node) -> None:
    """A task is killed while it collects, then the scheduler dies for two windows: all of it is made up for."""
    name, airflow = new_database(operator, size=1_000_000, changes=True), Airflow(operator.environ)
    dag, first = f"pgkeep_{name}_changes", this_minute()
    assert dict(finished(airflow, airflow.first_run(f"pgkeep_{name}_full", patience=PATIENCE)))["release"] == "success"
    operator.psql("CREATE TABLE visit (id int PRIMARY KEY); INSERT INTO visit VALUES (1)", dbname=name)
    with locked(operator, name, "visit"):
        airflow.trigger(dag, patience=PATIENCE)
        wait_for(lambda: waiting_task(operator, name) is not None, patience=PATIENCE)
        run, task = running(airflow, dag), waiting_task(operator, name)  # perhaps a scheduled one was faster
        assert task is not None
        task.send_signal(signal.SIGKILL)
    wait_for(lambda: state_of(airflow, run, "collect_changes") == "up_for_retry", patience=PATIENCE)
    operator.kill("airflow-scheduler")
    begin = max(this_minute(), first)
    operator.psql("INSERT INTO visit VALUES (2)", dbname=name)
    wait_for(lambda: this_minute() >= begin + 2 * MINUTE, patience=PATIENCE)
    operator.psql("INSERT INTO visit VALUES (3)", dbname=name)
    servers.up(operator.home, airflow=True, isolated=False, report=print)
    assert dict(finished(airflow, run))["release"] == "success"
    assert airflow.tasks(run)["collect_changes"]["try_number"] == 2
    wait_for(lambda: len(ended(airflow, dag, since=begin, until=begin + 2 * MINUTE)) == 2, patience=PATIENCE)
    rest(airflow, dag)
    # A window that is collected while the full backup is on its way is recorded before it.
    kinds = unbroken(operator, name)
    assert kinds[0] == "gap"
    assert kinds.count("gap") == 1
    assert "full" in kinds
    same(operator, name)


def test_missed_windows_are_backfilled_in_any_order_and_at_once(operator: Node, missed: Hours) -> None:
    """Backfill, the scheduler's own catching up, runs by hand and the command line, while the application works."""
    airflow, name, dag = Airflow(operator.environ), missed.name, missed.dag
    operator.psql("CREATE TABLE visit (id serial PRIMARY KEY, t text)", dbname=name)
    wait_for(lambda: this_minute() >= missed.begin + 3 * MINUTE, patience=PATIENCE)
    begin, end = missed.begin - 6 * MINUTE, missed.begin + 2 * MINUTE  # from before pgkeep knew the database
    with visitors(operator, name):
        backfill(operator, dag, begin, end - MINUTE)
        airflow.pause(dag, paused=False)  # the third window is left to the scheduler
        by_hand = [airflow.trigger(dag, patience=PATIENCE) for _ in range(2)]
        command = operator.start("backup", name)
        wait_for(lambda: len(ended(airflow, dag, since=begin, until=end + MINUTE)) == 9, patience=PATIENCE)
        for run in by_hand:
            assert dict(finished(airflow, run))["release"] == "success", "a run by hand always collects"
        said = command.communicate(timeout=PATIENCE)
        assert command.returncode in (0, 4), said  # 4: another run was faster
    rest(airflow, dag)
    filled = airflow.runs(dag, run_type="backfill")
    assert {run.end for run in filled} >= {begin + i * MINUTE for i in (1, 2, 7, 8)}
    states = [airflow.tasks(run)["collect_changes"]["state"] for run in filled]
    assert set(states) <= {"success", "skipped"}
    skipped = filled[states.index("skipped")]
    assert any(re.search(r"already covered by entry \d+", line) for line in airflow.said(skipped, "collect_changes"))
    operator.pgkeep("backup", name)
    assert set(unbroken(operator, name)) == {"gap", "full", "changes"}
    assert unbroken(operator, name).count("gap") == 1
    same(operator, name)


def configure(operator: Node, name: str, line: str, *, instead_of: str = "") -> None:
    """Writes a line into the database's section, or in the place of one that stands there."""
    path, section = Path(operator.environ["PGKEEP_CONFIG"]), f"[databases.{name}]\n"
    old, new = (instead_of, line) if instead_of else (section, f"{section}{line}\n")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


# --- what the tests look at ------------------------------------------------------------------------------------------


def be_late(operator: Node, run: Run) -> None:
    """The run's deadline is over: days before its time, but by Airflow's own scheduler and triggerer."""
    metadata = operator.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    run_id = "(SELECT id FROM dag_run WHERE run_id = %s)"
    with psycopg.connect(metadata, passfile=operator.environ["PGPASSFILE"]) as connection:
        done = connection.execute(f"UPDATE deadline SET deadline_time = now() WHERE dagrun_id = {run_id}", [run.id])
        assert done.rowcount == 1


def beside(operator: Node, name: str) -> list[str]:
    """What was replaced, or is half-made, beside that database."""
    return operator.psql(f"SELECT datname FROM pg_database WHERE datname ~ '^{name}_'").split()


def unbroken(operator: Node, name: str) -> list[str]:
    """The kinds of all entries; every link begins at the very cut at which the one before it ended."""
    backups = [entry["backup"] for entry in operator.entries(name)]
    links = [backup for backup in backups if backup["link"]]
    for before, after in itertools.pairwise(links):
        assert after["link"]["since"] == before["cut"]
    return [str(backup["kind"]) for backup in backups]


def same(operator: Node, name: str) -> None:
    """The newest moment comes back as it is at the source now."""
    operator.pgkeep("restore", name, "--into", operator.target(name))
    assert operator.measure(name, server="SCRATCH") == operator.measure(name)


def ended(airflow: Airflow, dag: str, *, since: datetime, until: datetime) -> set[datetime]:
    """The windows in that time whose runs, of whatever kind, have ended well."""
    found = airflow.get(f"/dags/{dag}/dagRuns?order_by=-run_after&limit=100&state=success")["dag_runs"]
    ends = [datetime.fromisoformat(run["data_interval_end"]) for run in found if run["data_interval_end"]]
    return {end for end in ends if since < end <= until}


def backfill(operator: Node, dag: str, begin: datetime, last: datetime) -> None:
    """The missing windows that begin from the one moment to the other, three runs at once: Airflow's own command."""
    windows = ["--from-date", begin.isoformat(), "--to-date", last.isoformat()]
    command = [
        sys.executable,
        "-m",
        "airflow",
        "backfill",
        "create",
        "--dag-id",
        dag,
        *windows,
        "--max-active-runs",
        "3",
    ]
    done = subprocess.run(command, env=dict(operator.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def running(airflow: Airflow, dag: str) -> Run:
    """The run that has a task at work at this moment."""
    (task,) = airflow.get(f"/dags/{dag}/dagRuns/~/taskInstances?state=running")["task_instances"]
    return Run(dag=dag, id=str(task["dag_run_id"]))


def rest(airflow: Airflow, dag: str) -> None:
    """Nothing is collected from here on; what has begun is over."""
    airflow.pause(dag, paused=True)
    airflow.wait_until_idle(dag, patience=PATIENCE)


@contextmanager
def locked(operator: Node, name: str, table: str) -> Iterator[None]:
    """Whoever reads that table waits."""
    url = f"{operator.environ['PGKEEP_SOURCE_URL']}/{name}"
    with psycopg.connect(url, passfile=operator.environ["PGPASSFILE"]) as connection:
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
        yield


def waiting_task(operator: Node, name: str) -> psutil.Process | None:
    """The process of Airflow's that waits for a table in that database. (A drill may wait to write the journal.)"""
    port = operator.psql(
        f"SELECT client_port FROM pg_stat_activity WHERE wait_event = 'relation' AND datname = '{name}' LIMIT 1"
    )
    found = [c.pid for c in psutil.net_connections("tcp") if port and c.laddr and c.laddr.port == int(port) and c.pid]
    waiting = psutil.Process(found[0]) if found else None
    return waiting.parent() if waiting and waiting.name() in ("psql", "pg_dump") else waiting


@contextmanager
def visitors(operator: Node, name: str) -> Iterator[None]:
    """An application that commits all the time."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            operator.psql("INSERT INTO visit (t) SELECT 'x' FROM generate_series(1, 5)", dbname=name)
            time.sleep(0.2)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def state_of(airflow: Airflow, run: Run, task: str) -> str | None:
    return str(airflow.tasks(run).get(task, {}).get("state"))


def finished(airflow: Airflow, run: Run) -> Iterator[tuple[str, str]]:
    for task, state, _ in airflow.follow(run, patience=PATIENCE):
        yield task, state


def asset_events(airflow: Airflow, name: str) -> list[Mapping[str, Any]]:
    events: list[Mapping[str, Any]] = airflow.get("/assets/events")["asset_events"]
    return [event for event in events if event["name"] == name]


def started_by(airflow: Airflow, name: str, *, entry: int, dag: str) -> Run | None:
    """The run that the scheduler has started because of that full backup's event."""
    events = [event for event in asset_events(airflow, f"pgkeep/{name}/full") if event["extra"]["entry"] == entry]
    runs = [str(run["run_id"]) for event in events for run in event["created_dagruns"] if run["dag_id"] == dag]
    return Run(dag=dag, id=runs[0]) if runs else None


def dumping(name: str) -> psutil.Process | None:
    """The process of the task that dumps that database: the parent of its pg_dump."""
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "pg_dump" and process.environ().get("PGDATABASE") == name:
                return process.parent()
        except psutil.Error:
            continue
    return None
