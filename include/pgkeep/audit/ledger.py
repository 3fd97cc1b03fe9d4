"""What audits remember: which copy was last read back by which audit, and since when litter is known.

It lies in the vault, sealed like the journal, so that it outlives this host and Airflow, and nobody else can write it.
Several may be there, after a crash or after two audits at once: all of them together are the ledger, so no lock is
needed. Lost, it costs time and no data: what was read is read again, in its turn, what is lost is found again then, and
litter is new again.
"""

import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pgkeep import records
from pgkeep.copies import claimed, patiently
from pgkeep.errors import ConfigError, Corrupted, NotReplicated, Unavailable
from pgkeep.journal import Journal
from pgkeep.journal_search import JournalSearch, limited
from pgkeep.journal_store import JournalStore
from pgkeep.model import Cid, Instant, PeerId
from pgkeep.pin_names import audit_name, numbered
from pgkeep.ports import Listing

log = logging.getLogger(__name__)

FORMAT = 3
PATIENCE = 10.0
"""Seconds for the copies of a ledger, before those it was made from go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Where the journal stood: its version, and the newest entry's moment by the source's clock and by the writer's."""

    version: int
    cut: Instant
    recorded: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """After audit `number`. `audits`: when each ended that is still of interest, by its number.

    `read`: by CID and peer, the last audit that read that copy; with a minus before it, it did not get the very bytes.
    `litter`: by CID, where the journal stood when an audit first saw it. `damage`: what audits found damaged or lost
    and could not mend, in a sentence for each part of a backup; `versions`: the same of the journal's own versions.
    `lost`: of which they found no whole copy anywhere. All stay until an audit finds it whole: a peer that is away
    makes nothing better.
    """

    format: int
    database: str
    number: int
    audits: Mapping[str, Instant]
    read: Mapping[str, Mapping[str, int]]
    litter: Mapping[str, Sight]
    damage: Mapping[str, str]
    versions: Mapping[str, str]
    lost: tuple[Cid, ...]

    def last_read(self, cid: Cid, peer: PeerId) -> int | None:
        """The audit that last read that copy back, or None; below zero: it was damaged then."""
        return self.read.get(cid, {}).get(peer)

    def damaged(self, journal: Journal) -> str | None:
        """What of it that journal still names: the first, and how much more there is. None: nothing."""
        named = {part.cid for entry in journal.entries for part in entry.backup.parts}
        found = [*sorted(said for cid, said in self.damage.items() if cid in named), *sorted(self.versions.values())]
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        return found[0] + more if found else None

    @property
    def ended(self) -> Instant | None:
        """When the last audit ended, by its host's clock."""
        return self.audits.get(str(self.number))


def blank(database: str) -> Ledger:
    """Before the first audit."""
    return Ledger(
        format=FORMAT, database=database, number=0, audits={}, read={}, litter={}, damage={}, versions={}, lost=()
    )


def standpoint(journal: Journal) -> Sight:
    """Where the journal stands. By its last line, not its latest moment: a clock that was ahead once is forgotten."""
    if not journal.entries:
        return Sight(version=journal.sequence, cut=journal.written, recorded=journal.written)
    last = journal.entries[-1]
    return Sight(version=journal.sequence, cut=last.backup.cut.time, recorded=last.recorded)


def merged(ledgers: Iterable[Ledger], database: str) -> Ledger:
    """All of them together: the last reading of each copy, the first sight of each piece of litter, the last word."""
    return functools.reduce(_together, ledgers, blank(database))


def _together(one: Ledger, other: Ledger) -> Ledger:
    return replace(
        one,
        number=max(one.number, other.number),
        audits={**one.audits, **other.audits},
        read={cid: _last(one.read.get(cid, {}), other.read.get(cid, {})) for cid in {**one.read, **other.read}},
        litter={**other.litter, **{cid: _first(seen, other.litter.get(cid)) for cid, seen in one.litter.items()}},
        damage=dict(sorted(pair for ledger in _newest(one, other) for pair in ledger.damage.items())),
        versions=dict(sorted(pair for ledger in _newest(one, other) for pair in ledger.versions.items())),
        lost=tuple(sorted({cid for ledger in _newest(one, other) for cid in ledger.lost})),
    )


def _newest(one: Ledger, other: Ledger) -> list[Ledger]:
    """The newer word; of two audits at once, what either has found: the next one will have read it again."""
    newest = max(one.number, other.number)
    return [ledger for ledger in (one, other) if ledger.number == newest]


def _last(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The newer word; of two that are equally new, that it is damaged: it is read once more then."""
    peers = {**one, **other}
    return {peer: max((known[peer] for known in (one, other) if peer in known), key=_newness) for peer in peers}


def _newness(last: int) -> tuple[int, bool]:
    return abs(last), last < 0


def _first(one: Sight, other: Sight | None) -> Sight:
    return one if other is None or one.version <= other.version else other


def following(
    ledger: Ledger,
    *,
    read: Mapping[str, Mapping[str, int]],
    litter: Mapping[str, Sight],
    damage: Mapping[str, str],
    versions: Mapping[str, str],
    lost: tuple[Cid, ...],
    ended: Instant,
) -> Ledger:
    """After one audit more. Of the moments of audits, those that a copy was last read in are kept."""
    number = ledger.number + 1
    audits = {**ledger.audits, str(number): ended}
    wanted = {str(last) for peers in read.values() for last in peers.values()} | {str(number)}
    return replace(
        ledger,
        number=number,
        audits={of: moment for of, moment in audits.items() if of in wanted},
        read=read,
        litter=litter,
        damage=damage,
        versions=versions,
        lost=lost,
    )


def find(search: JournalSearch, listing: Listing) -> Mapping[Cid, Ledger]:
    """The ledgers of a database that can be read. What else bears such a name is litter."""
    found = dict[Cid, Ledger]()
    for cid in frozenset[Cid]().union(*numbered(listing.names, database=search.database, what="audit").values()):
        ledger = _read(search, cid)
        if ledger is not None:
            found[cid] = ledger
    return found


def known(search: JournalSearch, listing: Listing) -> Ledger:
    """All of them together. Raises Unavailable: no peer answers."""
    return merged(find(search, listing).values(), search.database)


def write(ledger: Ledger, journals: JournalStore, *, instead_of: Iterable[Cid]) -> Cid:
    """Keeps it, then lets go of those it was made from. While a peer is away it has fewer copies: the next is written
    anew; while it has none but this node's, the older ones stay. Raises what the sealer and the vault raise.
    """
    name = audit_name(journals.database, number=ledger.number)
    sealed = journals.sealer.seal(iter([records.to_bytes(ledger)]), audience="journal")
    cid = journals.vault.add(sealed, name=name)
    copies = _pin(cid, name, journals)
    if copies == 1 < journals.copies:
        return cid
    try:
        patiently(lambda: _require(cid, copies, journals), patience=PATIENCE)
    except (NotReplicated, Unavailable) as error:
        log.warning("the audits before stay, too: %s", error)
        return cid
    for old in instead_of:
        journals.vault.drop(old)
    return cid


def _require(cid: Cid, copies: int, journals: JournalStore) -> None:
    if (have := len(claimed(cid, journals.vault))) < copies:
        raise NotReplicated(
            f"the record of this audit of {journals.database} has {have} of {copies} copies",
            next_step="none: the next audit goes on from all of them",
            have=have,
            want=copies,
            holders={},
        )


def _pin(cid: Cid, name: str, journals: JournalStore) -> int:
    """With as many copies as can be had now: how many."""
    for copies in range(journals.copies, 0, -1):
        try:
            journals.vault.pin(cid, name=name, copies=copies)
        except Unavailable:
            if copies == 1:
                raise
        else:
            return copies
    raise AssertionError("nobody asks for no copies")


def _read(search: JournalSearch, cid: Cid) -> Ledger | None:
    for place in search.vault.places():
        try:
            text = b"".join(search.sealer.open(limited(search.vault.read(cid, at=place))))
            ledger = records.from_bytes(Ledger, text)
        except (Unavailable, Corrupted, ConfigError) as error:
            log.info("%s, an audit of %s, is passed over: %s", cid, search.database, error.what)
            continue
        if (ledger.format, ledger.database) == (FORMAT, search.database):
            return ledger
    return None
