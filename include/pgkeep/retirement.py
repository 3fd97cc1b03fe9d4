"""How entries leave a journal. Read it top to bottom.

    choose  ->  a journal that names them no more, replicated  ->  let go of their objects

In this order, and in no other (I4): as long as the journal names an object, it is there. The journal remembers what is
on its way out, so whoever is killed in between is repeated by the next run.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pgkeep import retention
from pgkeep.copies import askable, ciphertext, gives_whole, holders_of
from pgkeep.errors import Unavailable
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.losses import bereft
from pgkeep.model import Cid, Part
from pgkeep.pin_names import name_prefix
from pgkeep.ports import Source, Vault
from pgkeep.retention import Fate, Policy
from pgkeep.unpinning import PATIENCE, let_go, still_pinned

log = logging.getLogger(__name__)


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


def confirmed(journal: Journal, lost: Collection[Cid], vault: Vault) -> tuple[Cid, ...]:
    """Those of them that no peer has whole now, either, all having answered. Raises Unavailable: one has not.

    What an audit has found may be old, or somebody may have put an older record of it into the newest's place.
    """
    _require_all_answer(journal.database, vault)
    parts = [part for entry in bereft(journal, lost) for part in entry.backup.parts if part.cid in lost]
    found = tuple(part.cid for part in parts if not _may_be_somewhere(part, vault))
    _require_all_answer(journal.database, vault)  # still: reading may have taken hours
    return found


def _require_all_answer(database: str, vault: Vault) -> None:
    silent = vault.listing(name_prefix(database)).silent
    if silent:
        raise Unavailable(
            f"whether what is lost is lost cannot be said: {', '.join(sorted(silent))} may have a whole copy of it",
            next_step="bring that peer back, or take it out of pgkeep.toml and the cluster if it is gone for good",
        )


def _may_be_somewhere(part: Part, vault: Vault) -> bool:
    """A peer gives it whole; or is to hold it, and cannot be asked."""
    places = askable(vault)
    for place in places.values():
        if gives_whole(ciphertext(part), vault, place):
            log.warning("%s (%s) is whole at %s again: run pgkeep audit", part.name, part.cid, place.name)
            return True
    unknown = [h.name for h in holders_of(part.cid, vault) if (h.wanted or h.holds) and h.peer not in places]
    if unknown:
        log.warning("%s (%s) may be at %s, which cannot be asked", part.name, part.cid, ", ".join(unknown))
    return bool(unknown)


def retire(
    policy: Policy,
    source: Source,
    journals: JournalStore,
    vault: Vault,
    *,
    lost: Collection[Cid] = (),
    give_up: Collection[Cid] = (),
    patience: float | None = None,
) -> Retired:
    """Lets go of what the policy does not keep. Safe to repeat. `patience`: seconds instead of PATIENCE.

    `lost`: objects of which audits have found no whole copy; `give_up`: those of them that nobody waits for: the full
    backups that had them go, too.

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
