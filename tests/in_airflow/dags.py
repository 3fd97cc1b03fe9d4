"""The DAGs over real servers, run by Airflow in this process."""

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.utils.session import create_session
from psycopg import sql
from sqlalchemy import select

from in_airflow.home import ROOT
from pgkeep import settings
from pgkeep.airflow.hooks import SiteHook
from pgkeep.model import Entry
from pgkeep.settings import VARIABLE
from pgkeep.site import Site

Keep = Callable[..., Site]

_numbers = itertools.count()


class Kept:
    """Databases of a sandbox that pgkeep knows."""

    def __init__(self, sandbox: Mapping[str, str]) -> None:
        self.sandbox = sandbox
        self.sites: list[Site] = []

    def make(self, name: str, *, changes: bool = False) -> Site:
        """A database of that name with a few rows, and its journal, as `pgkeep init` would."""
        with connect(self.sandbox, "postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with connect(self.sandbox, name) as connection:
            connection.execute("CREATE TABLE document (i int PRIMARY KEY, text text)")
            connection.execute("INSERT INTO document SELECT i, md5(i::text) FROM generate_series(1, 500) i")
        settings.add_database(self.sandbox[VARIABLE], name, {} if changes else {"capture": "none"})
        site = SiteHook().site(name)
        site.journals.begin()
        self.sites.append(site)
        return site

    def release_servers(self) -> None:
        """No slot of these databases keeps WAL any more."""
        with connect(self.sandbox, "postgres") as connection:
            for site in self.sites:
                name = site.database.dbname
                connection.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [name]
                )


def configure(sandbox: Mapping[str, str], name: str, more: str) -> None:
    """Puts further settings into that database's section."""
    path = Path(sandbox[VARIABLE])
    section = f"[databases.{name}]\n"
    path.write_text(path.read_text(encoding="utf-8").replace(section, section + more), encoding="utf-8")


def connect(environ: Mapping[str, str], name: str) -> psycopg.Connection[Any]:
    return psycopg.connect(f"{environ['PGKEEP_SOURCE_URL']}/postgres", dbname=name, autocommit=True)


def run(site: Site, kind: str, *, until: datetime | None = None) -> DagRun:
    """One run of the database's DAG. `until`: the end of its data interval; without it, a run by hand."""
    dag = dag_of(site, kind)
    dag.deadline = None  # `dag.test` of Airflow 3.3.2 fails at the end of a run that has one
    if until is None:
        return cast(DagRun, dag.test(logical_date=None))
    # Airflow infers the interval that has ended at the logical date; each run needs a date of its own.
    return cast(DagRun, dag.test(logical_date=until + timedelta(milliseconds=next(_numbers))))


def dag_of(site: Site, kind: str) -> DAG:
    bag = DagBag(str(ROOT / "dags"))
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(bag, "dags-folder", None)
    return bag.dags[f"pgkeep_{site.database.slug}_{kind}"]


def the_hour(*, ago: int = 0) -> datetime:
    """The last full hour; `ago`: hours before it, or (negative) after it."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=ago)


def states(ended: DagRun) -> dict[str, str | None]:
    return {ti.task_id: ti.state for ti in ended.get_task_instances()}


def tries(ended: DagRun, task: str) -> int:
    ti = ended.get_task_instance(task)
    assert ti is not None
    return ti.try_number


def handed_on(ended: DagRun, task: str) -> Any:
    ti = ended.get_task_instance(task)
    assert ti is not None
    return ti.xcom_pull(task_ids=task)


def asset_events(ended: DagRun) -> list[tuple[str, dict[str, Any]]]:
    """Name and extra of each event that a run has given."""
    with create_session() as session:
        found = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == ended.run_id)).all()
        return [(event.asset.name, dict(event.extra)) for event in found]


def entries(site: Site) -> tuple[Entry, ...]:
    return site.journals.head().journal.entries
