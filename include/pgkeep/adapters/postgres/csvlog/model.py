"""What passes between the rooms of this package: a row of the log, a statement, what it does, and a transaction."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """A row of a CSV log, as far as it matters here. Texts are bytes, in the database's own encoding.

    `place`: bytes from the beginning of what was read, where the row begins. `session`: backend start and pid.
    `line`: counts the session's rows from 1. `vxid`: of the transaction, by which its rows are known as one; `n/0`
    outside of any. `xid`: 32 bits; 0 until the transaction has one. `tag`: what the session was doing (`idle`,
    `INSERT`, `BIND` ..). `aside`: said while something ran (it has a context, a query or a hint), by a function's RAISE
    for example: whatever it looks like, it is no statement that a client sent.
    """

    place: int
    time: bytes
    database: bytes
    session: bytes
    line: int
    tag: bytes
    started: bytes
    vxid: bytes
    xid: int
    severity: bytes
    state: bytes
    message: bytes
    detail: bytes
    aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One that a client sent, its parameters filled in. `reason`: why its text is not certain (a parameter was cut
    off, ..), else None. `after`: it was logged when it had succeeded, not when it began.
    """

    row: LogRow
    sql: bytes
    after: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One table that a statement writes. `keys`: the canonical texts of the rows' primary keys, as many as there may
    be; None: any of its rows. `inserted`: new rows. `removes`: they go.
    """

    schema: str
    name: str
    keys: tuple[str, ...] | None
    inserted: int
    removes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Running the statement again gives the same. `sql`: how it is run, empty where it writes nothing."""

    sql: bytes
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Running it again may give something else. `reason`: by which such statements are counted, for people."""

    reason: str


Judgement = Exact | Doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The statements of one transaction that was committed, in the order in which they ran.

    `begun`, `ended`: places in the log; all of its effects fell between them. `said`: that of its last statement, whose
    time is `time`. `first_write`: by table (schema, name) that it wrote to, the place before which it had not looked at
    it. That is where its first statement is, of whatever kind, for its snapshot may be of then. `xid`: 32 bits, 0: not
    known.
    """

    session: bytes
    vxid: bytes
    xid: int
    time: bytes
    begun: int
    said: int
    ended: int
    statements: tuple[Exact, ...]
    first_write: dict[tuple[str, str], int]
