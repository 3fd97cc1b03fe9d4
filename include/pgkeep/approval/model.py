"""What is wanted, proposed, and approved."""

from dataclasses import dataclass
from typing import Literal

from pgkeep.model import Digest, Instant, Verdict
from pgkeep.plan import Point, Stop
from pgkeep.ports import Occupant

Where = Literal["scratch", "production"]
"""`scratch`: the server of the drills. `production`: the one whose database is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for. `dbname`: under which name it comes back on that server."""

    point: Point
    where: Where
    dbname: str
    replace: bool
    stale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is going to be done if a person approves it: all that he is shown, and all that binds the one who does it.

    `version`: of the journal that was read. `base`, `steps`: numbers of its entries; `digest`: over what they name.
    `reached`: the moment of the last of them. `size`: bytes to read. `full_seconds`: how long the full backup took.
    `drilled`: the last drill of that full backup, else the last one at all. `production`: it goes to the server whose
    database is kept; `server`: that server's own identifier. `occupant`: what stands under the target's name now.
    `lost`: entries of which an audit has found no whole copy.
    """

    database: str
    version: int
    base: int
    steps: tuple[int, ...]
    stop: Stop | None
    digest: Digest
    reached: Instant
    size: int
    rows: int
    changes: int
    transactions: int
    full_seconds: float
    drilled: Verdict | None
    where: Where
    dbname: str
    label: str
    server: str
    production: bool
    replace: bool
    stale: bool
    occupant: Occupant | None
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user, as Airflow has recorded him."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A person has said yes to this proposal. `run`: for which run of Airflow; `triggered_by`: who had started it."""

    proposal: Proposal
    run: str
    triggered_by: str | None
    by: Person
    time: Instant
