"""Which copies an audit reads: all of them would take too long each day, so each waits for its turn.

Those that were not read for the longest time come first, counted in audits and not by a clock that may jump, until
`share` of all bytes is read. So at a steady volume every copy is read once in 1/share days, and one audit more where
the last object went beyond the share.
"""

from collections.abc import Sequence
from datetime import datetime

from pgkeep.audit.holdings import Held
from pgkeep.audit.ledger import Ledger
from pgkeep.model import Instant

DAY = 86_400.0


def due(held: Sequence[Held], ledger: Ledger, *, share: float) -> tuple[Held, ...]:
    """Those to be read now; at least one, if there is any."""
    queue = sorted(held, key=lambda one: (not one.kept.always, last_turn(one, ledger)))
    wanted = share * sum(one.kept.size for one in held)
    chosen, size = list[Held](), 0
    for one in queue:
        if size < wanted or one.kept.always or not chosen:
            chosen.append(one)
            size += one.kept.size
    return tuple(chosen)


def last_turn(held: Held, ledger: Ledger) -> int:
    """The audit that read it last; one new since, and read back when it was recorded, counts as read by the last."""
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
