"""The page "Backups" in Airflow's own api-server: who may see it, what it shows, and what it never does."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from airflow import plugins_manager
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunType
from fastapi import FastAPI
from sqlalchemy import delete
from starlette.routing import Mount

from in_airflow.api import client
from in_airflow.world import World
from pgkeep import backup
from pgkeep.airflow import page
from pgkeep.airflow.page import JournalReader, create_app
from pgkeep.journal_store import JournalStore
from pgkeep.meter import unwatched
from pgkeep.model import Entry, Origin
from pgkeep.settings import Database

Configure = Callable[..., Path]
WELL = "Nothing is known to be wrong"
LENIENT = Database(name="shop", connection="source", scratch="scratch", newest_hours=1e5, proven_days=1e5)
"""The source that stands in has a clock of its own."""
SCRIPT = "<script>alert(1)</script>"
ORIGIN = Origin(host="node-1", by=f"airflow:{SCRIPT}")


def full(world: World) -> Entry:
    stored = backup.capture(world.source, world.sealer, world.vault, world.journals, origin=ORIGIN)
    sealed = backup.check(stored, world.sealer, world.vault)
    replicated = backup.replicate(sealed, world.vault, copies=3, patience=0.0)
    return backup.record(replicated, world.source, world.journals, world.vault)


def shown(server: FastAPI, journals: Mapping[str, JournalStore], *databases: Database, seconds: float = 20.0) -> str:
    """The page over these journals, mounted as Airflow mounts it, as the administrator sees it."""
    page = Mount(
        "/tried", create_app(lambda: journals, lambda: {each.name: each for each in databases}, seconds=seconds)
    )
    server.router.routes.insert(0, page)
    try:
        answer = client(server, "admin").get("/tried/")
    finally:
        server.router.routes.remove(page)
    assert answer.status_code == 200
    assert SCRIPT not in answer.text
    return str(answer.text)


def test_one_plugin_without_import_errors() -> None:
    plugins_manager.ensure_plugins_loaded()
    assert not plugins_manager.get_import_errors()
    (plugin,) = [p for p in plugins_manager.get_plugin_info() if p["name"] == "pgkeep"]
    assert plugin["external_views"][0]["name"] == "Backups"


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/openapi.json", "/anything"])
def test_strangers_see_nothing(server: FastAPI, path: str) -> None:
    assert client(server).get(f"/pgkeep{path}").status_code == (401 if path == "/" else 404)


def test_a_forged_token_is_refused(server: FastAPI) -> None:
    answer = client(server).get("/pgkeep/", headers={"Authorization": "Bearer x.y.z"})
    assert answer.status_code in (401, 403)


@pytest.mark.parametrize("user", ["admin", "vera"])
def test_users_who_may_see_plugins_see_it(server: FastAPI, configure: Configure, user: str) -> None:
    configure(f"shop {SCRIPT}")
    answer = client(server, user).get("/pgkeep/")
    assert answer.status_code == 200
    assert SCRIPT not in answer.text
    assert "shop &lt;script&gt;" in answer.text
    assert "Next:" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_it_is_read_only(server: FastAPI) -> None:
    admin = client(server, "admin")
    assert {admin.request(method, "/pgkeep/").status_code for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}


def test_a_broken_configuration_is_shown(server: FastAPI, configure: Configure) -> None:
    configure("shop").write_text("copies =", encoding="utf-8")
    answer = client(server, "admin").get("/pgkeep/")
    assert answer.status_code == 200
    assert "is not TOML" in answer.text


def test_entries_newest_first(server: FastAPI, world: World) -> None:
    full(world)
    entry = full(world)
    text = shown(server, {"shop": world.journals})
    assert text.index('<td class="number">2</td>') < text.index('<td class="number">1</td>')
    assert entry.backup.cut.time[:10] in text
    assert "3 of 3" in text
    assert "alice, bob, carol" in text
    assert "airflow:&lt;script&gt;" in text


def test_at_a_glance_what_is_well(server: FastAPI, world: World) -> None:
    full(world)
    world.site("shop").drill(origin=ORIGIN, watch=unwatched)
    world.site("shop").audit(patience=0.0, watch=unwatched).run()
    text = shown(server, {"shop": world.journals})
    assert "Nothing is known to be wrong" in text
    assert "came back equal in" in text
    assert "never" not in text
    assert "needs somebody" not in text


def test_at_a_glance_what_is_to_be_done(server: FastAPI, world: World) -> None:
    full(world)
    other = World()
    full(other)
    other.site("shop").drill(origin=ORIGIN, watch=unwatched)
    other.site("shop").audit(patience=0.0, watch=unwatched).run()
    text = shown(server, {"new": world.journals, "old": other.journals})
    assert "<strong>1 of 2</strong> database needs somebody" in text
    assert "<strong>new</strong>: restore one to see: pgkeep drill shop" in text
    assert "<strong>new</strong>: have the peers show what they hold: pgkeep audit shop" in text
    assert "<strong>old</strong>:" not in text


def test_at_a_glance_what_is_too_old(server: FastAPI, world: World) -> None:
    """By the limits of its settings, as the watch judges."""
    full(world)
    world.site("shop").drill(origin=ORIGIN, watch=unwatched)
    world.site("shop").audit(patience=0.0, watch=unwatched).run()
    long = 1e5  # the source that stands in has a clock of its own
    database = Database(name="shop", connection="source", scratch="scratch", newest_hours=long, proven_days=long)
    assert "Nothing is known to be wrong" in shown(server, {"shop": world.journals}, database)
    strict = replace(database, newest_hours=1e-7, audit_days=1e-8)
    text = shown(server, {"shop": world.journals}, strict)
    assert "<strong>1 of 1</strong> database needs somebody" in text
    assert "the newest moment that can be restored is" in text
    assert "the last audit ended at" in text
    assert "that a drill has proven is" not in text


def test_at_a_glance_what_an_audit_left_damaged(server: FastAPI, world: World) -> None:
    entry = full(world)
    world.site("shop").drill(origin=ORIGIN, watch=unwatched)
    world.vault.peers[2].worn = True
    world.vault.peers[2].lose(entry.backup.parts[0].cid)
    assert world.site("shop").audit(share=1.0, patience=0.0, watch=unwatched).run().wrong
    database = Database(name="shop", connection="source", scratch="scratch", newest_hours=1e5, proven_days=1e5)
    text = shown(server, {"shop": world.journals}, database)
    assert "<strong>1 of 1</strong> database needs somebody" in text
    assert "its copy at carol is damaged, and could not be repaired" in text
    assert "pgkeep audit shop --share 1" in text


@pytest.mark.parametrize(
    ("dag", "ended", "said"),
    [
        ("watch", ("success", 5), WELL),
        ("watch", ("failed", 5), "the watch failed 5 min ago. Next: read the log of pgkeep_shop_watch"),
        ("watch", ("success", 150), "the watch has not looked for 2 h 30 min"),
        ("watch", ("running", 150), WELL),
        ("full", ("failed", 180), "the full backup failed 3 h ago. Next: read the log of pgkeep_shop_full"),
        ("changes", ("failed", 5), "the collection of changes failed 5 min ago. Next: read the log of pgkeep_shop_c"),
        ("drill", ("failed", 5), "the drill failed 5 min ago. Next: read the log of pgkeep_shop_drill"),
        ("audit", ("failed", 5), "the audit failed 5 min ago. Next: read the log of pgkeep_shop_audit"),
        ("retire", ("failed", 180), "the retirement failed 3 h ago. Next: read the log of pgkeep_shop_retire"),
        ("retire", ("success", 10_000), WELL),
        ("restore", ("failed", 5), WELL),
        ("of_another_retire", ("failed", 5), WELL),
    ],
)
def test_at_a_glance_how_the_last_runs_ended(
    server: FastAPI, world: World, dag: str, ended: tuple[str, int], said: str
) -> None:
    with runs_of(f"pgkeep_shop_{dag}", ended):
        text = shown(server, {"shop": kept_well(world)}, LENIENT)
    assert said in text
    assert ("needs somebody" in text) != (WELL in text)


def test_at_a_glance_only_the_last_run_counts(server: FastAPI, world: World) -> None:
    journals = kept_well(world)
    with runs_of("pgkeep_shop_retire", ("failed", 90), ("success", 30), ("running", 5)):
        assert WELL in shown(server, {"shop": journals}, LENIENT)
    with runs_of("pgkeep_shop_retire", ("success", 90), ("failed", 30), ("running", 5)):
        assert "the retirement failed 30 min ago" in shown(server, {"shop": journals}, LENIENT)


def test_at_a_glance_a_dag_that_is_no_more_has_not_failed(server: FastAPI, world: World) -> None:
    with runs_of("pgkeep_shop_drill", ("failed", 5), stale=True):
        assert WELL in shown(server, {"shop": kept_well(world)}, LENIENT)


def kept_well(world: World) -> JournalStore:
    full(world)
    world.site("shop").drill(origin=ORIGIN, watch=unwatched)
    world.site("shop").audit(patience=0.0, watch=unwatched).run()
    return world.journals


@contextmanager
def runs_of(dag_id: str, *ended: tuple[str, int], stale: bool = False) -> Iterator[None]:
    """Airflow knows these runs of that DAG meanwhile: their states, and the minutes since they ended."""
    with create_session() as session:
        session.add(DagBundleModel(name="tried"))
        session.flush()
        dag = DagModel(dag_id=dag_id, bundle_name="tried", is_stale=stale)  # type: ignore[no-untyped-call]
        session.add(dag)
        session.flush()
        for number, (state, minutes) in enumerate(ended):
            run = DagRun(
                dag_id=dag_id, run_id=f"tried-{number}", state=DagRunState(state), run_type=DagRunType.SCHEDULED
            )
            run.end_date = None if state == "running" else datetime.now(UTC) - timedelta(minutes=minutes)
            session.add(run)
    try:
        yield
    finally:
        with create_session() as session:
            session.execute(delete(DagRun).where(DagRun.dag_id == dag_id))
            session.execute(delete(DagModel).where(DagModel.dag_id == dag_id))
            session.execute(delete(DagBundleModel).where(DagBundleModel.name == "tried"))


def test_no_backup_yet_and_no_journal_yet(server: FastAPI, world: World) -> None:
    nothing = replace(world.journals, database="empty")
    text = shown(server, {"shop": world.journals, "empty": nothing})
    assert "has no backup yet" in text
    assert "pgkeep backup shop --full" in text
    assert "pgkeep init empty" in text


def test_no_database_yet(server: FastAPI) -> None:
    assert "pgkeep init NAME" in shown(server, {})


def test_a_broken_journal_does_not_hide_the_others(server: FastAPI, world: World) -> None:
    full(world)
    broken = World()
    for peer in broken.vault.peers:
        peer.objects = {cid: content[:-9] for cid, content in peer.objects.items()}
    text = shown(server, {"bad": broken.journals, "shop": world.journals})
    assert "is not valid" in text
    assert "3 of 3" in text


@dataclass(frozen=True)
class Slow:
    """A journal whose peers take their time."""

    seconds: float

    @property
    def search(self) -> object:
        time.sleep(self.seconds)
        raise AssertionError("nobody waits for this")


def test_a_slow_journal_is_not_waited_for(server: FastAPI, world: World) -> None:
    full(world)
    text = shown(server, {"slow": cast(JournalStore, Slow(1.0)), "shop": world.journals}, seconds=0.3)
    assert "did not give the journal of slow within 0.3 s" in text
    assert "3 of 3" in text


def test_a_journal_that_two_ask_for_at_once_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hesitating(ThreadPoolExecutor):
        """It lets others come in between."""

        def submit(self, *args: Any, **more: Any) -> Future[Any]:
            time.sleep(0.2)
            begun.append(args)
            return super().submit(*args, **more)

    begun = list[Any]()
    monkeypatch.setattr(page, "ThreadPoolExecutor", Hesitating)
    reader, slow = JournalReader(0.1), {"slow": cast(JournalStore, Slow(1.0))}
    with ThreadPoolExecutor() as people:
        for _ in range(3):
            people.submit(reader.sections, slow, {})
    assert len(begun) == 1
