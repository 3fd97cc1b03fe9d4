"""Whether DDL can be repeated in the order in which transactions ended, though it ran in another.

What a name means is settled when a command begins: which table a view reads, what a new index is called, which default
privileges hold. It is repeated where its transaction ended. What another transaction changed in between makes it
something else there.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pgkeep.adapters.postgres.ddl import DdlEvent
from pgkeep.adapters.postgres.pgoutput.translation import Transaction
from pgkeep.model import Instant, instant
from pgkeep.ports import Inexact
from pgkeep.visibility import Visible, visible

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class Order:
    """`altered`: when the newest transaction ended whose DDL is repeated; `now`: what the window's snapshot sees."""

    altered: Instant
    now: Visible
    _before: Instant = field(init=False)
    _last: Transaction | None = field(default=None, init=False)
    _others: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._before = self.altered

    def require(self, event: DdlEvent, transaction: Transaction) -> None:
        """Takes down a command that is repeated. Raises Inexact if its transaction was not alone with the schema."""
        if self._last and transaction != self._last:
            self._others.add(self.now.whole(self._last.xid))
            self._before = self.altered
        self._last = transaction
        self.altered = max(self.altered, _ended(transaction))
        seen = visible(event.snapshot)
        if event.began <= self._before or any(xid not in seen for xid in self._others):
            raise Inexact(
                f"{event.subject} (by {event.current_user}, transaction {event.xid}): another transaction changed the "
                "schema at the same time, and what the names in this one meant is not known any more"
            )


def _ended(transaction: Transaction) -> Instant:
    return instant(EPOCH + timedelta(microseconds=transaction.time))
