"""The question that a person answers before a restore, in plain words, as Markdown; and what came of it."""

from collections.abc import Iterator

from pgkeep.approval import Approved, Proposal, mark
from pgkeep.model import Verdict
from pgkeep.ports import Occupant
from pgkeep.progress import human_size, human_time

from .words import counted, moment


def subject(proposal: Proposal) -> str:
    """The question in one line."""
    place = "PRODUCTION" if proposal.production else "the scratch server"
    return f"Restore {proposal.database} into {place}, as {proposal.label}?"


def body(proposal: Proposal, *, triggered_by: str | None) -> str:
    """All that has to be known before the answer."""
    rows = [
        ("what comes back", _way(proposal)),
        ("moment", _reached(proposal)),
        *_lost(proposal),
        ("to read and decrypt", f"{human_size(proposal.size)}, of version {proposal.version} of the journal"),
        ("where", f"{_code(proposal.label)} ({'production' if proposal.production else 'scratch'})"),
        ("what it replaces", _replaced(proposal)),
        ("how long", _duration(proposal)),
        ("asked for by", triggered_by or "nobody that Airflow knows"),
    ]
    table = "\n".join(f"| {what} | {_cell(said)} |" for what, said in rows)
    return f"| | |\n|---|---|\n{table}\n\n{_promise(proposal)}\n\nProposal {mark(proposal)}."


def _way(proposal: Proposal) -> str:
    full = f"entry {proposal.base}, a full backup of {counted(proposal.rows, 'row')}"
    if not proposal.steps:
        return full
    first, last = proposal.steps[0], proposal.steps[-1]
    which = f"entry {first}" if first == last else f"entries {first} to {last}"
    changes = f"{counted(proposal.changes, 'change')} in {counted(proposal.transactions, 'transaction')}"
    return f"{full}; then {which}: {changes}"


def _reached(proposal: Proposal) -> str:
    stop = proposal.stop
    if stop is None:
        return f"{moment(proposal.reached)}: all that was committed before it"
    where = f"before the first transaction at or after {stop.time}" if stop.time else f"through transaction {stop.xid}"
    stale = "; tables without a primary key as of the entry before (stale)" if proposal.stale else ""
    return f"{where}{stale}"


def _lost(proposal: Proposal) -> Iterator[tuple[str, str]]:
    numbers = ", ".join(map(str, proposal.lost))
    if not numbers:
        return
    used = {proposal.base, *proposal.steps}.intersection(proposal.lost)
    said = "THIS RESTORE NEEDS THEM AND WILL FAIL, unless they are back" if used else "this restore does without them"
    yield "what is lost", f"an audit has found no whole copy of entry {numbers}: {said}"


def _replaced(proposal: Proposal) -> str:
    there = proposal.occupant
    if there is None:
        return "nothing: no database has that name there"
    if not proposal.replace:
        return "nothing: an empty database has that name there"
    kept = f"it stays as {_code(f'{proposal.dbname}_before_<time>')}"
    return f"{_held(there)}. It is not dropped, unless there is nothing at all in it: {kept}"


def _held(there: Occupant) -> str:
    size = "a database of unknown size" if there.size is None else f"a database of {human_size(there.size)}"
    rows = f"about {counted(there.rows or 0, 'row')}"
    tables = "" if there.tables is None else f", {counted(there.tables, 'table')} with {rows}"
    sessions = f"{counted(there.sessions, 'connection')} open now"
    return f"{size}{tables}; {sessions}{', to be ended at that moment' if there.sessions else ''}"


def _duration(proposal: Proposal) -> str:
    verdict = proposal.drilled
    if verdict is None:
        return f"no drill has tried it yet; the full backup took {human_time(proposal.full_seconds)}"
    return _drilled(verdict, proposal)


def _drilled(verdict: Verdict, proposal: Proposal) -> str:
    ways = "; ".join(
        f"{'entry' if way.base == way.last else 'entries'} {way.base}"
        f"{'' if way.base == way.last else f' to {way.last}'} in {human_time(way.seconds)}"
        f"{'' if way.failure is None else f' - AND IT FAILED: {way.failure}'}"
        for way in verdict.ways
    )
    same = "" if verdict.entry == proposal.base else " (of another full backup)"
    return f"in the last drill{same}, {moment(verdict.time)} from {verdict.name}: {ways}"


def _promise(proposal: Proposal) -> str:
    replaced = " and the other one stays beside it" if proposal.occupant and proposal.replace else ""
    return (
        "**Approve**: it is restored beside, compared with what was measured at its source, and only if it is equal it "
        f"takes that name{replaced}. Exactly these entries are read, whatever is backed up meanwhile.\n\n"
        "**Reject**, or no answer in time: nothing happens."
    )


def _code(text: str) -> str:
    return f"`{text.replace('`', '')}`"


def _cell(text: str) -> str:
    """A database may have any name, also one that would end a cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def approved(answer: Approved) -> str:
    """Who has said yes, to what."""
    return f"{answer.by.name} has approved it ({moment(answer.time)}): {subject(answer.proposal)}"


def declined(proposal: Proposal, *, by: str | None) -> Iterator[str]:
    """Nothing has happened, and why."""
    yield f"{by} has rejected it." if by else "Nobody has answered in time."
    yield f"Nothing has happened at {proposal.label}. To ask again: trigger a new run."


def already(answer: Approved) -> str:
    """An earlier try of the same task had done it."""
    return (
        f"{answer.proposal.label}: an earlier try of this task had brought it there already, and compared it; nothing "
        "was left to do. What stood there is beside it, under a dated name"
    )
