"""How a backup is made. Read it top to bottom; there is no other path.

    capture  ->  check  ->  replicate  ->  record  ->  release

Each step takes the record that the step before returned. All may be killed at any point and run again. Only a gap,
which stores nothing, is written into the journal without them: see `changes`.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from pgkeep import chain, journal, records
from pgkeep import copies as copies_of
from pgkeep.copies import Ciphertext, ciphertext, patiently
from pgkeep.errors import Corrupted, Disturbed, NotRestorable
from pgkeep.journal import Head, Journal
from pgkeep.journal_store import JournalStore
from pgkeep.meter import Meter, unwatched
from pgkeep.model import Backup, Entry, Origin, Part, Replicated, Sealed, Stored, now
from pgkeep.parts import AUDIENCES, Parts
from pgkeep.pin_names import part_name
from pgkeep.ports import Sealer, Snapshot, Source, Vault, Watch

log = logging.getLogger(__name__)

PAUSES = (0.1, 1.0, 2.0, 5.0, 10.0, 20.0)
SETTLE = 15.0
"""Seconds in which what the cluster says of a pin that was asked for again comes to rest."""
T = TypeVar("T")


def begin(source: Source, journals: JournalStore) -> Head:
    """Begins the journal of a database, or finds the one it has. Safe to repeat. Raises as `JournalStore.begin`."""
    with source.exclusively():
        return journals.begin()


def capture(
    source: Source,
    sealer: Sealer,
    vault: Vault,
    journals: JournalStore,
    *,
    origin: Origin,
    ancestry: bytes = b"",
    watch: Watch = unwatched,
) -> Stored:
    """The whole database as it is now, one stream per part: PostgreSQL -> zstd -> OpenPGP -> the own peer.

    `ancestry`: what it is the first backup after, if anything.

    Nothing of it touches a disk of ours. Raises what the ports raise; then what was already stored is let go again.
    """

    def attempt() -> Stored:
        number = next_number(journals)
        parts = Parts(kind="full", number=number, database=journals.database, sealer=sealer, vault=vault)
        with parts.or_nothing(), source.snapshot() as snapshot:
            dumped = watch("dump", snapshot.dump())
            return dump(snapshot, dumped, parts, origin=origin, ancestry=ancestry, watch=watch)

    return undisturbed(attempt)


def undisturbed(attempt: Callable[[], T]) -> T:
    """What `attempt` returns; tried again at another moment, some times, if the one it read at was spoilt."""
    for pause in PAUSES:
        try:
            return attempt()
        except Disturbed as error:
            log.info("%s; another moment will do", error.what)
        time.sleep(pause)
    return attempt()


def dump(
    snapshot: Snapshot,
    dumped: Iterator[bytes],
    parts: Parts,
    *,
    origin: Origin,
    ancestry: bytes = b"",
    watch: Watch = unwatched,
) -> Stored:
    """Fills the parts of a full backup of that moment; `dumped`: what its `dump` gives."""
    parts.store("dump", dumped)
    parts.store("globals", watch("globals", snapshot.globals()))
    inventory = snapshot.inventory()
    parts.store("inventory", iter([records.to_bytes(inventory)]))
    if ancestry:
        parts.store("ancestry", iter([ancestry]))
    return parts.sum_up(snapshot, origin=origin, totals=inventory.totals)


def next_number(journals: JournalStore) -> int:
    """The version of the journal that would name a backup that is captured now."""
    return journals.head_for_writing().journal.sequence + 1


def check(stored: Stored, sealer: Sealer, vault: Vault) -> Sealed:
    """Reads every part back from the own peer: the very bytes, sealed for exactly the right keys.

    Nothing has left the machine before this. Raises Corrupted, Unavailable.
    """
    for part in stored.backup.parts:
        _check_part(part, sealer, vault)
    recipients = tuple(sorted(sealer.readers("backup")))
    return Sealed(backup=stored.backup, recipients=recipients, signer=sealer.signer)


def replicate(sealed: Sealed, vault: Vault, *, copies: int, patience: float) -> Replicated:
    """Asks the cluster for the copies and waits for them, and for peers that are missing, up to `patience` seconds.

    Raises NotReplicated, Unavailable.
    """

    def attempt() -> Replicated:
        ask(sealed, vault, copies=copies)  # each time: a peer that was away may have missed the question
        return confirm(sealed, vault, copies=copies)

    return patiently(attempt, patience=patience)


def ask(sealed: Sealed, vault: Vault, *, copies: int) -> None:
    """Asks the cluster for `copies` copies of every part. Safe to repeat. Raises Unavailable."""
    for part in sealed.backup.parts:
        vault.pin(part.cid, name=_name(sealed.backup, part), copies=copies)


def require_claims(sealed: Sealed, vault: Vault, *, copies: int) -> None:
    """Raises NotReplicated unless enough distinct peers are said to hold every part. Reads no bytes, proves nothing."""
    copies_of.require_claims(_ciphertexts(sealed), vault, copies=copies)


def require_still(replicated: Replicated, journals: JournalStore) -> None:
    """As `require_claims`, of what was proven a while ago: a sweep may have come before a late run.

    Not at once: a pin that was asked for once more is said to be on its way for a moment.
    """
    sealed, patience = replicated.sealed, min(SETTLE, journals.patience)
    patiently(lambda: require_claims(sealed, journals.vault, copies=replicated.copies), patience=patience)


def confirm(sealed: Sealed, vault: Vault, *, copies: int) -> Replicated:
    """One look: the cluster names `copies` distinct peers, and those that can be asked give the very bytes.

    Raises NotReplicated with what each peer says, Unavailable.
    """
    holders = copies_of.proven_copies(_ciphertexts(sealed), vault, copies=copies)
    return Replicated(sealed=sealed, copies=copies, holders=holders)


def _ciphertexts(sealed: Sealed) -> list[Ciphertext]:
    return [ciphertext(part) for part in sealed.backup.parts]


def record(replicated: Replicated, source: Source, journals: JournalStore, vault: Vault) -> Entry:
    """Appends the entry, once, however often it is called. When this returns, the entry survives this host.

    Raises JournalMovedOn, NotReplicated, Corrupted (the journal cannot be trusted), Unavailable.
    """
    backup = replicated.sealed.backup
    with source.exclusively():
        head = journals.head_for_writing()
        known = head.journal.recorded(backup)
        if known is not None:
            journals.secure(head)
            return known
        chain.require_next(backup, after=head.journal)
        _require_kept(backup, head.journal)
        require_still(replicated, journals)
        entry = journal.new_entry(replicated, after=head.journal, now=now())
        _keep_number_true(entry, vault)
        return journals.append(head, entry).journal.entry(entry.sequence)


def release(entry: Entry, source: Source, journals: JournalStore) -> None:
    """Lets the source forget what the entry covers, after the peers themselves have shown that the journal names it.

    How far that is, the signed journal says: what the entry says has travelled, and whoever may edit that could have
    WAL thrown away that nothing covers. Raises Corrupted when they do not.
    """
    known = journals.head().journal.recorded(entry.backup)
    if known is None:
        raise Corrupted(
            f"the journal of {journals.database} does not name entry {entry.sequence} any more",
            next_step=f"look at it before anything else: pgkeep list {journals.database}",
        )
    source.release(known)


# --- the steps' own steps ---------------------------------------------------------------------------------------


def _check_part(part: Part, sealer: Sealer, vault: Vault) -> None:
    read = Meter(vault.read(part.cid, at=vault.own()))
    try:
        envelope = sealer.envelope(read)
    except Corrupted as error:
        raise _refused(part, error.what) from error
    if not ciphertext(part).is_read_by(read):
        raise _refused(part, f"the own peer gives back {read.size} bytes with another digest; {part.size} were stored")
    if envelope.unknown:
        raise _refused(part, f"it is encrypted for unknown keys {', '.join(sorted(envelope.unknown))}")
    if envelope.recipients != sealer.readers(AUDIENCES[part.name]):
        raise _refused(part, f"it is encrypted for {', '.join(sorted(envelope.recipients)) or 'nobody'}")
    if not envelope.integrity_protected:
        raise _refused(part, "nothing in it would show a change")


def _refused(part: Part, why: str) -> Corrupted:
    return Corrupted(
        f"{part.name} ({part.cid}) must not leave this machine: {why}",
        next_step="check the own peer's disk and [keys] in pgkeep.toml, then run the backup again",
    )


def _require_kept(backup: Backup, known: Journal) -> None:
    """A task that is cleared long after its time must not name again what the journal has stopped naming (I1, I4).

    Raises NotRestorable.
    """
    for part in backup.parts:
        if part.cid in known.leaving:
            raise NotRestorable(
                f"{part.name} ({part.cid}) has left the journal of {backup.database}, and is being let go of",
                next_step="nothing: it was a backup, and it has been retired; see pgkeep list",
            )


def _keep_number_true(entry: Entry, vault: Vault) -> None:
    """The journal moved on while this backup was made: its pins take the number it gets."""
    if entry.sequence != entry.backup.number:
        for part in entry.backup.parts:
            name = part_name(entry.backup.database, kind=entry.backup.kind, number=entry.sequence, part=part.name)
            vault.pin(part.cid, name=name, copies=entry.copies)


def _name(backup: Backup, part: Part) -> str:
    return part_name(backup.database, kind=backup.kind, number=backup.number, part=part.name)
