"""How entries leave a journal. Read it top to bottom.

    choose  ->  a journal that names them no more, replicated  ->  let go of their objects

In this order, and in no other (I4): as long as the journal names an object, it is there. The journal remembers what is
on its way out, so whoever is killed in between is repeated by the next run.
"""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pgkeep import retention
from pgkeep.errors import Unavailable
from pgkeep.journal_store import JournalStore
from pgkeep.model import Cid
from pgkeep.pin_names import name_prefix
from pgkeep.ports import Listing, Source, Vault
from pgkeep.retention import Fate, Policy

log = logging.getLogger(__name__)

PATIENCE, PAUSE = 30.0, 1.0
"""Seconds: peers take their pins away a moment after the pinset has lost them; they are asked that often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """What a run did. `version`: of the journal, when it was done. `fates`: of all entries that there were.

    `kept_back`: objects that the journal names no more and that are pinned all the same, with who has them or why: a
    peer that is away, or that takes no pin away (`unpin_disable`). The next run tries again.
    """

    database: str
    version: int
    fates: tuple[Fate, ...]
    kept_back: Mapping[Cid, str]


def retire(
    policy: Policy,
    source: Source,
    journals: JournalStore,
    vault: Vault,
    *,
    lost: Collection[Cid] = (),
    give_up: bool = False,
    patience: float | None = None,
) -> Retired:
    """Lets go of what the policy does not keep. Safe to repeat. `patience`: seconds instead of PATIENCE.

    `lost`: objects of which the last audit has found no whole copy; `give_up`: the full backups that had them go, too.

    Raises Unavailable, NotReplicated, JournalMovedOn, Corrupted; then everything that the journal names is there.
    """
    with source.exclusively():
        head = journals.head_for_writing()
        journals.secure(head)  # before what it has stopped naming goes: its writer may have died right after it
        fates = retention.choose(head.journal, policy, lost=lost, give_up=give_up)
        gone = [fate.entry for fate in fates if not fate.stays]
        if gone:
            left = still_pinned(head.journal.leaving, vault.listing(name_prefix(journals.database)))
            head = journals.retire(head, gone, leaving=left)
    kept_back = let_go(
        head.journal.leaving, vault, database=journals.database, patience=PATIENCE if patience is None else patience
    )
    return Retired(database=journals.database, version=head.journal.sequence, fates=fates, kept_back=kept_back)


def let_go(leaving: Collection[Cid], vault: Vault, *, database: str, patience: float) -> Mapping[Cid, str]:
    """Unpins these objects everywhere, and returns those that are pinned nevertheless, and where.

    Peers follow a moment later, so it looks again for `patience` seconds. Raises Unavailable: nobody answers.
    """
    refused = dict[Cid, str]()
    for cid in still_pinned(leaving, vault.listing(name_prefix(database))):
        try:
            vault.drop(cid)
        except Unavailable as error:
            refused[cid] = error.what
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
