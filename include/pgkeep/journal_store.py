"""Where the versions of a journal live, how the newest valid one is found, and how the next one is published.

Reading (invariant I6): all peers are asked for what is pinned under the journal's name, in the cluster and in Kubo;
the highest number found must be a valid version, signed by a trusted node, holding what its name says, and continuing
the versions kept beside it. If it is not, that is an error to look at, never a reason to take an older one quietly.

Publishing (I3, I11), under the source's writer lock: into the own peer under a draft name; to the cluster under its
number (this is the commit); wait until enough distinct peers have it; look whether somebody else published the same
number. Only then it counts.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgkeep import journal, records
from pgkeep.copies import is_damaged, patiently
from pgkeep.errors import Corrupted, JournalMovedOn, NotReplicated, NotRestorable, PgkeepError, Unavailable
from pgkeep.journal import Head, Journal
from pgkeep.model import Cid, Entry, draft_name, journal_name, name_prefix, now, numbered
from pgkeep.ports import Listing, Sealer, Vault

log = logging.getLogger(__name__)

KEPT_VERSIONS = 8
LARGEST_JOURNAL = 256 * 1024 * 1024
REFUSED = "see docs/operating.md, 'A journal that is refused'; `--journal {cid}` reads a version that you trust"


@dataclass(frozen=True, kw_only=True)
class JournalStore:
    """The journal of one database in the vault. `patience`: seconds that a new version may take to be replicated."""

    database: str
    vault: Vault
    sealer: Sealer
    copies: int
    patience: float = 60.0

    def head(self, *, accept: str | None = None) -> Head:
        """The newest version. `accept`: the number or the CID of a version to take instead, on a person's word.

        Raises NotRestorable (no journal anywhere), Corrupted (see above), Unavailable (nobody answers).
        """
        listing = self.vault.listing(name_prefix(self.database))
        versions = self._versions(listing)
        if not versions:
            raise self._no_journal(listing)
        for peer, reason in listing.silent.items():
            log.warning("peer %s did not answer (%s): the journal was looked for on the others", peer, reason)
        if accept is not None:
            return self._accepted(accept, versions)
        head = self._version(max(versions), versions)
        self._refuse_rollback(head, listing)
        self._check_chain(head, versions)
        return head

    def head_for_writing(self) -> Head:
        """As `head`, and raises Unavailable when so many peers are silent that a newer version could hide there."""
        self._require_answers(at_most_silent=self.copies - 1)
        return self.head()

    def begin(self) -> Head:
        """The journal's first version, unless there is a journal already; then its head. Safe to repeat.

        Raises Unavailable unless every peer answers: "nothing there" must be everybody's word.
        """
        listing = self._require_answers(at_most_silent=0)
        if self._versions(listing):
            head = self.head()
            self._replicate(head.cid, head.journal.sequence)
            return head
        if numbered(listing.names, database=self.database, what="full"):
            raise Corrupted(
                f"the vault holds backups of {self.database} but no journal that names them",
                next_step="do not start anew over them: see docs/operating.md, 'A journal that is refused'",
            )
        return self._publish(journal.begin(self.database, now=now()))

    def append(self, head: Head, entry: Entry) -> Head:
        """Publishes the version after `head`. Only call it while the source's writer lock is held.

        Raises JournalMovedOn (another writer was faster; ours is withdrawn), NotReplicated, Unavailable.
        """
        new = self._publish(journal.append(head, entry))
        self._forget_oldest(new)
        return new

    def secure(self, head: Head) -> None:
        """Makes sure that a version found is held by enough peers: its writer may have died before that."""
        self._replicate(head.cid, head.journal.sequence)

    # --- finding -------------------------------------------------------------------------------------------------

    def _versions(self, listing: Listing) -> dict[int, frozenset[Cid]]:
        return numbered(listing.names, database=self.database, what="journal")

    def _require_answers(self, *, at_most_silent: int) -> Listing:
        listing = self.vault.listing(name_prefix(self.database))
        if len(listing.silent) > at_most_silent:
            who = "; ".join(f"{peer}: {reason}" for peer, reason in listing.silent.items())
            raise Unavailable(
                f"{len(listing.silent)} of {listing.asked} peers do not answer ({who}), "
                f"so a newer version of the journal of {self.database} could be there",
                next_step="bring these peers back, then run it again",
            )
        return listing

    def _version(self, sequence: int, versions: Mapping[int, frozenset[Cid]]) -> Head:
        heads, refused = self._sift(sequence, versions[sequence])
        if len(heads) == 1:
            for error in refused:
                log.warning("an object that claims to be version %d is ignored: %s", sequence, error)
            return heads[0]
        cids = ", ".join(sorted(versions[sequence]))
        if heads:
            raise Corrupted(
                f"the journal of {self.database} has {len(heads)} different valid versions {sequence} ({cids})",
                next_step=REFUSED.format(cid="CID"),
            )
        reasons = "; ".join(error.what for error in refused)
        if self._is_far_away(refused, versions[sequence]):
            raise Unavailable(
                f"version {sequence} of the journal of {self.database} ({cids}) is on no peer that answers",
                next_step="bring more peers back; " + REFUSED.format(cid=sequence - 1),
            )
        raise Corrupted(
            f"version {sequence} of the journal of {self.database} is not valid: {reasons}",
            next_step=REFUSED.format(cid=sequence - 1),
        )

    def _is_far_away(self, refused: list[PgkeepError], cids: frozenset[Cid]) -> bool:
        """No peer that answers is said to have it; one that is, and does not give it, has lost it."""
        unread = all(isinstance(error, Unavailable) for error in refused)
        return unread and not any(is_damaged(cid, self.vault) for cid in cids)

    def _sift(self, sequence: int, cids: frozenset[Cid]) -> tuple[list[Head], list[PgkeepError]]:
        heads, refused = list[Head](), list[PgkeepError]()
        for cid in sorted(cids):
            try:
                heads.append(Head(journal=self._read(cid, sequence), cid=cid))
            except (Corrupted, Unavailable) as error:
                refused.append(error)
        return heads, refused

    def _read(self, cid: Cid, sequence: int) -> Journal:
        """The version from the first place that has it whole and valid; else the most telling refusal."""
        refusal: PgkeepError = Unavailable(f"{cid} is nowhere", next_step="bring more peers back")
        for place in self.vault.places():
            try:
                text = b"".join(self.sealer.open(_limited(self.vault.read(cid, at=place))))
                return journal.read(text, database=self.database, sequence=sequence)
            except Unavailable as error:
                log.info("%s cannot be read at %s: %s", cid, place.name, error)
            except Corrupted as error:
                refusal = error
        raise refusal

    def _accepted(self, accept: str, versions: Mapping[int, frozenset[Cid]]) -> Head:
        for sequence, cids in versions.items():
            if accept == str(sequence):
                return self._version(sequence, versions)
            if accept in cids:
                return self._version(sequence, {sequence: frozenset({Cid(accept)})})
        raise NotRestorable(
            f"there is no version {accept} of the journal of {self.database}",
            next_step=f"choose one of {', '.join(map(str, sorted(versions)))}",
        )

    def _refuse_rollback(self, head: Head, listing: Listing) -> None:
        """A backup is numbered one above the journal's version of its day: a higher number proves a newer journal."""
        newest = max(numbered(listing.names, database=self.database, what="full"), default=0)
        if newest > head.journal.sequence + 1:
            raise Corrupted(
                f"the vault holds full backup {newest} of {self.database}, but the newest journal found is version "
                f"{head.journal.sequence}: newer versions were removed",
                next_step=REFUSED.format(cid=head.journal.sequence),
            )

    def _check_chain(self, head: Head, versions: Mapping[int, frozenset[Cid]]) -> None:
        newer = head.journal
        while newer.sequence - 1 in versions:
            heads, _ = self._sift(newer.sequence - 1, versions[newer.sequence - 1])
            if not heads:
                log.warning("version %d of the journal cannot be read any more", newer.sequence - 1)
                return
            older = next((h for h in heads if h.ancestor == newer.previous), heads[0])
            journal.check_link(newer, older)
            newer = older.journal

    def _no_journal(self, listing: Listing) -> PgkeepError:
        if listing.silent:
            return Unavailable(
                f"no journal of {self.database} on the peers that answered; silent: {', '.join(listing.silent)}",
                next_step="bring these peers back: one of them may have it",
            )
        return NotRestorable(
            f"there is no journal of {self.database} in the vault",
            next_step=f"check the name; a database new to pgkeep starts with: pgkeep init {self.database}",
        )

    # --- publishing ----------------------------------------------------------------------------------------------

    def _publish(self, version: Journal) -> Head:
        sealed = self.sealer.seal(iter([records.to_bytes(version)]), audience="journal")
        cid = self.vault.add(sealed, name=draft_name(self.database, sequence=version.sequence))
        self._replicate(cid, version.sequence)
        self._require_alone(cid, version.sequence)
        return Head(journal=version, cid=cid)

    def _replicate(self, cid: Cid, sequence: int) -> None:
        name = journal_name(self.database, sequence=sequence)
        started = time.monotonic()
        patiently(lambda: self.vault.pin(cid, name=name, copies=self.copies), patience=self.patience)
        left = self.patience - (time.monotonic() - started)
        patiently(lambda: self._require_copies(cid, sequence), patience=left)

    def _require_copies(self, cid: Cid, sequence: int) -> None:
        holders = self.vault.holders(cid)
        have = len({holder.peer for holder in holders if holder.holds})
        if have < self.copies:
            raise NotReplicated(
                f"version {sequence} of the journal has {have} of {self.copies} copies",
                next_step="bring the missing peers back; the next try goes on from here",
                have=have,
                want=self.copies,
                holders={holder.name: holder.status for holder in holders},
            )

    def _require_alone(self, cid: Cid, sequence: int) -> None:
        """The lock should make this impossible; a lock lost half-way would not. The smallest valid CID stays."""
        listing = self.vault.listing(name_prefix(self.database))
        rivals, _ = self._sift(sequence, self._versions(listing).get(sequence, frozenset()) - {cid})
        if any(rival.cid < cid for rival in rivals):
            self.vault.drop(cid)
            raise JournalMovedOn(
                f"the journal of {self.database} moved on: somebody else wrote version {sequence} at the same time",
                next_step="run it again",
            )

    def _forget_oldest(self, head: Head) -> None:
        listing = self.vault.listing(name_prefix(self.database))
        for sequence, cids in self._versions(listing).items():
            if sequence <= head.journal.sequence - KEPT_VERSIONS:
                for cid in cids:
                    self.vault.drop(cid)


def _limited(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """No object that merely bears a journal's name may fill the memory."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > LARGEST_JOURNAL:
            raise Corrupted("it is larger than any journal", next_step="find out who pinned it")
        yield chunk
