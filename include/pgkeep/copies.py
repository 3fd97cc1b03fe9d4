"""Reading from the vault: where an object is whole, and whether one that cannot be read is lost or only far away."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from pgkeep.errors import Corrupted, NotReplicated, PgkeepError, Unavailable
from pgkeep.meter import Meter, unwatched
from pgkeep.model import Cid, Part
from pgkeep.ports import Place, Vault, Watch

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


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


def whole_copy(part: Part, vault: Vault, *, watch: Watch = unwatched) -> Place:
    """Where the part's ciphertext is exactly what the journal names: read to its end and hashed, not assumed.

    Raises Corrupted (peers have it, but none has it whole), Unavailable (none of those that answer has it).
    """
    refused: dict[str, str] = {}
    damaged = False
    for place in vault.places():
        read = Meter(watch(f"{part.name}: checking the copy at {place.name}", vault.read(part.cid, at=place)))
        try:
            read.drain()
        except Unavailable as error:
            refused[place.name] = error.what
            continue
        if read.matches(part):
            return place
        damaged = True
        refused[place.name] = f"gives {read.size} of {part.size} bytes, or other ones"
        log.warning("%s of %s: %s %s", part.name, part.cid, place.name, refused[place.name])
    raise _unreadable(f"{part.name} ({part.cid})", refused, damaged=damaged or is_damaged(part.cid, vault))


def is_damaged(cid: Cid, vault: Vault) -> bool:
    """For an object that no place gives: a peer that is said to hold it answers, so its copy is damaged or gone."""
    try:
        holding = {holder.peer for holder in vault.holders(cid) if holder.holds}
    except Unavailable:
        return False
    return any(place.peer in holding for place in vault.places() if place.local)


def _unreadable(what: str, refused: dict[str, str], *, damaged: bool) -> PgkeepError:
    reasons = "; ".join(f"{name} {why}" for name, why in refused.items())
    if damaged:
        return Corrupted(
            f"no whole copy of {what}: {reasons}",
            next_step="bring more peers back, or choose another entry: pgkeep list",
        )
    return Unavailable(f"{what} cannot be read: {reasons}", next_step="bring more peers back")
