"""How pins go away: all peers are asked, and then looked at, for they follow a moment later and may keep them."""

import time
from collections.abc import Collection, Iterable, Mapping

from pgkeep.errors import Unavailable
from pgkeep.model import Cid
from pgkeep.pin_names import name_prefix
from pgkeep.ports import Listing, Vault

PATIENCE, PAUSE = 30.0, 1.0
"""Seconds: peers take their pins away a moment after the pinset has lost them; they are asked that often."""


def let_go(leaving: Collection[Cid], vault: Vault, *, database: str, patience: float) -> Mapping[Cid, str]:
    """Unpins these objects everywhere, and returns those that are pinned nevertheless, and where.

    Peers follow a moment later, so it looks again for `patience` seconds. Raises Unavailable: nobody answers.
    """
    refused = drop(still_pinned(leaving, vault.listing(name_prefix(database))), vault)
    return kept_back(leaving, refused, vault, database=database, patience=patience)


def drop(cids: Iterable[Cid], vault: Vault) -> Mapping[Cid, str]:
    """Asks for these to be unpinned; returns those that cannot be now, and why. Raises ConfigError."""
    refused = dict[Cid, str]()
    for cid in cids:
        try:
            vault.drop(cid)
        except Unavailable as error:
            refused[cid] = error.what
    return refused


def kept_back(
    leaving: Collection[Cid], refused: Mapping[Cid, str], vault: Vault, *, database: str, patience: float
) -> Mapping[Cid, str]:
    """Those of them that are pinned all the same after `patience` seconds, or may be, and where or why.

    Raises Unavailable: nobody answers.
    """
    deadline = time.monotonic() + patience
    while True:
        listing = vault.listing(name_prefix(database))
        left = still_pinned(leaving, listing)
        if set(left) <= refused.keys() | _silent(left, listing) or time.monotonic() > deadline:
            return {cid: refused.get(cid) or _who(cid, listing) for cid in left}
        time.sleep(PAUSE)


def still_pinned(leaving: Collection[Cid], listing: Listing) -> tuple[Cid, ...]:
    """Those that some peer has pinned, or may have: one that is silent could have any of them."""
    return tuple(cid for cid in leaving if listing.silent or cid in listing.where)


def _silent(left: Collection[Cid], listing: Listing) -> set[Cid]:
    """Those that only silent peers may have: waiting shows nothing new."""
    return {cid for cid in left if cid not in listing.where}


def _who(cid: Cid, listing: Listing) -> str:
    peers = sorted(listing.where.get(cid, ()))
    there = f"still pinned at {', '.join(peers)}" if peers else ""
    away = f"not known of {', '.join(sorted(listing.silent))}, silent" if listing.silent else ""
    return "; ".join(filter(None, (there, away)))
