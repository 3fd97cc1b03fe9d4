"""What a restore would do, for somebody to decide."""

import contextlib
import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from pgkeep import records, restore
from pgkeep.errors import ConfigError
from pgkeep.journal_store import JournalStore
from pgkeep.losses import bereft, plan_whole
from pgkeep.model import Cid, Digest, instant
from pgkeep.plan import Point, RecoveryPlan
from pgkeep.ports import Target

from .model import Proposal, Wish


def point(text: str) -> Point:
    """`latest`, a moment with its time zone, `entry N` or `xid X`. Raises ConfigError."""
    wanted = text.strip()
    if wanted == "latest":
        return Point()
    if found := re.fullmatch(r"(entry|xid) (\d{1,19})", wanted):
        number = int(found[2])
        return Point(entry=number) if found[1] == "entry" else Point(xid=number)
    with contextlib.suppress(ValueError):
        if (moment := datetime.fromisoformat(wanted)).tzinfo is not None:
            return Point(time=instant(moment))
    raise ConfigError(
        f"{text!r} is no moment to restore",
        next_step="write latest, a time with its zone as 2026-01-31T14:05:00Z, entry N (see the page Backups) or xid X",
    )


def propose(
    wish: Wish, journals: JournalStore, target: Target, *, production: bool, lost: Collection[Cid] = ()
) -> Proposal:
    """What would be done, and what would be replaced by it; nothing is. `lost`: objects of which an audit has found no
    whole copy. Raises NotRestorable, ConfigError (something stands there and is not to be replaced; an older server,
    missing rights), Unavailable, Corrupted.
    """
    journal = journals.head().journal
    way = plan_whole(journal, wish.point, lost)
    restore.require_exact(way, stale=wish.stale)
    target.require_free(replace=wish.replace)
    target.require_able(restore.read_inventory(way.base, journals.sealer, journals.vault))
    links = [step.backup.link for step in way.steps if step.backup.link]
    return Proposal(
        database=journal.database,
        version=journal.sequence,
        base=way.base.sequence,
        steps=tuple(step.sequence for step in way.steps),
        stop=way.stop,
        digest=digest(way),
        reached=way.last.backup.cut.time,
        size=way.size,
        rows=way.base.backup.totals.rows if way.base.backup.totals else 0,
        changes=sum(link.changes for link in links),
        transactions=sum(link.transactions for link in links),
        full_seconds=way.base.backup.seconds,
        drilled=journal.verdict(way.base) or next(reversed(journal.verdicts), None),
        where=wish.where,
        dbname=wish.dbname,
        label=target.label,
        server=target.system(),
        production=production,
        replace=wish.replace,
        stale=wish.stale,
        occupant=target.occupant(),
        lost=tuple(entry.sequence for entry in bereft(journal, lost)),
    )


def mark(proposal: Proposal) -> str:
    """A short name of what would be done: another one where another plan, place or database to be replaced is meant."""
    meant = replace(proposal, version=0, size=0, full_seconds=0.0, drilled=None, occupant=None, lost=())
    whom = proposal.occupant and proposal.occupant.identity
    named = json.dumps([records.encode(meant), whom], sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def digest(way: RecoveryPlan) -> Digest:
    """Over what a plan reads, in which order, and where it stops: the plaintext, which rekeying leaves as it is."""
    named: Sequence[object] = [
        [entry.sequence, asdict(entry.backup.cut), [[part.name, part.plain_digest] for part in entry.backup.parts]]
        for entry in (way.base, *way.steps)
    ]
    stop = asdict(way.stop) if way.stop else None
    return Digest(hashlib.sha256(json.dumps([named, stop], sort_keys=True).encode()).hexdigest())
