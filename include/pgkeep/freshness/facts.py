"""What is known of a database and its journal, and what there is to say about it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from pgkeep.errors import NotRestorable, PgkeepError
from pgkeep.journal import Head, Journal
from pgkeep.losses import surviving
from pgkeep.model import Cid, Instant
from pgkeep.plan import Point, RecoveryPlan, plan
from pgkeep.ports import Complaint

Topic = Literal["rollback", "clock", "newest", "proven", "audit", "damaged", "retained", "copies", "keys"]
"""What a concern is about. Somebody who was told of one is not told of it again before it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How old what may be: the newest moment that can be restored, the newest proven full backup, the last audit.

    `retained`: bytes that the source may keep for the next collection, before the changes are given up.
    """

    newest: timedelta
    proven: timedelta
    audit: timedelta
    retained: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How far a journal had come when somebody looked: version and object; the newest moment that could be restored,
    and the entry that shows it. `cid` is None where only the number is known.
    """

    sequence: int
    cid: Cid | None
    moment: Instant | None
    entry: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What is remembered outside of the cluster. `where`, and how to let go of it, for people."""

    seen: Seen
    where: str
    forget: str


class Memory(Protocol):
    """Remembers how far the journal of one database had come, where nobody with access to the cluster can change it."""

    def recall(self) -> Sequence[Recollection]:
        """All that is remembered; nothing, where nobody has looked yet. Raises Unavailable: it cannot be read."""

    def keep(self, seen: Seen) -> None:
        """Remembers it. What goes wrong is for the log only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """An entry of which fewer peers hold everything than were asked to."""

    entry: int
    have: int
    want: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known. `lineage`: the journal's versions by number, as the newest one vouches for them. `audited`: when
    the last audit ended, None: there was none yet; `damage`: what it could not mend, None: nothing; `lost`: of which it
    found no whole copy. `drills`: whether there are any.

    `retained`: bytes that the source keeps, None: not known, or nothing. `shortages`: of what a restore of the newest
    moment needs. `keys`: those that serve no more, or not for long.
    """

    head: Head
    now: datetime
    remembered: tuple[Recollection, ...]
    lineage: Mapping[int, Cid]
    audited: Instant | None
    damage: str | None
    lost: tuple[Cid, ...]
    drills: bool
    retained: int | None
    shortages: tuple[Shortage, ...]
    keys: tuple[Complaint, ...]

    @property
    def journal(self) -> Journal:
        return self.head.journal

    @property
    def surviving(self) -> Journal:
        """The journal without what is lost."""
        return surviving(self.head.journal, self.lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that somebody has to see to. `kind`: as what sort of error."""

    topic: Topic
    kind: type[PgkeepError]
    what: str
    next_step: str
    shortage: Shortage | None = None


def newest(journal: Journal) -> RecoveryPlan | None:
    """The way to the newest moment that can be restored, or None. Raises Corrupted: the chain is broken."""
    try:
        return plan(journal, Point())
    except NotRestorable:
        return None


def sight(head: Head, *, lost: Collection[Cid] = ()) -> Seen:
    """What is to be remembered of a journal. Raises Corrupted: the chain is broken."""
    way = newest(surviving(head.journal, lost))
    return Seen(
        sequence=head.journal.sequence,
        cid=head.cid,
        moment=way.last.backup.cut.time if way else None,
        entry=way.last.sequence if way else None,
    )


def contradicting(remembered: Sequence[Recollection], lineage: Mapping[int, Cid]) -> tuple[Recollection, ...]:
    """What was seen and is not what the newest version comes after: newer, or another one of some number."""
    return tuple(memory for memory in remembered if _contradicts(memory.seen, lineage))


def _contradicts(seen: Seen, lineage: Mapping[int, Cid]) -> bool:
    same = lineage.get(seen.sequence)
    return seen.sequence > max(lineage) or (None not in (seen.cid, same) and seen.cid != same)


def later(one: Seen | None, other: Seen) -> Seen:
    """What is remembered of two: the higher number, and the other one of two that are alike."""
    return other if one is None or one.sequence <= other.sequence else one
