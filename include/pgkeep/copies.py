"""Copies of an object in the vault: which are whole, how many there are, and whether a missing one is lost or far."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pgkeep.errors import ConfigError, Corrupted, NotReplicated, PgkeepError, Unavailable
from pgkeep.meter import Meter, unwatched
from pgkeep.model import Cid, Copy, Digest, Entry, Part, PeerId
from pgkeep.ports import Holder, Holdings, Place, Watch

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
READ_BACK, CLAIMED, NOT_WHOLE = "read back", "pinned", "does not give it whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ciphertext:
    """An object as it must be, wherever it is read. `name`: what people call it."""

    name: str
    cid: Cid
    size: int
    digest: Digest

    def __str__(self) -> str:
        return f"{self.name} ({self.cid})"

    def is_read_by(self, meter: Meter) -> bool:
        """Whether what came through the meter is this object, whole."""
        return (meter.size, meter.digest) == (self.size, self.digest)


def ciphertext(part: Part) -> Ciphertext:
    """A part of a backup, as it lies in the vault."""
    return Ciphertext(name=part.name, cid=part.cid, size=part.size, digest=part.digest)


def patiently(attempt: Callable[[], T], *, patience: float) -> T:
    """What `attempt` returns, tried again as long as peers are missing, up to `patience` seconds.

    Raises what the last try raised.
    """
    deadline, pause = time.monotonic() + patience, FIRST_PAUSE
    while True:
        try:
            return attempt()
        except (NotReplicated, Unavailable):
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST_PAUSE)


def claimed_copies(entries: Sequence[Entry], holdings: Holdings) -> Mapping[int, int]:
    """By entry, how many distinct peers hold every part at this moment, as the cluster says.

    Raises Unavailable, ConfigError.
    """
    said = holdings.holders([part.cid for entry in entries for part in entry.backup.parts])
    peers = {cid: {holder.peer for holder in holding(of_each)} for cid, of_each in said.items()}
    held = {entry.sequence: [peers[part.cid] for part in entry.backup.parts] for entry in entries}
    return {number: len(set.intersection(*of_parts)) if of_parts else 0 for number, of_parts in held.items()}


# --- counting ----------------------------------------------------------------------------------------------------


def claimed(cid: Cid, vault: Holdings) -> list[Holder]:
    """The distinct peers that are said to hold an object, which proves nothing. Raises as `holders_of`."""
    return holding(holders_of(cid, vault))


def holders_of(cid: Cid, vault: Holdings) -> Sequence[Holder]:
    """What the cluster says of each peer, for one object. Raises Unavailable, ConfigError."""
    return vault.holders([cid])[cid]


def holding(holders: Iterable[Holder]) -> list[Holder]:
    """Of these, the distinct peers that are said to hold it."""
    return list({holder.peer: holder for holder in holders if holder.holds}.values())


def require_claims(wanted: Sequence[Ciphertext], vault: Holdings, *, copies: int) -> Mapping[Cid, Sequence[Holder]]:
    """What the cluster says of each of them. Reads no bytes, proves nothing.

    Raises NotReplicated, with what each peer says, if fewer than `copies` are said to hold one; Unavailable,
    ConfigError.
    """
    said = vault.holders([one.cid for one in wanted])
    for one in wanted:
        have = len(holding(said[one.cid]))
        if have < copies:
            status = {holder.name: holder.status for holder in said[one.cid]}
            raise _too_few(one, have=have, want=copies, status=status)
    return said


def proven_copies(wanted: Sequence[Ciphertext], vault: Holdings, *, copies: int) -> Mapping[str, tuple[Copy, ...]]:
    """By CID, the distinct peers that have the object. One that can be asked counts only by giving its very bytes back.

    All are claimed before anything large is read. Raises NotReplicated, Unavailable, ConfigError.
    """
    said = require_claims(wanted, vault, copies=copies)
    return {str(one.cid): _proven(one, holding(said[one.cid]), vault, copies=copies) for one in wanted}


def _proven(wanted: Ciphertext, claimed: Sequence[Holder], vault: Holdings, *, copies: int) -> tuple[Copy, ...]:
    places = askable(vault)
    proofs = {holder: _proof(wanted, vault, places.get(holder.peer)) for holder in claimed}
    held = [
        Copy(peer=holder.peer, name=holder.name, read_back=proof == READ_BACK)
        for holder, proof in proofs.items()
        if proof != NOT_WHOLE
    ]
    if len(held) < copies:
        status = {holder.name: proof for holder, proof in proofs.items()}
        raise _too_few(wanted, have=len(held), want=copies, status=status)
    return tuple(held)


def askable(vault: Holdings) -> Mapping[PeerId, Place]:
    """Where each peer that answers now can be asked for what it holds itself. Raises Unavailable: none does."""
    return {place.peer: place for place in vault.places() if place.local}


def gives_whole(wanted: Ciphertext, vault: Holdings, place: Place, *, watch: Watch = unwatched) -> bool:
    """Whether that place gives the very bytes: read to their end and hashed."""
    read = Meter(watch(f"{wanted.name}: reading the copy at {place.name}", vault.read(wanted.cid, at=place)))
    try:
        read.drain()
    except Unavailable as error:
        log.info("%s cannot be read at %s: %s", wanted, place.name, error.what)
        return False
    return wanted.is_read_by(read)


def _proof(wanted: Ciphertext, vault: Holdings, place: Place | None) -> str:
    if place is None:
        return CLAIMED
    return READ_BACK if gives_whole(wanted, vault, place) else NOT_WHOLE


def _too_few(wanted: Ciphertext, *, have: int, want: int, status: Mapping[str, str]) -> NotReplicated:
    who = ", ".join(f"{name}: {text}" for name, text in sorted(status.items()))
    return NotReplicated(
        f"{wanted} has {have} of {want} copies ({who})",
        next_step="bring the missing peers back; what is stored here stays",
        have=have,
        want=want,
        holders=status,
    )


# --- reading -----------------------------------------------------------------------------------------------------


def whole_copy(wanted: Ciphertext, vault: Holdings, *, watch: Watch = unwatched) -> Place:
    """Where the object is exactly what it must be: read to its end and hashed, not assumed.

    Raises Corrupted (peers have it, but none has it whole), Unavailable (none of those that answer has it).
    """
    refused: dict[str, str] = {}
    damaged = False
    for place in vault.places():
        read = Meter(watch(f"{wanted.name}: checking the copy at {place.name}", vault.read(wanted.cid, at=place)))
        try:
            read.drain()
        except Unavailable as error:
            refused.setdefault(place.name, error.what)  # the last place asks all others, through the first
            continue
        if wanted.is_read_by(read):
            return place
        damaged = True
        refused[place.name] = f"gives {read.size} of {wanted.size} bytes, or other ones"
        log.warning("%s: %s %s", wanted, place.name, refused[place.name])
    raise _unreadable(wanted, refused, damaged=damaged or is_damaged(wanted.cid, vault))


def is_damaged(cid: Cid, vault: Holdings) -> bool:
    """For an object that no place gives: a peer that is said to hold it answers, so its copy is damaged or gone."""
    try:
        holders = {holder.peer for holder in claimed(cid, vault)}
    except (Unavailable, ConfigError):  # nobody can say
        return False
    return any(place.peer in holders for place in vault.places() if place.local)


def _unreadable(wanted: Ciphertext, refused: Mapping[str, str], *, damaged: bool) -> PgkeepError:
    reasons = "; ".join(f"{name} {why}" for name, why in refused.items())
    if damaged:
        return Corrupted(
            f"no whole copy of {wanted}: {reasons}",
            next_step="pgkeep audit NAME --share 1 finds out what is left of it, and then a restore goes around it; or "
            "bring more peers back",
        )
    return Unavailable(f"{wanted} cannot be read: {reasons}", next_step="bring more peers back")
