"""Which transactions a snapshot of PostgreSQL sees: the arithmetic by which changes fall between two cuts.

A snapshot's text is that of pg_current_snapshot(): `xmin:xmax:xip,xip,..`, with 64-bit transaction ids.
"""

import re
from dataclasses import dataclass

from pgkeep.errors import Corrupted

TEXT = re.compile(r"(\d{1,19}):(\d{1,19}):((?:\d{1,19},)*\d{1,19})?")
EPOCH = 1 << 32


@dataclass(frozen=True, slots=True)
class Visible:
    """The transactions that a snapshot sees: all below `xmin`, and those below `xmax` that were not under way."""

    xmin: int
    xmax: int
    under_way: frozenset[int]

    def __contains__(self, xid: int) -> bool:
        """Whether the (top-level, 64-bit) transaction had committed, as far as it ever did."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.under_way)

    def whole(self, xid: int) -> int:
        """The 64-bit id of a transaction of which 32 bits are known: the one nearest to `xmax`."""
        nearest = self.xmax + ((xid - self.xmax + EPOCH // 2) % EPOCH) - EPOCH // 2
        return nearest if nearest >= 0 else nearest + EPOCH


def visible(snapshot: str) -> Visible:
    """What a snapshot's text says. Raises Corrupted: it is none."""
    found = TEXT.fullmatch(snapshot)
    if found is None or int(found[1]) > int(found[2]):
        raise Corrupted(
            f"{snapshot!r} is not a snapshot", next_step="compare the pgkeep versions that wrote and read it"
        )
    under_way = frozenset(map(int, (found[3] or "").split(","))) if found[3] else frozenset[int]()
    return Visible(xmin=int(found[1]), xmax=int(found[2]), under_way=under_way)
