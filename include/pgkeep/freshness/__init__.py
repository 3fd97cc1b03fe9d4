"""Whether a database is kept as it should be, now. Pure: its journal, what else is known, and a moment in; what is
late, wrong, or about to be, out.

It must hold when clocks jump, so time is the journal's own wherever that is possible: a clock that is behind the newest
line of the journal is said, and that line's time taken instead. Numbers, not times, say whether a journal is older than
one that was seen before.
"""

from pgkeep.freshness.facts import (
    Concern,
    Facts,
    Limits,
    Memory,
    Recollection,
    Seen,
    Shortage,
    contradicting,
    later,
    newest,
    sight,
)
from pgkeep.freshness.judgement import error, judge

__all__ = [
    "Concern",
    "Facts",
    "Limits",
    "Memory",
    "Recollection",
    "Seen",
    "Shortage",
    "contradicting",
    "error",
    "judge",
    "later",
    "newest",
    "sight",
]
