"""What drills have shown and what retention does, as people read it: on the command line, and in Airflow's logs."""

from collections.abc import Sequence

from pgkeep.model import Verdict, Way
from pgkeep.progress import human_size, human_time
from pgkeep.retention import Fate
from pgkeep.retirement import Retired
from pgkeep.sentences import counted, moment, table


def proven(verdict: Verdict, database: str) -> str:
    """What a drill has shown, way by way, and how long each took."""
    ways = "; ".join(f"{_tried(way)} in {human_time(way.seconds)}" for way in verdict.ways)
    both = (
        f" Entry {verdict.previous} and the changes since give exactly the same."
        if verdict.previous is not None
        else " No changes lead to it from the full backup before: that way was not to be shown."
    )
    return (
        f"{database}: entry {verdict.entry} is proven, read from {verdict.name} alone: {ways}; each compared with its "
        f"source.{both} The database that was made for it is dropped."
    )


def _tried(way: Way) -> str:
    return f"entry {way.base}" if way.base == way.last else f"entry {way.base} and the changes up to entry {way.last}"


def fate_table(fates: Sequence[Fate]) -> str:
    """What goes, what stays, and why, newest last."""
    header = ("ENTRY", "KIND", "AS OF", "SIZE", "STAYS", "BECAUSE")
    return table([header, *(_fate(fate) for fate in fates)])


def _fate(fate: Fate) -> tuple[str, ...]:
    backup = fate.entry.backup
    return (
        str(fate.entry.sequence),
        backup.kind,
        moment(backup.cut.time),
        human_size(backup.size) if backup.parts else "-",
        "stays" if fate.stays else "GOES",
        "; ".join(fate.reasons) or "no rule keeps it",
    )


def retired(done: Retired) -> str:
    """What has left the journal, and what is still pinned somewhere all the same."""
    gone = [fate.entry for fate in done.fates if not fate.stays]
    size = human_size(sum(entry.backup.size for entry in gone))
    left = (
        f"{counted(len(gone), 'entry', 'entries')} ({size} in each copy) left the journal, now version {done.version}"
    )
    stay = f"{counted(len(done.fates) - len(gone), 'entry', 'entries')} stay."
    said = f"{done.database}: {left if gone else 'nothing goes'}; {stay}"
    if not done.kept_back:
        return said
    who = "; ".join(sorted(set(done.kept_back.values())))
    return f"{said} {counted(len(done.kept_back), 'object')} not let go of yet: {who}. The next run tries again."
