"""How the next version of a journal is published, so that it survives this host and nothing is ever forked.

Under the source's writer lock (I3, I11): into the own peer under a draft name, and read back from there; to the
cluster under its number, which is the commit; wait until enough distinct peers give its bytes back; look whether
somebody else published the same number. Only then it counts.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pgkeep import journal, records
from pgkeep.copies import Ciphertext, patiently, proven_copies
from pgkeep.errors import ConfigError, Corrupted, JournalMovedOn, Unavailable
from pgkeep.journal import Head, Journal
from pgkeep.journal_search import JournalSearch
from pgkeep.meter import Meter
from pgkeep.model import Cid, Entry, Part, Verdict, now
from pgkeep.pin_names import draft_name, is_draft, journal_name, recorded_name
from pgkeep.ports import Listing, Sealer, Vault

log = logging.getLogger(__name__)

KEPT_VERSIONS = 8


@dataclass(frozen=True, kw_only=True)
class JournalStore:
    """The journal of one database in the vault. `patience`: seconds that a new version may take to be replicated."""

    database: str
    vault: Vault
    sealer: Sealer
    copies: int
    patience: float = 60.0

    @property
    def search(self) -> JournalSearch:
        """How versions are found."""
        return JournalSearch(database=self.database, vault=self.vault, sealer=self.sealer)

    def head(self, *, accept: str | None = None) -> Head:
        """The newest version, for readers: see `JournalSearch.head`."""
        return self.search.head(self.search.listing(), accept=accept)

    def head_for_writing(self) -> Head:
        """As `head`, and raises Unavailable when so many peers are silent that a newer version could hide there."""
        return self.search.head(self._heard(at_most_silent=self.copies - 1))

    def begin(self) -> Head:
        """The journal's first version, unless there is a journal already; then its head. Safe to repeat.

        Only call it while the source's writer lock is held. Raises Unavailable unless every peer answers: "nothing
        there" must be everybody's word. Raises Corrupted when there are backups without a journal.
        """
        listing = self._heard(at_most_silent=0)
        if any(not is_draft(name, database=self.database) for name in listing.names):
            head = self.search.head(listing)
            self.secure(head)
            return head
        return self._publish(journal.begin(self.database, now=now()))

    def append(self, head: Head, entry: Entry) -> Head:
        """Publishes the version after `head`. Only call it while the source's writer lock is held.

        Raises JournalMovedOn (another writer was faster; ours is withdrawn), NotReplicated, Unavailable, Corrupted.
        """
        new = self._publish(journal.append(head, entry))
        self._tidy(new, entry.backup.parts)
        return new

    def judge(self, head: Head, verdict: Verdict) -> Head:
        """Publishes the version after `head` with what a drill has found. Otherwise as `append`."""
        return self._publish_over(journal.judge(head, verdict))

    def retire(self, head: Head, gone: Collection[Entry], *, leaving: Collection[Cid]) -> Head:
        """Publishes the version after `head` that names these entries no more. Otherwise as `append`.

        Only when it has returned may their objects be let go of (I4). `leaving`: see `journal.retire`.
        """
        return self._publish_over(journal.retire(head, gone, leaving=leaving, now=now()))

    def exchange(self, head: Head, changed: Collection[Entry], *, leaving: Collection[Cid]) -> Head:
        """Publishes the version after `head` with these entries in the place of those with their numbers.

        Otherwise as `retire`. `leaving`: see `journal.exchange`.
        """
        new = self._publish(journal.exchange(head, changed, leaving=leaving, now=now()))
        self._tidy(new, [part for entry in changed for part in entry.backup.parts])
        return new

    def lineage(self, head: Head, *, back_to: int) -> dict[int, Cid]:
        """The objects of that version and of those it comes after, by their numbers, as far as they can be read."""
        found, before = {head.journal.sequence: head.cid}, head.journal.previous
        while before and before.sequence >= back_to:
            found[before.sequence] = before.cid
            try:
                before = self.search.version(before).journal.previous if before.sequence > back_to else None
            except (Corrupted, Unavailable, ConfigError):
                break
        return found

    def secure(self, head: Head) -> None:
        """Makes sure that a version found is held by enough peers: its writer may have died before that."""
        self._replicate(self.measured(head), head.journal.sequence)

    def _heard(self, *, at_most_silent: int) -> Listing:
        listing = self.search.listing()
        if len(listing.silent) > at_most_silent:
            who = "; ".join(f"{peer}: {reason}" for peer, reason in listing.silent.items())
            raise Unavailable(
                f"{len(listing.silent)} of {listing.asked} peers do not answer ({who}), "
                f"so a newer version of the journal of {self.database} could be there",
                next_step="bring these peers back, then run it again",
            )
        return listing

    def _publish(self, version: Journal) -> Head:
        sealed = Meter(self.sealer.seal(iter([records.to_bytes(version)]), audience="journal"))
        name = f"version {version.sequence} of the journal"
        cid = self.vault.add(sealed, name=draft_name(self.database, sequence=version.sequence))
        stored = Ciphertext(name=name, cid=cid, size=sealed.size, digest=sealed.digest)
        if self.search.read(cid, version.sequence, at=self.vault.own())[0].journal != version:
            raise Corrupted(
                f"{stored} reads back different from what was written", next_step="check the own peer's disk"
            )
        self._replicate(stored, version.sequence)
        self._require_alone(stored, version.sequence)
        return Head(journal=version, cid=cid)

    def _publish_over(self, version: Journal) -> Head:
        """A version without a new entry: an old one's part gets the name that shows that this version existed."""
        new = self._publish(version)
        witness = version.witness
        self._tidy(new, [witness] if witness else [])
        return new

    def measured(self, head: Head) -> Ciphertext:
        """A version found, measured as it was read and found valid. Raises as `JournalSearch.find`."""
        read = Meter([self.sealed(head)])
        read.drain()
        name = f"version {head.journal.sequence} of the journal"
        return Ciphertext(name=name, cid=head.cid, size=read.size, digest=read.digest)

    def sealed(self, head: Head) -> bytes:
        """The object of a version, byte for byte, as it was read and found valid. Raises as `JournalSearch.find`."""
        _, found = self.search.find(head.cid, head.journal.sequence)
        return found

    def _replicate(self, version: Ciphertext, sequence: int) -> None:
        """In the end every Kubo that can be asked knows the name: it is found there if the pinset is ever lost."""
        name = journal_name(self.database, sequence=sequence)

        def attempt() -> None:
            self.vault.pin(version.cid, name=name, copies=self.copies)
            proven_copies([version], self.vault, copies=self.copies)

        patiently(attempt, patience=self.patience)
        self.vault.label(version.cid, name=name)

    def _require_alone(self, version: Ciphertext, sequence: int) -> None:
        """The lock should make this impossible; a lock lost half-way would not. The smallest valid CID stays."""
        same = self.search.versions(self.search.listing()).get(sequence, frozenset())
        rivals, _ = self.search.sift(sequence, same - {version.cid})
        if any(rival.cid < version.cid for rival in rivals):
            self.vault.drop(version.cid)
            raise JournalMovedOn(
                f"the journal of {self.database} moved on: somebody else wrote version {sequence} at the same time",
                next_step="run it again",
            )

    def _tidy(self, head: Head, named: Iterable[Part]) -> None:
        """The version is written: what goes wrong from here on is for the log only. `named`: parts that it names."""
        number = head.journal.sequence
        try:
            for part in named:
                self.vault.label(part.cid, name=recorded_name(self.database, sequence=number, part=part.name))
            for sequence, cids in self.search.versions(self.search.listing()).items():
                if sequence <= number - KEPT_VERSIONS:
                    for cid in cids:
                        self.vault.drop(cid)
        except Unavailable as error:
            log.warning("version %d of the journal is written; old versions stay for now: %s", number, error)
