"""What an audit has found, as a record that says all of it."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pgkeep.errors import ConfigError, Corrupted, NotReplicated, PgkeepError
from pgkeep.model import Cid, Instant

MOST, LONGEST = 5, 300
"""So many problems are in an error, and so many characters of each."""
Kind = Literal["Corrupted", "NotReplicated", "ConfigError", "notice"]
"""The error that it is, or `notice`: nothing is wrong with any backup because of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that somebody has to look at. `cid`: the object it is about, if it is about one; `lost`: no whole copy
    of it is left; `have`, `want`, `holders`: of one with too few copies.
    """

    kind: Kind
    about: str
    what: str
    next_step: str
    cid: Cid | None = None
    lost: bool = False
    have: int = 0
    want: int = 0
    holders: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What is wrong, and with what."""
        return f"{self.about}: {self.what}"

    def error(self, what: str) -> PgkeepError:
        """As an error that says `what`."""
        if self.kind == "NotReplicated":
            return NotReplicated(
                what, next_step=self.next_step, have=self.have, want=self.want, holders=dict(self.holders)
            )
        return (Corrupted if self.kind == "Corrupted" else ConfigError)(what, next_step=self.next_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was damaged or missing, and has been read back whole since; `how`: what was done."""

    about: str
    cid: Cid
    peer: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Litter:
    """An object that no kept version of the journal names. `swept`: it was let go of; else it waits."""

    cid: Cid
    names: tuple[str, ...]
    swept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAccount:
    """What one peer is said to hold, and how much of it was read there; in bytes, too. `asked`: its Kubo answered."""

    name: str
    asked: bool
    objects: int
    size: int
    read: int
    read_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One audit. `objects`, `size`: what must be there, one copy. `share`: of the bytes, that was to be read this time.

    `since`: everything that can be asked for was read back after that moment; None: not everything was yet.
    """

    database: str
    number: int
    version: int
    objects: int
    size: int
    share: float
    since: Instant | None
    peers: tuple[PeerAccount, ...]
    repairs: tuple[Repair, ...]
    litter: tuple[Litter, ...]
    problems: tuple[Problem, ...]
    dry_run: bool
    seconds: float

    @property
    def wrong(self) -> tuple[Problem, ...]:
        """The problems that make an audit fail, gravest first."""
        return tuple(sorted((p for p in self.problems if p.kind != "notice"), key=_gravity))

    @property
    def topics(self) -> tuple[str, ...]:
        """What it is about, for those who were told of an audit before: each damaged object is news, once."""
        return tuple(sorted({p.about if p.kind == "Corrupted" else p.kind for p in self.wrong}))

    @property
    def swept(self) -> tuple[Litter, ...]:
        """The litter that is gone now."""
        return tuple(found for found in self.litter if found.swept)

    def require_well(self) -> None:
        """Raises Corrupted, NotReplicated or ConfigError, whichever is the gravest, with all that is wrong."""
        if self.wrong:
            raise self.wrong[0].error(f"the audit of {self.database} found: {listed(self.wrong)}")


def listed(problems: Sequence[Problem]) -> str:
    """The first of them in one sentence, shortened: one peer that is away may be in the way of hundreds of objects."""
    said = [textwrap.shorten(problem.sentence, LONGEST, placeholder=" ...") for problem in problems[:MOST]]
    more = f"; and {len(problems) - MOST} more, which the log names" if len(problems) > MOST else ""
    return "; ".join(said) + more


def _gravity(problem: Problem) -> int:
    return ("Corrupted", "NotReplicated", "ConfigError").index(problem.kind)
