"""How the newest valid version of a journal is found, with nothing but peers and keys (invariant I6).

All peers are asked for what is pinned under the journal's name, in the cluster and in Kubo. The highest number found
must be a valid version, signed by a trusted node, holding what its name says, and continuing the versions kept beside
it. If it is not, that is an error to look at, never a reason to take an older one quietly.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgkeep import journal
from pgkeep.copies import is_damaged
from pgkeep.errors import ConfigError, Corrupted, NotRestorable, PgkeepError, Unavailable
from pgkeep.journal import Ancestor, Head, Journal
from pgkeep.model import Cid, is_cid
from pgkeep.pin_names import is_draft, name_prefix, numbered
from pgkeep.ports import Listing, Opener, Place, Vault

log = logging.getLogger(__name__)

Versions = Mapping[int, frozenset[Cid]]

LARGEST_JOURNAL = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class JournalSearch:
    """Looks for the journal of one database."""

    database: str
    vault: Vault
    sealer: Opener

    def listing(self) -> Listing:
        """All that is pinned for this database, wherever. Raises Unavailable: nobody answers."""
        return self.vault.listing(name_prefix(self.database))

    def versions(self, listing: Listing) -> Versions:
        """What is pinned as a version of the journal, by number."""
        return numbered(listing.names, database=self.database, what="journal")

    def head(self, listing: Listing, *, accept: str | None = None) -> Head:
        """The newest version. `accept`: the number or the CID of a version to take instead, on a person's word.

        An object that has lost its name is found by its CID. Raises NotRestorable (no journal anywhere), Corrupted,
        Unavailable, ConfigError (no key here opens it).
        """
        versions = self.versions(listing)
        if accept is not None and is_cid(accept) and not any(accept in cids for cids in versions.values()):
            return self.find(Cid(accept), None)[0]
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

    def version(self, known: Ancestor) -> Head:
        """The version that another one names as the one before. Raises Corrupted, Unavailable, ConfigError."""
        valid, refused = self.sift(known.sequence, frozenset({known.cid}))
        if not valid:
            raise refused[0]
        return valid[0]

    def sift(self, sequence: int, cids: frozenset[Cid]) -> tuple[list[Head], list[PgkeepError]]:
        """The valid ones among the objects that claim to be that version, and why the others are not."""
        heads, refused = list[Head](), list[PgkeepError]()
        for cid in sorted(cids):
            try:
                heads.append(self.find(cid, sequence)[0])
            except (Corrupted, Unavailable, ConfigError) as error:
                refused.append(error)
        return heads, refused

    def read(self, cid: Cid, sequence: int | None, *, at: Place) -> tuple[Head, bytes]:
        """The version in that object, as that place gives it, and the very bytes of the object.

        Raises Corrupted, Unavailable, ConfigError.
        """
        sealed = b"".join(limited(self.vault.read(cid, at=at)))
        text = b"".join(self.sealer.open(iter([sealed])))
        return Head(journal=journal.read(text, database=self.database, sequence=sequence), cid=cid), sealed

    def find(self, cid: Cid, sequence: int | None) -> tuple[Head, bytes]:
        """As `read`, from the first place that has it whole and valid; else raises the most telling refusal."""
        refusals = list[PgkeepError]()
        for place in self.vault.places():
            try:
                return self.read(cid, sequence, at=place)
            except (Unavailable, ConfigError, Corrupted) as error:
                log.info("%s cannot be read at %s: %s", cid, place.name, error)
                refusals.append(error)
        for telling in (Corrupted, ConfigError):
            if found := [error for error in refusals if isinstance(error, telling)]:
                raise found[-1]
        reasons = "; ".join(dict.fromkeys(error.what for error in refusals))
        raise Unavailable(f"{cid} cannot be read: {reasons or 'no peer answers'}", next_step="bring more peers back")

    def _version(self, sequence: int, versions: Versions) -> Head:
        heads, refused = self.sift(sequence, versions[sequence])
        if len(heads) == 1:
            for error in refused:
                log.warning("an object that claims to be version %d is ignored: %s", sequence, error)
            return heads[0]
        cids = ", ".join(sorted(versions[sequence]))
        if heads:
            raise Corrupted(
                f"the journal of {self.database} has {len(heads)} different valid versions {sequence} ({cids})",
                next_step=_how_to_go_on("CID"),
            )
        raise self._why_not(sequence, versions[sequence], refused)

    def _why_not(self, sequence: int, cids: frozenset[Cid], refused: list[PgkeepError]) -> PgkeepError:
        reasons = "; ".join(error.what for error in refused)
        no_key = next((error for error in refused if isinstance(error, ConfigError)), None)
        if no_key is not None:
            return no_key
        if self._is_far_away(refused, cids):
            return Unavailable(
                f"version {sequence} of the journal of {self.database} is on no peer that answers: {reasons}",
                next_step="bring more peers back; or " + _how_to_go_on(sequence - 1),
            )
        return Corrupted(
            f"version {sequence} of the journal of {self.database} is not valid: {reasons}",
            next_step=_how_to_go_on(sequence - 1),
        )

    def _is_far_away(self, refused: list[PgkeepError], cids: frozenset[Cid]) -> bool:
        """No peer that answers is said to have it; one that is, and does not give it, has lost it."""
        unread = all(isinstance(error, Unavailable) for error in refused)
        return unread and not any(is_damaged(cid, self.vault) for cid in cids)

    def _accepted(self, accept: str, versions: Versions) -> Head:
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
        """What is `recorded/<n>` was named by version n. `full/<n>` and `changes/<n>` were begun at n-1."""
        named = max(numbered(listing.names, database=self.database, what="recorded"), default=0)
        begun = max(
            (n for what in ("full", "changes") for n in numbered(listing.names, database=self.database, what=what)),
            default=0,
        )
        if max(named, begun - 1) > head.journal.sequence:
            raise Corrupted(
                f"the newest journal of {self.database} found is version {head.journal.sequence}, but the vault holds "
                f"what version {max(named, begun - 1)} named or followed: newer versions were removed",
                next_step=_how_to_go_on(head.journal.sequence),
            )

    def _check_chain(self, head: Head, versions: Versions) -> None:
        newer = head.journal
        while newer.sequence - 1 in versions:
            heads, refused = self.sift(newer.sequence - 1, versions[newer.sequence - 1])
            if not heads:
                log.warning("version %d of the journal cannot be read here: %s", newer.sequence - 1, refused[0].what)
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
        if any(not is_draft(name, database=self.database) for name in listing.names):
            return Corrupted(
                f"the vault holds objects of {self.database}, but no journal that names them",
                next_step="do not start anew over them: see docs/operating.md, 'A journal that is refused'",
            )
        return NotRestorable(
            f"there is no journal of {self.database} in the vault",
            next_step=f"check the name; a database new to pgkeep starts with: pgkeep init {self.database}",
        )


def _how_to_go_on(version: int | str) -> str:
    hint = "" if version == -1 else f"; `--journal {version}` reads a version that you trust"
    return f"see docs/operating.md, 'A journal that is refused'{hint}"


def read_mailed(chunks: Iterator[bytes], sealer: Opener, *, database: str | None) -> Journal:
    """A version that was kept somewhere else than in the vault. `database`: whose it must be, or None.

    It may be any version: that is for whoever kept it to know. Raises Corrupted, Unavailable, ConfigError (also: it is
    the journal of another database).
    """
    found = journal.read(b"".join(sealer.open(limited(chunks))), database=None, sequence=None)
    if database not in (None, found.database):
        raise ConfigError(
            f"it is the journal of {found.database}, not of {database}",
            next_step=f"name the file with the journal of {database}, or {found.database} as the database",
        )
    return found


def limited(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """No object that merely bears a journal's name may fill the memory."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > LARGEST_JOURNAL:
            raise Corrupted("it is larger than any journal", next_step="find out who pinned it")
        yield chunk
