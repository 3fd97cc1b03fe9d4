"""Which copies an audit reads: all of them would take too long each day, so each waits for its turn.

Those that were not read for the longest time come first, counted in audits and not by a clock that may jump, until
`share` of all bytes is read. So at a steady volume every copy is read once in 1/share days, and one audit more where
the last object went beyond the share. What was damaged the last time is looked at each time, and takes nobody's turn:
else what cannot be repaired would keep the rest from being read.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime

from pgkeep.audit.ledger import Ledger
from pgkeep.audit.standing import Held
from pgkeep.model import Instant

DAY = 86_400.0


def due(held: Sequence[Held], ledger: Ledger, *, share: float) -> tuple[Held, ...]:
    """Those to be read now: the ones that always are, and of the others at least one, if there is any."""
    always = [one for one in held if one.kept.always or last_turn(one, ledger) < 0 or one.kept.cid in ledger.damage]
    taken = frozenset(always)
    others = sorted((one for one in held if one not in taken), key=lambda one: last_turn(one, ledger))
    sizes = itertools.accumulate((one.kept.size for one in others), initial=0)
    wanted = share * sum(one.kept.size for one in others)
    return (*always, *(one for one, before in zip(others, sizes, strict=False) if before < wanted))


def last_turn(held: Held, ledger: Ledger) -> int:
    """The audit that read it last, below zero: it was damaged. One new since, and read back when it was recorded,
    counts as read by the last.
    """
    known = ledger.last_read(held.kept.cid, held.place.peer)
    if known is not None:
        return known
    return ledger.number if held.place.peer in held.kept.read_back else 0


def todays(share: float, ledger: Ledger, *, now: Instant) -> float:
    """What is to be read now for `share` a day: days without an audit are made up for.

    A clock that jumped makes an audit read more than it had to, never less.
    """
    if ledger.ended is None:
        return share
    passed = (datetime.fromisoformat(now) - datetime.fromisoformat(ledger.ended)).total_seconds() / DAY
    return min(1.0, share * max(1.0, passed))
