"""How all that is live comes to be encrypted for other keys. Read it top to bottom.

    read whole -> decrypt -> encrypt and sign -> check -> replicate  ->  a journal that names the new objects
        ->  let go of the old ones

Step by step, some entries at a time, each with one version of the journal: as long as that names an object, it is there
(I4), and whoever is killed in between leaves a working journal, and litter at most. Streams only: no plaintext rests
anywhere. What an entry says of its moment, and what drills have said of it, stays: only its objects are other ones.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from pgkeep import backup, chain, journal, restore
from pgkeep.errors import ConfigError, Corrupted
from pgkeep.journal import Head, Journal
from pgkeep.journal_store import JournalStore
from pgkeep.meter import unwatched
from pgkeep.model import Cid, Entry, KeyFingerprint, Replicated, Stored
from pgkeep.parts import Parts
from pgkeep.pin_names import name_prefix
from pgkeep.ports import Sealer, Source, Vault, Watch
from pgkeep.unpinning import PATIENCE, let_go, still_pinned

log = logging.getLogger(__name__)

STEP_BYTES, STEP_ENTRIES = 1_000_000_000, 24
"""A step ends when it has that much: so much lies in the vault twice meanwhile, and is done again after a kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekeyed:
    """What a run did. `entries`: those with new objects; `version`: of the journal, when it was done.

    `damaged`: entries that are as they were, by number, because no whole copy of them is left. `kept_back`: old objects
    that are pinned all the same, with who has them or why. The next run tries again.
    """

    database: str
    version: int
    entries: tuple[Entry, ...]
    recipients: tuple[KeyFingerprint, ...]
    damaged: Mapping[int, str]
    kept_back: Mapping[Cid, str]

    def require_all(self) -> None:
        """Raises Corrupted if some entries could not be read."""
        if self.damaged:
            raise Corrupted(
                "; ".join(f"entry {number} is not encrypted anew: {why}" for number, why in self.damaged.items()),
                next_step=f"see what is left of it: pgkeep audit {self.database} --share 1; then run this again",
            )


def outdated(known: Journal, sealer: Sealer, *, every: bool = False) -> tuple[Entry, ...]:
    """The entries that others can read than the configured recipients, or that another key has signed.

    `every`: those of the same keys, too, which may have other subkeys by now.
    """
    now = (tuple(sorted(sealer.readers("backup"))), sealer.signer)
    return tuple(
        entry
        for entry in known.entries
        if entry.backup.parts and (every or (tuple(sorted(entry.recipients)), entry.signer) != now)
    )


def steps(entries: Sequence[Entry]) -> Iterator[tuple[Entry, ...]]:
    """The entries in the portions in which they are done."""
    step: tuple[Entry, ...] = ()
    for entry in entries:
        step = (*step, entry)
        if len(step) == STEP_ENTRIES or sum(one.backup.size for one in step) >= STEP_BYTES:
            yield step
            step = ()
    if step:
        yield step


@dataclass(frozen=True, kw_only=True)
class Rekey:
    """One run for one database. `patience`: seconds to wait for copies; `settling`: for old pins to go away.

    `chained`: whether this node carries the database's changes on. `every`: as for `outdated`. `lost`: objects of which
    an audit has found no whole copy.
    """

    source: Source
    sealer: Sealer
    vault: Vault
    journals: JournalStore
    chained: bool
    patience: float
    settling: float = PATIENCE
    every: bool = False
    lost: Collection[Cid] = ()
    watch: Watch = unwatched

    def run(self) -> Rekeyed:
        """Does what is left to do. Safe to repeat, and to kill. What is damaged does not keep the others from it.

        Raises ConfigError (no private key here that opens the old objects; the chain was not continued with this
        node's key yet), Corrupted, NotReplicated, JournalMovedOn, Unavailable; then all that the journal names is
        there.
        """
        head, kept_back = self._begin()
        todo = outdated(head.journal, self.sealer, every=self.every)
        self._require_key(todo)
        damaged = dict[int, str]()
        for step in steps(todo):
            head = self._put_in_place(self._anew(step, damaged))
            kept_back = self._let_go(head)
            log.info("%s: entries up to %d are done", head.journal.database, step[-1].sequence)
        numbers = {entry.sequence for entry in todo} - damaged.keys()
        return Rekeyed(
            database=self.journals.database,
            version=head.journal.sequence,
            entries=tuple(entry for entry in head.journal.entries if entry.sequence in numbers),
            recipients=tuple(sorted(self.sealer.readers("backup"))),
            damaged=damaged,
            kept_back=kept_back,
        )

    def _begin(self) -> tuple[Head, Mapping[Cid, str]]:
        """What a run before, which may have been killed, has left to do."""
        with self.source.exclusively():
            head = self.journals.head_for_writing()
            self._require_own_chain(head.journal)
            self.journals.secure(head)
        return head, self._let_go(head)

    def _require_own_chain(self, known: Journal) -> None:
        """Else it would look as if this key had signed what another has, and the break would never be seen."""
        last = chain.end(known)
        if self.chained and last is not None and last.signer != self.sealer.signer:
            raise ConfigError(
                f"the changes of {known.database} end with entry {last.sequence}, which another key has signed "
                f"({last.signer}), and the journal does not show that break yet",
                next_step=f"pgkeep backup {known.database}: it records the break, and begins anew with this node's "
                "key; then run this again",
            )

    def _require_key(self, todo: Sequence[Entry]) -> None:
        """Tried on something small, before anything large is read."""
        full = next((entry for entry in todo if entry.backup.part("globals") and not self._is_lost(entry)), None)
        if full is not None:
            with suppress(Corrupted):  # that has its own place in the report
                restore.require_private_key(full, self.sealer, self.vault)

    def _is_lost(self, entry: Entry) -> bool:
        return any(part.cid in self.lost for part in entry.backup.parts)

    def _anew(self, step: Sequence[Entry], damaged: dict[int, str]) -> Sequence[tuple[Entry, Replicated]]:
        """These entries with new objects, on enough peers. Whatever goes wrong, the new ones are let go of again."""
        done = list[tuple[Entry, Replicated]]()
        with ExitStack() as stack:
            for entry in step:
                if self._is_lost(entry):
                    damaged[entry.sequence] = "the last audit found no whole copy of it"
                    continue
                try:
                    done.append((entry, self._sealed_anew(entry, stack)))
                except Corrupted as error:
                    log.warning("entry %d stays as it is: %s", entry.sequence, error.what)
                    damaged[entry.sequence] = error.what
        return done

    def _sealed_anew(self, entry: Entry, step: ExitStack) -> Replicated:
        """`step`: what is let go of if it fails in the end."""
        parts = Parts(
            database=self.journals.database,
            kind=entry.backup.kind,
            number=entry.sequence,
            sealer=self.sealer,
            vault=self.vault,
        )
        with ExitStack() as own:
            own.enter_context(parts.or_nothing())
            for part in entry.backup.parts:
                parts.store(part.name, restore.plaintext(part, self.sealer, self.vault, watch=self.watch))
            _require_same(entry, parts)
            anew = replace(entry.backup, number=entry.sequence, parts=tuple(parts.stored))
            sealed = backup.check(Stored(backup=anew), self.sealer, self.vault)
            replicated = backup.replicate(sealed, self.vault, copies=self.journals.copies, patience=self.patience)
            step.push(own.pop_all())
        return replicated

    def _put_in_place(self, anew: Sequence[tuple[Entry, Replicated]]) -> Head:
        """From here on nothing new is let go of when something fails: a journal may name it already."""
        with self.source.exclusively():
            head = self.journals.head_for_writing()
            there = [(entry, sealed) for entry, sealed in anew if _still_there(entry, head.journal)]
            if not there:
                return head
            for _, sealed in there:
                backup.require_still(sealed, self.journals)
            left = still_pinned(head.journal.leaving, self.vault.listing(name_prefix(self.journals.database)))
            changed = [journal.with_objects(head.journal.entry(entry.sequence), sealed) for entry, sealed in there]
            return self.journals.exchange(head, changed, leaving=left)

    def _let_go(self, head: Head) -> Mapping[Cid, str]:
        return let_go(head.journal.leaving, self.vault, database=self.journals.database, patience=self.settling)


def _still_there(entry: Entry, known: Journal) -> bool:
    """What was retired meanwhile stays away; its new objects are litter."""
    return any(one.sequence == entry.sequence and one.backup.parts == entry.backup.parts for one in known.entries)


def _require_same(entry: Entry, anew: Parts) -> None:
    """The same plaintext, part by part. Raises Corrupted."""
    for old, new in zip(entry.backup.parts, anew.stored, strict=True):
        if (old.name, old.plain_size, old.plain_digest) != (new.name, new.plain_size, new.plain_digest):
            raise Corrupted(
                f"{old.name} of entry {entry.sequence} was not the same when it was encrypted anew",
                next_step="nothing was changed; run it again, and report it if it stays so",
            )
