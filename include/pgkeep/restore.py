"""How a database comes back. Read it top to bottom.

    find the journal -> plan -> find whole copies -> restore beside -> apply the changes -> compare -> take the place

Reading goes the other way than writing: journal, then entries, then vault. Nothing is decrypted before its ciphertext
has been read once and found to be exactly what the signed journal names.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pgkeep import records
from pgkeep.copies import ciphertext, whole_copy
from pgkeep.delta import until
from pgkeep.errors import LISTED, Corrupted, NotRestorable
from pgkeep.inventory import Inventory, SequenceState, TableName, Update, differences, updated
from pgkeep.meter import Meter, unwatched
from pgkeep.model import Entry, Part, PartName
from pgkeep.plan import RecoveryPlan, Stop
from pgkeep.ports import Fresh, Holdings, Opener, Refused, Target, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was brought back and compared. `expected`: what the source is known to have held at that moment.

    `tables`: how many came back; all of them were compared if `expected` has as many. `replaced`: the name under which
    the old database stays, if any.
    """

    plan: RecoveryPlan
    expected: Inventory
    tables: int
    replaced: str | None
    restore_seconds: float
    verify_seconds: float


def restore(
    plan: RecoveryPlan,
    sealer: Opener,
    vault: Holdings,
    target: Target,
    *,
    replace: bool = False,
    stale: bool = False,
    before_place: Callable[[Fresh], None] = lambda _: None,
    watch: Watch = unwatched,
) -> Restored:
    """Brings a database back into `target`, proves it equal to its source, and only then gives it the target's name.

    `stale`: tables that are carried at the cuts only may show the cut before a stop between two transactions.
    `before_place`: called with what was proven, right before it takes the target's name; what it raises comes out.

    On any error before that the target is as it was; roles that were missing there may have been made. Raises
    Corrupted (bytes, or the comparison), NotRestorable, Unavailable, ConfigError (target not empty, private key
    missing, privileges).
    """
    base, expected = rehearse(plan, sealer, vault, target, replace=replace, stale=stale)
    started = time.monotonic()
    with target.fresh(expected) as fresh:
        fill(fresh, plan, sealer, vault, sequences=base.sequences, watch=watch)
        loaded = time.monotonic()
        came_back = fresh.inventory(expected)
        require_equal(plan, source=expected, restored=came_back)
        verified = time.monotonic()
        before_place(fresh)
        replaced = fresh.take_place(replace=replace)
    return Restored(
        plan=plan,
        expected=expected,
        tables=len(came_back.tables),
        replaced=replaced,
        restore_seconds=round(loaded - started, 3),
        verify_seconds=round(verified - loaded, 3),
    )


def rehearse(
    plan: RecoveryPlan, sealer: Opener, vault: Holdings, target: Target, *, replace: bool, stale: bool
) -> tuple[Inventory, Inventory]:
    """All that a restore looks at before it writes anything. What the source held at the full backup, and at the end.

    Raises as `restore`: what that would refuse.
    """
    require_exact(plan, stale=stale)
    target.require_free(replace=replace)
    base = read_inventory(plan.base, sealer, vault)
    expected = expect(plan, base, sealer, vault)
    require_private_key(plan.base, sealer, vault)
    target.require_able(expected)
    return base, expected


def require_exact(plan: RecoveryPlan, *, stale: bool) -> None:
    """Raises NotRestorable if the plan ends between two transactions and some tables are carried at the cuts only."""
    link = plan.last.backup.link
    if plan.stop and link and link.stale and not stale:
        before = (plan.base, *plan.steps)[-2]
        raise NotRestorable(
            f"within entry {plan.last.sequence}, {', '.join(link.stale)} cannot be brought to that very moment "
            "(tables without a primary key are carried at the end of each entry only)",
            next_step=f"accept them as of {before.backup.cut.time} with `stale`, or restore all of it to that moment: "
            f"`entry {before.sequence}`, or to {plan.last.backup.cut.time}: `entry {plan.last.sequence}`",
        )


def expect(plan: RecoveryPlan, base: Inventory, sealer: Opener, vault: Holdings) -> Inventory:
    """What the source held at the plan's end, as far as it was measured. Raises Corrupted."""
    inventory = base
    for step in plan.steps:
        if step.backup.parts:
            update = records.from_bytes(Update, b"".join(of_entry(step, "inventory", sealer, vault)))
            stopped = plan.stop is not None and step is plan.last
            inventory = updated(inventory, _unsure(update) if stopped else update)
    return inventory


def read_inventory(entry: Entry, sealer: Opener, vault: Holdings) -> Inventory:
    """What the source held at a full backup's cut. Raises Corrupted unless it is what the journal summed up."""
    inventory = records.from_bytes(Inventory, b"".join(of_entry(entry, "inventory", sealer, vault)))
    if inventory.totals != entry.backup.totals:
        raise Corrupted(
            f"the inventory of entry {entry.sequence} is not the one that the journal summed up",
            next_step=f"choose another entry: {LISTED}",
        )
    return inventory


def fill(
    fresh: Fresh,
    plan: RecoveryPlan,
    sealer: Opener,
    vault: Holdings,
    *,
    sequences: Sequence[SequenceState],
    watch: Watch = unwatched,
) -> None:
    """Brings a new database to the plan's end. `sequences`: those of the full backup. Raises as `restore` does."""
    fresh.load(of_entry(plan.base, "dump", sealer, vault, watch=watch), sequences=sequences)
    for step in plan.steps:
        apply(step, plan, fresh, sealer, vault, watch=watch)
    fresh.settle()


def require_private_key(entry: Entry, sealer: Opener, vault: Holdings) -> None:
    """A recipient's private key is here: tried on a small part, before hours are spent on the large one.

    Raises ConfigError.
    """
    for _ in of_entry(entry, "globals", sealer, vault):
        pass


def apply(
    step: Entry, plan: RecoveryPlan, fresh: Fresh, sealer: Opener, vault: Holdings, *, watch: Watch = unwatched
) -> None:
    """Applies the changes of one step of the plan, up to the stop in its last. Raises as `restore` does."""
    stop = plan.stop if step is plan.last else None
    if not step.backup.parts:
        _require_found(step, stop)
        return
    changes = of_entry(step, "changes", sealer, vault, watch=watch)
    try:
        fresh.apply(changes if stop is None else until(changes, time=stop.time, xid=stop.xid))
    except Refused as refused:
        raise _not_applied(refused, step, plan) from refused


def of_entry(
    entry: Entry, name: PartName, sealer: Opener, vault: Holdings, *, watch: Watch = unwatched
) -> Iterator[bytes]:
    """The plaintext of an entry's part of that name. Raises as `plaintext`; NotRestorable: it has none."""
    called = f"{name} of entry {entry.sequence}"
    return plaintext(part_of(entry, name), sealer, vault, called=called, watch=watch)


def plaintext(
    part: Part, sealer: Opener, vault: Holdings, *, called: str | None = None, watch: Watch = unwatched
) -> Iterator[bytes]:
    """A part's plaintext, from the first place that has it whole. Ends without an error only if all of it was right.

    `called`: what to call it in messages. Raises Corrupted, Unavailable (no place has it), ConfigError (no private key
    for it here).
    """
    wanted = ciphertext(part)
    place = whole_copy(replace(wanted, name=called or wanted.name), vault, watch=watch)
    cipher = Meter(vault.read(part.cid, at=place))
    plain = Meter(watch(part.name, sealer.open(cipher)))
    yield from plain
    if not wanted.is_read_by(cipher) or (plain.size, plain.digest) != (part.plain_size, part.plain_digest):
        raise Corrupted(
            f"{part.name} ({part.cid}) changed at {place.name} while it was read",
            next_step="check that peer's disk, then run it again",
        )


def require_equal(plan: RecoveryPlan, *, source: Inventory, restored: Inventory) -> None:
    """Raises Corrupted with every difference between what the source held and what came back."""
    stopped = plan.stop is not None
    different = differences(source=source, restored=restored, partly=bool(plan.steps), stopped=stopped)
    if different:
        raise Corrupted(
            f"entry {plan.last.sequence} came back different from its source in {len(different)} places: "
            + "; ".join(different[:10]),
            next_step="nothing was replaced; choose another entry, and keep this one for a look",
        )


def part_of(entry: Entry, name: PartName) -> Part:
    """The entry's part of that name. Raises NotRestorable."""
    part = entry.backup.part(name)
    if part is None:
        raise NotRestorable(f"entry {entry.sequence} has no {name}", next_step=f"choose another entry: {LISTED}")
    return part


def _unsure(update: Update) -> Update:
    """The update of a window that was entered, but not to its end: what it touched may be anything."""
    touched = tuple(TableName(schema=table.schema, name=table.name) for table in update.tables)
    return replace(update, tables=(), unmeasured=(*update.unmeasured, *touched))


def _not_applied(refused: Refused, step: Entry, plan: RecoveryPlan) -> NotRestorable:
    before = (plan.base, *plan.steps)[plan.steps.index(step)]
    return NotRestorable(
        f"the changes of entry {step.sequence} cannot be applied: {refused.reason}; nothing was replaced",
        next_step="mend at the target what it names (an extension, a role, a right that is missing there). Or restore "
        f"the moment before these changes, {before.backup.cut.time}. Or go past them from a later full backup, if "
        f"there is one ({LISTED}): `entry N` for its own moment, `pgkeep restore {step.backup.database} --base N` for "
        f"others. "
        f"Their SQL, of which a line is named: pgkeep fetch {part_of(step, 'changes').cid}",
    )


def _require_found(step: Entry, stop: Stop | None) -> None:
    if stop is not None and stop.xid is not None:
        raise NotRestorable(
            f"transaction {stop.xid} has changed nothing: entry {step.sequence} covers it and holds no changes",
            next_step=f"restore to that entry: `entry {step.sequence}`",
        )
