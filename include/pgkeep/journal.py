"""The journal of one database: every backup that exists, in one document, each version naming the one before.

Pure: no I/O. A version is written as canonical JSON (`records.to_bytes`); its digest is what the next version names,
so a version can neither be changed nor left out without the next one showing it.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace

from pgkeep import positions, records
from pgkeep.errors import LISTED, Corrupted, NotRestorable
from pgkeep.model import Backup, Cid, Digest, Entry, Instant, Part, Replicated, Verdict

FORMAT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """The version before: its number, the SHA-256 of its JSON, and the CID of its sealed object."""

    sequence: int
    digest: Digest
    cid: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """One version. Version 0 has no ancestor and no entries: it is how "empty" is said, once, at `pgkeep init`.

    `verdicts`: what drills have found out about its entries, oldest first. `leaving`: objects that no entry names any
    more, but that some peer may still have pinned (I4).
    """

    format: int
    database: str
    sequence: int
    previous: Ancestor | None
    written: Instant
    entries: tuple[Entry, ...]
    verdicts: tuple[Verdict, ...]
    leaving: tuple[Cid, ...]

    @property
    def digest(self) -> Digest:
        """SHA-256 of this version's JSON."""
        return Digest(hashlib.sha256(records.to_bytes(self)).hexdigest())

    def naming(self, cid: Cid) -> Entry | None:
        """The entry that has this object among its parts, or None."""
        return next((e for e in self.entries if any(part.cid == cid for part in e.backup.parts)), None)

    def recorded(self, backup: Backup) -> Entry | None:
        """The entry of this very backup, or None; whatever keys it is encrypted for by now."""
        wanted = _captured(backup)
        return next((entry for entry in self.entries if _captured(entry.backup) == wanted), None)

    def verdict(self, entry: Entry) -> Verdict | None:
        """The newest verdict on an entry, or None."""
        return next((verdict for verdict in reversed(self.verdicts) if verdict.entry == entry.sequence), None)

    def is_proven(self, entry: Entry) -> bool:
        """Whether the newest drill of this full backup has shown it to be equal to its source (I7)."""
        verdict = self.verdict(entry)
        return verdict is not None and verdict.proven

    @property
    def witness(self) -> Part | None:
        """A part of the newest entry that has any: its pin's name can show that this version existed."""
        parts = (part for entry in reversed(self.entries) for part in reversed(entry.backup.parts))
        return next(parts, None)

    def entry(self, sequence: int | None = None) -> Entry:
        """The entry of that number, or the one that shows the latest moment. Raises NotRestorable.

        That is not always the last one written: a backup that waited for its copies is recorded late.
        """
        if not self.entries:
            raise NotRestorable(
                f"the journal of {self.database} has no backup yet",
                next_step=f"make one: pgkeep backup {self.database} --full",
            )
        if sequence is None:
            return max(self.entries, key=lambda entry: (entry.backup.cut.time, entry.sequence))
        for entry in self.entries:
            if entry.sequence == sequence:
                return entry
        raise NotRestorable(
            f"the journal of {self.database} has no entry {sequence}; it has {', '.join(self._numbers())}",
            next_step=f"choose one of these: {LISTED}",
        )

    def _numbers(self) -> list[str]:
        return [str(entry.sequence) for entry in self.entries]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A version together with the CID of the sealed object it was read from."""

    journal: Journal
    cid: Cid

    @property
    def ancestor(self) -> Ancestor:
        """How the next version names this one."""
        return Ancestor(sequence=self.journal.sequence, digest=self.journal.digest, cid=self.cid)


def begin(database: str, *, now: Instant) -> Journal:
    """Version 0: the journal of a database that has no backup yet."""
    return Journal(
        format=FORMAT,
        database=database,
        sequence=0,
        previous=None,
        written=now,
        entries=(),
        verdicts=(),
        leaving=(),
    )


def new_entry(replicated: Replicated, *, after: Journal, now: Instant) -> Entry:
    """The entry that names this backup in the version after `after`."""
    sealed = replicated.sealed
    return Entry(
        sequence=after.sequence + 1,
        recorded=now,
        backup=sealed.backup,
        recipients=sealed.recipients,
        signer=sealed.signer,
        copies=replicated.copies,
        holders=replicated.holders,
    )


def append(head: Head, entry: Entry) -> Journal:
    """The version after `head`, with one entry more. If that carries the chain on, no other is its end any more."""
    before = head.journal
    entries = before.entries
    if entry.backup.link is not None:
        entry = replace(entry, backup=_carried_on(entry.backup, before))
        entries = tuple(replace(passed, backup=_passed(passed.backup)) for passed in entries)
    return replace(_next(head, now=entry.recorded), entries=(*entries, entry))


def judge(head: Head, verdict: Verdict) -> Journal:
    """The version after `head`, with one verdict more."""
    return replace(_next(head, now=verdict.time), verdicts=(*head.journal.verdicts, verdict))


def retire(head: Head, gone: Collection[Entry], *, leaving: Collection[Cid], now: Instant) -> Journal:
    """The version after `head` that does not name these entries any more, nor what drills said of them.

    `leaving`: objects of earlier versions that some peer may still have pinned; those of `gone` are added to them.
    """
    before = head.journal
    entries = tuple(entry for entry in before.entries if entry not in gone)
    numbers = {entry.sequence for entry in entries}
    return replace(
        _next(head, now=now),
        entries=entries,
        verdicts=tuple(verdict for verdict in before.verdicts if verdict.entry in numbers),
        leaving=(*leaving, *(part.cid for entry in gone for part in entry.backup.parts)),
    )


def with_objects(entry: Entry, anew: Replicated) -> Entry:
    """The same entry of the same backup, which lies in other objects: sealed for others, or by another key."""
    return replace(
        entry,
        backup=replace(entry.backup, parts=anew.sealed.backup.parts),
        recipients=anew.sealed.recipients,
        signer=anew.sealed.signer,
        copies=anew.copies,
        holders=anew.holders,
    )


def exchange(head: Head, changed: Collection[Entry], *, leaving: Collection[Cid], now: Instant) -> Journal:
    """The version after `head` with these entries in the place of those with their numbers.

    `leaving`: as in `retire`; the objects that are named no more are added to them.
    """
    before = head.journal
    instead = {entry.sequence: entry for entry in changed}
    old = (entry for entry in before.entries if entry.sequence in instead)
    return replace(
        _next(head, now=now),
        entries=tuple(instead.get(entry.sequence, entry) for entry in before.entries),
        leaving=(*leaving, *(part.cid for entry in old for part in entry.backup.parts)),
    )


def _next(head: Head, *, now: Instant) -> Journal:
    """The version after `head`, as far as every one is made alike."""
    return replace(head.journal, sequence=head.journal.sequence + 1, previous=head.ancestor, written=now)


def _passed(backup: Backup) -> Backup:
    """As it is kept when the chain has gone on."""
    return backup if backup.link is None else replace(backup, link=replace(backup.link, position=None))


def _captured(backup: Backup) -> Backup:
    """What was captured, without the objects in which it lies."""
    parts = tuple(replace(part, cid=Cid(""), size=0, digest=Digest("")) for part in backup.parts)
    return replace(_passed(backup), parts=parts)


def _carried_on(backup: Backup, before: Journal) -> Backup:
    """A link as the chain's end keeps it: what its position leaves out is what the end before it has."""
    assert backup.link is not None
    then = next((entry.backup.link.position for entry in reversed(before.entries) if entry.backup.link), None)
    return replace(backup, link=replace(backup.link, position=positions.whole(backup.link.position, then=then)))


def read(text: bytes, *, database: str | None, sequence: int | None) -> Journal:
    """A version from its JSON. Raises Corrupted: not a journal, or not the version that its name promised.

    None: nothing was promised.
    """
    journal = records.from_bytes(Journal, text)
    if journal.format != FORMAT:
        raise Corrupted(
            f"the journal has format {journal.format}, this pgkeep reads format {FORMAT}",
            next_step="install the pgkeep that wrote it",
        )
    if (database or journal.database) != journal.database or sequence not in (None, journal.sequence):
        kept = "the" if sequence is None else f"version {sequence} of the"
        raise Corrupted(
            f"what is kept as {kept} journal of {database} is version {journal.sequence} "
            f"of {journal.database}: somebody put an older or another journal in its place",
            next_step="find out who can write to the cluster; then see docs/operating.md, 'A journal that is refused'",
        )
    return journal


def check_link(newer: Journal, older: Head) -> None:
    """Raises Corrupted unless `newer` was written after exactly `older`."""
    if newer.previous != older.ancestor:
        raise Corrupted(
            f"version {newer.sequence} of the journal of {newer.database} does not continue version "
            f"{older.journal.sequence} that is kept beside it",
            next_step="see docs/operating.md, 'A journal that is refused'",
        )
