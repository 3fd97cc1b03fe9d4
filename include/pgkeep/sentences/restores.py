"""The way back, before it is gone and afterwards."""

from collections.abc import Iterator

from pgkeep.plan import RecoveryPlan
from pgkeep.ports import Occupant
from pgkeep.progress import human_size, human_time
from pgkeep.restore import Restored

from .steps import summary
from .words import counted, moment

APPLIED = 20_000
"""Changes that a target is expected to apply in a second."""


def planned(plan: RecoveryPlan) -> Iterator[str]:
    """The way back, one line for each step, and what has to be read for it."""
    yield f"restore entry {plan.base.sequence}: {summary(plan.base.backup)}, {human_size(plan.base.backup.size)}"
    for step in plan.steps:
        yield f"apply entry {step.sequence}: {summary(step.backup)}, {human_size(step.backup.size)}"
    if plan.stop:
        where = (
            f"before the first transaction committed at or after {plan.stop.time}"
            if plan.stop.time
            else (f"after transaction {plan.stop.xid}")
        )
        yield f"stop within entry {plan.last.sequence}, {where}"
    changes = sum(step.backup.link.changes for step in plan.steps if step.backup.link)
    took = plan.base.backup.seconds
    yield f"{human_size(plan.size)} to read and decrypt"
    yield (
        f"about {human_time(took + changes / APPLIED)}: as long as the full backup took ({human_time(took)}), and "
        f"{counted(changes, 'change')} at {APPLIED:,} a second"
    )


def foreseen(label: str, standing: Occupant | None, *, replace: bool) -> str:
    """That nothing of what was looked at is in the way, and what is to be replaced."""
    there = "no database has that name there" if standing is None else "an empty database has that name there"
    if standing is not None and replace:
        there = "the database there would be replaced, and stay beside it under a dated name if there is anything in it"
    return f"{label}: {there}; its version, its roles and the private key will do. Nothing was changed"


def restored_line(restored: Restored, label: str) -> str:
    """One line that says what came back, and what was compared."""
    kept = f"; what was there is now {restored.replaced}" if restored.replaced else ""
    return (
        f"{label}: restored from {_way(restored.plan)}, and {_compared(restored)} "
        f"(restored in {human_time(restored.restore_seconds)}, compared in {human_time(restored.verify_seconds)}){kept}"
    )


def _compared(restored: Restored) -> str:
    """What was proven. Where no table could be compared, that is said first: `0 of 0` would read as a proof."""
    totals = restored.expected.totals
    others = f"{counted(totals.sequences, 'sequence')} and {counted(totals.large_objects, 'large object')}"
    if not totals.tables:
        equal = f"; equal to its source in {others}" if totals.sequences or totals.large_objects else ""
        return f"NO TABLE WAS COMPARED: {_nothing_to_compare(restored.tables)}{equal}"
    unsure = restored.tables - totals.tables
    changed = f" ({counted(unsure, 'table')} changed since last measured: not compared)" if unsure > 0 else ""
    return (
        f"equal to its source in {counted(totals.rows, 'row')} of {counted(totals.tables, 'table')}{changed}, {others}"
    )


def _nothing_to_compare(tables: int) -> str:
    if not tables:
        return "it has none"
    return (
        f"{counted(tables, 'table')} came back, of which none was measured at that moment (after DDL, within an entry, "
        "or beyond measured_mb); what a full backup shows is compared whole"
    )


def _way(plan: RecoveryPlan) -> str:
    steps = f" and the changes up to entry {plan.last.sequence}" if plan.steps else ""
    if plan.stop is None:
        return f"entry {plan.base.sequence}{steps} as of {moment(plan.last.backup.cut.time)}"
    until = f"before {plan.stop.time}" if plan.stop.time else f"through transaction {plan.stop.xid}"
    return f"entry {plan.base.sequence}{steps}, {until}"
