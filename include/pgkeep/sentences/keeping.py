"""What drills have shown, and what retention and rekeying do, as people read it: on the command line, in logs."""

from collections.abc import Iterator, Mapping, Sequence

from pgkeep.journal import Journal
from pgkeep.journal_store import KEPT_VERSIONS
from pgkeep.model import Cid, Entry, Verdict, Way
from pgkeep.ports import Sealer
from pgkeep.progress import human_size, human_time
from pgkeep.rekeying import Rekeyed, outdated, steps
from pgkeep.retention import Fate
from pgkeep.retirement import Retired

from .words import counted, moment, table


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
        "; ".join(fate.reasons) or fate.because,
    )


def retired(done: Retired) -> str:
    """What has left the journal, and what is still pinned somewhere all the same."""
    gone = [fate.entry for fate in done.fates if not fate.stays]
    size = human_size(sum(entry.backup.size for entry in gone))
    left = (
        f"{counted(len(gone), 'entry', 'entries')} ({size} in each copy) left the journal, now version {done.version}"
    )
    stay = f"{counted(len(done.fates) - len(gone), 'entry', 'entries')} stay."
    return f"{done.database}: {left if gone else 'nothing goes'}; {stay}{_left_behind(done.kept_back)}"


def to_rekey(known: Journal, sealer: Sealer, *, every: bool = False) -> Iterator[str]:
    """What `rekey` would do, and what it needs for that."""
    todo = outdated(known, sealer, every=every)
    if not todo:
        yield f"{known.database}: {_nothing_to_rekey(sorted(sealer.readers('backup')))}"
        return
    header = ("ENTRY", "KIND", "AS OF", "SIZE", "SIGNED BY", "CAN BE READ WITH")
    yield table([header, *(_to_rekey(entry) for entry in todo)])
    size = human_size(sum(entry.backup.size for entry in todo))
    keys = sorted(set.intersection(*(set(entry.recipients) for entry in todo)))
    yield (
        f"{counted(len(todo), 'entry', 'entries')} ({size} in each copy) would be read, decrypted, encrypted for "
        f"{', '.join(sorted(sealer.readers('backup')))} and signed by {sealer.signer}, in "
        f"{counted(len([*steps(todo)]), 'step')}"
    )
    yield (
        f"needed here: the private key of {' or '.join(keys)}, and this node's"
        if keys
        else "needed here: a private key for each of them, and this node's; no key reads them all"
    )


def _to_rekey(entry: Entry) -> tuple[str, ...]:
    backup = entry.backup
    when, size = moment(backup.cut.time), human_size(backup.size)
    return str(entry.sequence), backup.kind, when, size, entry.signer, ", ".join(entry.recipients)


def rekeyed(done: Rekeyed) -> str:
    """What can be read by whom now, and what cannot be taken back."""
    if not done.entries:
        said = f"{done.database}: {_nothing_to_rekey(done.recipients) if not done.damaged else 'nothing was changed'}."
    else:
        size = human_size(sum(entry.backup.size for entry in done.entries))
        said = (
            f"{done.database}: {counted(len(done.entries), 'entry', 'entries')} ({size} in each copy) can be read by "
            f"{', '.join(done.recipients)} only; the journal is at version {done.version}. The old keys still open "
            f"what somebody has copied before; and the versions of the journal before (no rows are in them), until "
            f"{KEPT_VERSIONS} newer ones are written."
        )
    return said + _left_behind(done.kept_back)


def _nothing_to_rekey(recipients: Sequence[str]) -> str:
    return f"everything is encrypted for {', '.join(recipients)} already, and signed by this node"


def _left_behind(kept_back: Mapping[Cid, str]) -> str:
    if not kept_back:
        return ""
    who = "; ".join(sorted(set(kept_back.values())))
    return f" {counted(len(kept_back), 'object')} not let go of yet: {who}. The next run tries again."
