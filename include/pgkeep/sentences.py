"""Records as people read them: on the screen of the command line, and in the log of each Airflow task."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pgkeep.ancestry import LegacyFile
from pgkeep.audit import PeerAccount, Problem, Report
from pgkeep.journal import Journal
from pgkeep.lpbm import Replayed
from pgkeep.model import Backup, Covered, Entry, Instant, Replicated, Sealed, Stored
from pgkeep.plan import RecoveryPlan
from pgkeep.progress import human_size, human_time
from pgkeep.restore import Restored

NO_FULL = "no full backup is named: nothing can be restored from these alone"
APPLIED = 20_000
"""Changes that a target is expected to apply in a second."""


def stored(record: Stored) -> str:
    """What was captured, and where it is now."""
    backup = record.backup
    if not backup.parts:
        return f"{summary(backup)}. Nothing needs to be stored."
    parts = ", ".join(f"{part.name} {human_size(part.size)}" for part in backup.parts)
    return (
        f"{summary(backup)}, encrypted to {human_size(backup.size)} ({parts}) in {human_time(backup.seconds)}. "
        "So far only this node's own peer has it."
    )


def sealed(record: Sealed) -> str:
    """What was proven before anything left the machine."""
    if not record.backup.parts:
        return "nothing to read back."
    return (
        f"read back {human_size(record.backup.size)} from the own peer: unchanged, signed by {record.signer}, "
        f"readable by exactly {', '.join(record.recipients)}."
    )


def replicated(record: Replicated) -> str:
    """Who holds it now, and how that is known."""
    held = {part.name: _holders(record, part.cid) for part in record.sealed.backup.parts}
    if not held:
        return "nothing to replicate but the journal itself."
    alike = len(set(held.values())) == 1
    said = f"all of it: {held.popitem()[1]}" if alike else "; ".join(f"{name}: {who}" for name, who in held.items())
    return f"held by {record.copies} peers, as asked; {said}."


def recorded(entry: Entry) -> str:
    """The line of the journal that makes it a backup."""
    return (
        f"the journal of {entry.backup.database} names it as entry {entry.sequence}; "
        f"the journal itself has {entry.copies} copies. From now on it is a backup."
    )


def released(entry: Entry) -> str:
    """What follows for the source, and how the backup comes back."""
    name = entry.backup.database
    return (
        f"the peers show entry {entry.sequence} of {name}; the source may forget what it covers. "
        f"Back again with: pgkeep restore {name} --entry {entry.sequence} --into URL"
    )


def removed(name: str, label: str, *, stands: str, capture: str) -> str:
    """What `pgkeep remove` has done, and what it left to its user. `stands`: the section in the file of settings;
    `capture`: the way in which changes are collected.
    """
    again = {
        "logical": "the next run, Airflow's too, puts everything back",
        "csvlog": "the next run, Airflow's too, goes on from the server's log, which needs nothing of pgkeep in it",
        "none": "full backups go on; they need nothing of pgkeep in it",
    }[capture]
    fulls = "" if capture == "none" else 'or, for full backups only, write capture = "none" in it; '
    return (
        f"{name}: nothing of pgkeep is in {label} any more; its backups stay (pgkeep list {name}).\n"
        f"{stands} was left alone: as long as it is there, {again}. "
        f"Next: delete that section; {fulls}or begin anew: pgkeep init {name}"
    )


def covered(record: Covered) -> str:
    """Why nothing was to do."""
    return f"already covered by entry {record.entry.sequence}, which shows {moment(record.entry.backup.cut.time)}"


def entry_line(entry: Entry) -> str:
    """One line that says what is now safe."""
    backup = entry.backup
    held = f", {human_size(backup.size)} encrypted, held by {_copies(entry)}" if backup.parts else ""
    return f"entry {entry.sequence}: {summary(backup)}{held}"


def summary(backup: Backup) -> str:
    """Whose it is, of which moment, and what it holds."""
    return f"{backup.database}, {backup.kind}, as of {moment(backup.cut.time)}: {content(backup)}"


def content(backup: Backup) -> str:
    """What a backup holds, or why there is a gap."""
    if backup.totals is not None:
        return f"{counted(backup.totals.rows, 'row')} in {counted(backup.totals.tables, 'table')}"
    link = backup.link
    if link is None:
        return "nothing"
    if link.gap is not None:
        return link.gap
    since = f"since {moment(link.since.time)}" if link.since else ""
    if not backup.parts:
        return f"no changes {since}"
    exact = "" if link.exact == "proven" else f", exact: {link.exact}"
    return f"{counted(link.changes, 'change')} in {counted(link.transactions, 'transaction')} {since}{exact}"


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


def audited(report: Report) -> Iterator[str]:
    """What an audit has read, mended, swept and found, line by line."""
    yield (
        f"{report.database}, audit {report.number}{' (dry run)' if report.dry_run else ''}: "
        f"version {report.version} of the journal, {counted(report.objects, 'object')} of {human_size(report.size)}; "
        f"{100 * report.share:.0f} % of the bytes were to be read back; {human_time(report.seconds)}"
    )
    yield from (_account(peer) for peer in report.peers)
    yield f"everything was read back since {moment(report.since)}" if report.since else "not everything was read yet"
    yield from (f"REPAIRED {one.about} ({one.cid}) at {one.peer}: {one.how}" for one in report.repairs)
    yield from (
        f"{'swept' if one.swept else 'litter, waits'}: {', '.join(one.names)} ({one.cid})" for one in report.litter
    )
    yield from (_problem(problem) for problem in report.problems)
    if not report.wrong:
        yield "all is well" if not report.repairs else "all is well again"


def _account(peer: PeerAccount) -> str:
    held = f"{counted(peer.objects, 'object')}, {human_size(peer.size)}"
    if not peer.asked:
        return f"{peer.name}: {held}, as the cluster claims; its Kubo cannot be asked, so nothing is proven"
    return f"{peer.name}: {held}; {peer.read:,} of them read back now, {human_size(peer.read_size)}"


def _problem(problem: Problem) -> str:
    mark = "notice" if problem.kind == "notice" else "WRONG"
    return f"{mark} {problem.sentence}. Next: {problem.next_step}"


def entry_table(journal: Journal, rows: Sequence[tuple[Entry, int | None]]) -> str:
    """The entries of a journal, newest last, with the copies that exist now."""
    header = ("ENTRY", "KIND", "AS OF", "AGE", "SIZE", "COPIES (CLAIMED)", "PROVEN", "MADE BY", "HOLDS")
    lines = table([header, *(_row(entry, copies, journal) for entry, copies in rows)])
    return f"{journal.database}: version {journal.sequence} of the journal\n{lines}"


def continues(entry: Entry, files: Sequence[LegacyFile] | None) -> str:
    """Where the files are named that LPBM made before the entry. `files`: None if that cannot be read now."""
    part = entry.backup.part("ancestry")
    assert part is not None
    number = "the files" if files is None else counted(len(files), "file")
    return f"entry {entry.sequence} continues {number} of LPBM: pgkeep fetch {part.cid}"


def legacy_table(files: Sequence[LegacyFile], used: Sequence[LegacyFile]) -> str:
    """The files in LPBM's journal, oldest first; marked are those that the newest restore uses."""
    header = ("LINE", "KIND", "MADE", "CID")
    lines = table([header, *((str(f.number), f.kind, moment(f.time), str(f.cid)) for f in files)])
    marks = [" ", *("*" if file in used else " " for file in files)]
    marked = [f"{mark} {line}" for mark, line in zip(marks, lines.splitlines(), strict=True)]
    return "\n".join([*marked, f"* the newest restore uses {_legacy_way(used)}" if used else NO_FULL])


def replayed_line(replayed: Replayed, label: str) -> str:
    """What came back of LPBM's, and that nothing proves it."""
    files = [file for file, _ in replayed.files]
    failed = f"{counted(replayed.failed, 'statement')} failed" if replayed.failed else "no statement failed"
    return (
        f"{label}: replayed {_legacy_way(files)}; {failed}. Nothing was compared: LPBM recorded nothing to compare "
        "with. Look at it before you rely on it"
    )


def _legacy_way(files: Sequence[LegacyFile]) -> str:
    deltas = f" and {counted(len(files) - 1, 'delta')} up to {moment(files[-1].time)}" if len(files) > 1 else ""
    return f"the full of {moment(files[0].time)} (line {files[0].number}){deltas}"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns, each as wide as it needs to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(entry: Entry, copies: int | None, journal: Journal) -> tuple[str, ...]:
    backup = entry.backup
    return (
        str(entry.sequence),
        backup.kind,
        moment(backup.cut.time),
        age(backup.cut.time),
        human_size(backup.size) if backup.parts else "-",
        f"{'?' if copies is None else copies} of {entry.copies}" if backup.parts else "-",
        verdict(entry, journal),
        f"{backup.origin.by} on {backup.origin.host}",
        content(backup),
    )


def verdict(entry: Entry, journal: Journal) -> str:
    """Whether a drill has proven a full backup, in a few words; changes are proven between two of them."""
    found = journal.verdict(entry)
    if found is None:
        return "not yet" if entry.backup.kind == "full" else "-"
    when = f"{found.time[:10]} from {found.name}"
    if found.failure is None:
        return f"{when}, in {human_time(found.ways[0].seconds)}"
    return f"{when}, BUT NOT THE CHANGES" if found.proven else f"NO: {when}"


def _copies(entry: Entry) -> str:
    copies = entry.holders[entry.backup.parts[0].cid]
    return ", ".join(f"{copy.name} ({'read back' if copy.read_back else 'says the cluster'})" for copy in copies)


def _holders(record: Replicated, cid: str) -> str:
    copies = record.holders[cid]
    return ", ".join(sorted(f"{copy.name} ({'read back' if copy.read_back else 'pinned'})" for copy in copies))


def moment(instant: Instant) -> str:
    """A moment for people, to the second: `2026-01-02 03:04:05 UTC`."""
    return f"{instant[:19].replace('T', ' ')} UTC"


def age(instant: Instant) -> str:
    """How long ago."""
    return human_time((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds())


def counted(count: int, what: str, many: str = "") -> str:
    """`1 row`, `1,234 rows`; `many`: a plural that is not made by an s."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"
