"""How much of a window is held in memory: all that it carries, until the last row has said in which order it ran."""

from collections.abc import Callable

from pgkeep.ports import Inexact

from .model import Doubt, Judgement

MOST = 512_000_000
"""Bytes; more in one window makes a full backup, which holds nothing."""
EACH = 1_500
"""Bytes that a statement takes beside its text, at most: 700 in long transactions, and more where each is its own."""


def bounded(judge: Callable[[bytes], Judgement], *, most: int = MOST) -> Callable[[bytes], Judgement]:
    """That judge, who raises Inexact when what he has found to hold would take more bytes than `most`."""
    held = count = 0

    def judged(sql: bytes) -> Judgement:
        nonlocal held, count
        verdict = judge(sql)
        if isinstance(verdict, Doubt) or verdict.sql:
            count += 1
            held += EACH + (0 if isinstance(verdict, Doubt) else len(verdict.sql))
        if held > most:
            raise Inexact(f"more was written than is carried at once: {count:,} statements or more")
        return verdict

    return judged
