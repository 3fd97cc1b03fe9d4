"""In which order transactions can be run again.

The log shows when statements began, and not when transactions were committed. All that a transaction saw and did fell
between its first statement, where it first took a snapshot, and its end, which is before the session's next row. So
two of them either overlap in the log, or one had ended before the other looked.

The order is that of the last statements, and it is right: let A and B write to the same rows. If they overlap, nothing
is run, for the log does not show which was first. Else one, A say, had ended before B's first statement began: B saw
all of A, and A nothing of B, whatever the isolation levels. A's last statement is before its end, that before B's first
statement, and that not behind B's last one: A comes first. Of two that write to no common row, neither changes what the
other does, and any order is right. Each two of them now stand as they ran, one after the other or side by side: run
again one by one in this order they give the same rows.

That a statement writes the same wherever it reads no row but those it has keys for is the judge's to see to. Where a
table has other unique or exclusion constraints, or references others, what it competes for has to be among the keys.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pgkeep.adapters.postgres.csvlog.model import Group

Table = tuple[str, str]


def ordered(groups: Iterable[Group]) -> tuple[Group, ...]:
    """By their last statements, in whose order their times are, too."""
    return tuple(sorted(groups, key=lambda group: (group.said, group.begun)))


def overlaps(groups: Iterable[Group], *, settled: Iterable[Group] = ()) -> Counter[str]:
    """How many groups wrote the same rows as another while that one ran, by reason.

    `settled`: groups that were run again already. Among one another they do not count.
    """
    sweeps = dict[Table, _Sweep]()
    both = [(group, True) for group in groups] + [(group, False) for group in settled]
    both.sort(key=lambda item: begins(item[0]))
    found = Counter[str]()
    for group, counts in both:
        for table, keys in written(group).items():
            if sweeps.setdefault(table, _Sweep()).meets(keys, group, counts=counts):
                schema, name = table
                found[
                    f"two sessions wrote the same rows of {schema}.{name} at the same time, and the log does not show "
                    "which was last"
                ] += 1
    return found


def begins(group: Group) -> int:
    """The place from which on it may have seen what others did."""
    return min(group.first_write.values(), default=group.begun)


def written(group: Group) -> dict[Table, frozenset[str] | None]:
    """By table, the keys of the rows that it may have written; None: any of them."""
    found = dict[Table, set[str] | None]()
    for write in (write for statement in group.statements for write in statement.writes):
        keys = found.setdefault((write.schema, write.name), set())
        if keys is None or write.keys is None:
            found[write.schema, write.name] = None
        else:
            keys.update(write.keys)
    return {table: None if keys is None else frozenset(keys) for table, keys in found.items()}


@dataclass(slots=True)
class _Ends:
    """The last ends of those that wrote to a table: to any row (`whole`), to a row that has a key, or any of these."""

    whole: int = -1
    last: int = -1
    by_key: dict[str, int] = field(default_factory=dict)

    def until(self, keys: frozenset[str] | None) -> int:
        """The last end of one that wrote to such rows."""
        if keys is None:
            return self.last
        return max(self.whole, max((self.by_key.get(key, -1) for key in keys), default=-1))

    def add(self, keys: frozenset[str] | None, end: int) -> None:
        self.last = max(self.last, end)
        if keys is None:
            self.whole = max(self.whole, end)
        else:
            self.by_key.update((key, max(end, self.by_key.get(key, -1))) for key in keys)


@dataclass(slots=True)
class _Sweep:
    """Goes over the groups that wrote to one table, in the order in which they began."""

    new: _Ends = field(default_factory=_Ends)
    settled: _Ends = field(default_factory=_Ends)

    def meets(self, keys: frozenset[str] | None, group: Group, *, counts: bool) -> bool:
        """Whether an earlier one wrote to such rows, and had not ended when this one began."""
        until = self.new.until(keys)
        if counts:
            until = max(until, self.settled.until(keys))
        (self.new if counts else self.settled).add(keys, group.ended)
        return until > begins(group)
