"""What LPBM has left, and what was replayed of it."""

from collections.abc import Iterator, Sequence

from pgkeep.ancestry import LegacyFile
from pgkeep.lpbm import Replayed
from pgkeep.model import Entry

from .words import counted, moment, table

NO_FULL = "no full backup is named: nothing can be restored from these alone"


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


def failed_lines(replayed: Replayed) -> Iterator[str]:
    """Each statement that failed, by file and line, in the order of the replay."""
    for file, failures in replayed.files:
        yield from (f"failed: {file.name}, {said}" for said in failures.said)
        if failures.count > len(failures.said):
            yield f"failed: {file.name}, and {failures.count - len(failures.said)} more"


def _legacy_way(files: Sequence[LegacyFile]) -> str:
    deltas = f" and {counted(len(files) - 1, 'delta')} up to {moment(files[-1].time)}" if len(files) > 1 else ""
    return f"the full of {moment(files[0].time)} (line {files[0].number}){deltas}"
