"""Steps run by hand, as Airflow would run them: a context, and records that travel through JSON."""

import json
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from airflow.sdk import Context
from airflow.sdk.execution_time.context import OutletEventAccessors

from in_airflow.world import World
from pgkeep.airflow.operators import (
    BackupStep,
    CheckEncryptionOperator,
    CollectChangesOperator,
    DumpDatabaseOperator,
    RecordOperator,
    ReleaseOperator,
    ReplicateOperator,
)

Record = dict[str, Any]
HOUR = timedelta(hours=1)


def context(*, until: datetime | None = None) -> Context:
    """What a step looks at. `until`: the end of the run's interval; runs by hand may have none."""
    ti = SimpleNamespace(dag_id="pgkeep_shop_full", run_id="manual__1", try_number=2)
    interval = {"data_interval_end": until, "logical_date": until - HOUR} if until else {}
    return cast(Context, {"ti": ti, "outlet_events": OutletEventAccessors(), **interval})


def run(step: BackupStep, *, until: datetime | None = None) -> Record:
    """The record as it arrives at the next task: through JSON."""
    return cast(Record, json.loads(json.dumps(step.execute(context(until=until)))))


def dump(world: World) -> Record:
    return run(DumpDatabaseOperator(task_id="dump_database", database="shop", sites=world.site, patience=0.0))


def collect(world: World, *, until: datetime | None = None) -> Record:
    step = CollectChangesOperator(task_id="collect_changes", database="shop", sites=world.site, patience=0.0)
    return run(step, until=until)


def check(world: World, stored: Record) -> Record:
    return run(CheckEncryptionOperator(task_id="check", database="shop", stored=stored, sites=world.site))


def replicate(world: World, sealed: Record) -> ReplicateOperator:
    return ReplicateOperator(task_id="replicate", database="shop", sealed=sealed, sites=world.site, patience=0.0)


def replicated(world: World, stored: Record) -> Record:
    """Checked and replicated."""
    return run(replicate(world, check(world, stored)))


def record(world: World, replicated: Record, *, until: datetime | None = None) -> Record:
    step = RecordOperator(task_id="record", database="shop", replicated=replicated, sites=world.site, patience=0.0)
    return run(step, until=until)


def release(world: World, entry: Record, outlet: Any) -> OutletEventAccessors:
    """The events that it gives."""
    step = ReleaseOperator(task_id="release", database="shop", entry=entry, sites=world.site, outlets=[outlet])
    events = context()
    step.execute(events)
    return cast(OutletEventAccessors, events["outlet_events"])
