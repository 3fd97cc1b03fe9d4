"""What must be in the vault, the parts of all entries and the journal's last versions; and how each stands there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgkeep.audit.report import Problem
from pgkeep.copies import Ciphertext, askable, holding
from pgkeep.errors import ConfigError, Corrupted, PgkeepError, Unavailable
from pgkeep.journal import Ancestor, Head, Journal, check_link
from pgkeep.journal_store import KEPT_VERSIONS, JournalStore
from pgkeep.model import Cid, Entry, PeerId
from pgkeep.pin_names import journal_name, numbered, part_name, recorded_name
from pgkeep.ports import Holder, Listing, Place, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An object that must be there. `pin`: its name in the cluster; `label`: in Kubo; `always`: read at each audit.

    `read_back`: the peers that gave its bytes when it was recorded.
    """

    wanted: Ciphertext
    pin: str
    label: str
    always: bool = False
    read_back: frozenset[PeerId] = frozenset()

    @property
    def cid(self) -> Cid:
        return self.wanted.cid

    @property
    def size(self) -> int:
        """Bytes."""
        return self.wanted.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A copy that can be asked for."""

    kept: Kept
    place: Place

    def __str__(self) -> str:
        return f"{self.kept.wanted} at {self.place.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who is said to hold an object (`said`): `held`, where it can be asked for, and `far`, where it cannot now.

    What is wanted where only the cluster peer is silent can be asked for: it is `held`, and read in its turn, though
    nobody claims it. `lacking`: where it can be asked for, is wanted, and is not pinned, though its blocks may be
    there. `away`: where it is wanted, and nobody can say now whether it is there.
    """

    kept: Kept
    said: tuple[Holder, ...]
    held: tuple[Held, ...]
    far: tuple[Holder, ...]
    lacking: tuple[Held, ...]
    away: tuple[Holder, ...]

    @property
    def claims(self) -> int:
        """Distinct peers that are said to hold it."""
        return len(holding(self.said))

    @property
    def askable(self) -> tuple[Held, ...]:
        """The copies that there are to be, wherever they can be asked for."""
        return (*self.held, *self.lacking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The journal's kept versions, newest first, and why one of them cannot be had."""

    heads: tuple[Head, ...]
    problems: tuple[Problem, ...]

    @property
    def lost(self) -> frozenset[Cid]:
        """What the versions say is one of them, though nobody gives it, or no key here opens it."""
        return frozenset(problem.cid for problem in self.problems if problem.cid)

    @property
    def newest(self) -> Journal:
        return self.heads[0].journal

    @property
    def wanted(self) -> frozenset[Cid]:
        """The objects that must be there: the kept versions, and what the newest one names."""
        parts = {part.cid for entry in self.newest.entries for part in entry.backup.parts}
        return frozenset(parts | {head.cid for head in self.heads})

    @property
    def named(self) -> frozenset[Cid]:
        """The objects that any of them names, and they themselves."""
        entries = (entry for head in self.heads for entry in head.journal.entries)
        parts = {part.cid for entry in entries for part in entry.backup.parts}
        return frozenset(parts | {head.cid for head in self.heads})


def versions(head: Head, journals: JournalStore) -> Versions:
    """The last versions, each found by what the one after it says, whether it is still pinned or not."""
    heads, problems = [head], list[Problem]()
    while len(heads) < KEPT_VERSIONS and (before := heads[-1].journal.previous) is not None:
        try:
            older = journals.search.version(before)
            check_link(heads[-1].journal, older)
        except PgkeepError as error:
            problems.append(_unread(before, error, journals))
            break
        heads.append(older)
    return Versions(heads=tuple(heads), problems=tuple(problems))


def _unread(known: Ancestor, error: PgkeepError, journals: JournalStore) -> Problem:
    """What three peers held is gone from all of them: no restore needs it, but whatever did that may not be done. Or it
    is there, and no key of this node's opens it any more.
    """
    if isinstance(error, ConfigError):
        return Problem(
            kind="notice",
            about=f"version {known.sequence} of the journal ({known.cid})",
            what=f"cannot be opened here: {error.what}",
            next_step="nothing, if this node has a new key: no restore needs it, and it is not missed any more when "
            f"there are {KEPT_VERSIONS} newer versions. Else correct [keys] in pgkeep.toml: pgkeep check",
            cid=known.cid,
        )
    gone = isinstance(error, Corrupted) or (isinstance(error, Unavailable) and not journals.search.listing().silent)
    return Problem(
        kind="Corrupted" if gone else "notice",
        about=f"version {known.sequence} of the journal ({known.cid})",
        what=f"cannot be read any more: {error.what}",
        next_step="find out what took it from every peer that had it, before that takes backups: disks, a garbage "
        "collection, somebody with the cluster's password; what is newer is whole: "
        f"pgkeep list {journals.database}. It is not missed any more when there are {KEPT_VERSIONS} newer versions",
        cid=known.cid,
    )


def kept_objects(found: Versions, journals: JournalStore, listing: Listing) -> tuple[Kept, ...]:
    """Each object once, oldest entry first. Raises as `JournalSearch.find`: a version was there a moment ago."""
    labels = numbered(listing.names, database=journals.database, what="recorded")
    known = {cid: number for number in sorted(labels) for cid in labels[number]}
    of_journal = [_journal_object(head, journals) for head in found.heads]
    of_entries = [kept for entry in found.newest.entries for kept in _parts(entry, known)]
    return tuple({kept.cid: kept for kept in [*of_journal, *of_entries]}.values())


def _journal_object(head: Head, journals: JournalStore) -> Kept:
    name = journal_name(journals.database, sequence=head.journal.sequence)
    return Kept(wanted=journals.measured(head), pin=name, label=name, always=True)


def _parts(entry: Entry, known: Mapping[Cid, int]) -> Iterator[Kept]:
    """`known`: the version of the journal that an object's label shows to have existed. A repair keeps that proof."""
    backup = entry.backup
    for part in backup.parts:
        version = known.get(part.cid, entry.sequence)
        yield Kept(
            wanted=Ciphertext(
                name=f"{part.name} of entry {entry.sequence}", cid=part.cid, size=part.size, digest=part.digest
            ),
            pin=part_name(backup.database, kind=backup.kind, number=entry.sequence, part=part.name),
            label=recorded_name(backup.database, sequence=version, part=part.name),
            read_back=frozenset(copy.peer for copy in entry.holders.get(part.cid, ()) if copy.read_back),
        )


def standings_of(asked: Sequence[Kept], vault: Vault) -> tuple[Standing, ...]:
    """Who is said to hold each of them now. Raises Unavailable, ConfigError: nobody can say."""
    places, said = askable(vault), vault.holders([kept.cid for kept in asked])
    return tuple(_standing(kept, said[kept.cid], places) for kept in asked)


def _standing(kept: Kept, said: Sequence[Holder], places: Mapping[PeerId, Place]) -> Standing:
    wanted = [holder for holder in said if holder.wanted and not holder.holds]
    here = {holder.peer: Held(kept=kept, place=places[holder.peer]) for holder in said if holder.peer in places}
    return Standing(
        kept=kept,
        said=tuple(said),
        held=tuple(here[h.peer] for h in said if h.peer in here and (h.holds or (h.wanted and h.unsaid))),
        far=tuple(holder for holder in said if holder.holds and holder.peer not in here),
        lacking=tuple(here[holder.peer] for holder in wanted if holder.peer in here and not holder.unsaid),
        away=tuple(holder for holder in wanted if holder.peer not in here),
    )
