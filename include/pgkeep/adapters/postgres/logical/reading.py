"""One pass over what a slot keeps: which transactions belong to the window, and what our own messages say."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgkeep.adapters.postgres.ddl import DdlEvent, DdlReplay
from pgkeep.adapters.postgres.pgoutput.translation import Decision, Message, Transaction
from pgkeep.ports import Inexact
from pgkeep.visibility import Visible

from .definitions import Told
from .order import Order


@dataclass(kw_only=True)
class Reading:
    """`before`, `now`: what the snapshots at both ends see. `end`: the LSN read right after the later one.

    `ddl`: how many statements are repeated; `told`: what they did it to. `relisted`: oids of tables whose rows until
    then are not in the slot.
    `token`: what was written into the WAL right after the earlier cut. `mark`: what genuine DDL messages carry.
    `encoding`: Python's codec for the database's.
    """

    before: Visible
    now: Visible
    end: int
    token: str
    mark: str | None = field(repr=False)
    encoding: str
    replay: DdlReplay
    order: Order
    token_seen: bool = field(default=False, init=False)
    ddl: int = field(default=0, init=False)
    relisted: set[int] = field(default_factory=set, init=False)
    told: Told = field(default_factory=Told, init=False)

    def judge(self, transaction: Transaction) -> Decision:
        """A transaction that the later snapshot does not see yet, though it is committed, is held for the next one."""
        xid = self.now.whole(transaction.xid)
        if xid in self.before:
            return Decision.SKIP
        if xid in self.now:
            return Decision.EMIT
        return Decision.HOLD if transaction.commit_lsn < self.end else Decision.SKIP

    def listen(self, message: Message) -> bytes:
        """SQL for DDL; nothing for all else. Raises Inexact."""
        match message.prefix:
            case "pgkeep:cut":
                self.token_seen = self.token_seen or message.content == self.token.encode()
            case "pgkeep:ddl":
                self._require_genuine(message.content)
                event = DdlEvent.parse(message.content, encoding=self.encoding)
                self.told.note(event)
                repeated = self.replay.statement(event)
                if repeated:
                    self.ddl += 1
                    self.order.require(event, message.transaction)
                return repeated
            case "pgkeep:listed":
                self.relisted.add(_oid(message.content))
            case "pgkeep:doubt":
                raise Inexact(_reason(message.content))
            case _:
                raise Inexact(f"the source sends {message.prefix!r}, which this pgkeep does not know: upgrade it")
        return b""

    def _require_genuine(self, content: bytes) -> None:
        """Anybody may send a message, and a restore would run what it says: only our triggers know the mark."""
        if self.mark is None or _object(content).get("t") != self.mark:
            raise Inexact(
                "a DDL message without pgkeep's mark: it was forged, pgkeep was installed anew, or the role may not "
                "read the mark"
            )

    def finish(self) -> None:
        """Raises Inexact unless the stream went on where the last one ended, and every DDL was understood."""
        if not self.token_seen:
            raise Inexact("the source's history is not the one that the journal knows: it was restored from a copy")
        self.replay.finish()


def _oid(content: bytes) -> int:
    found = _object(content).get("oid")
    if not isinstance(found, int):
        raise Inexact("the source says that a table is listed now, and not which one")
    return found


def _reason(content: bytes) -> str:
    return str(_object(content).get("reason", "the source could not note a change of its schema"))


def _object(content: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Inexact("the source sent a message that cannot be read")
    return found
