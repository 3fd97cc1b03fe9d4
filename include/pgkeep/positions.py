"""Where a source stands at the chain's end, by the way in which its changes are collected."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pgkeep.scalars import Digest, Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """What has another value when something was changed that no row shows: catalogs (quick, now and then a false alarm)
    and schema, the database's own properties, roles, large objects, sequences. `ignored`: the tables whose rows are not
    kept.
    """

    catalogs: str
    schema: Digest
    properties: Digest
    globals: Digest
    large_objects: str
    sequences: Digest
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPosition:
    """Where a source with a replication slot stands at a cut, so that the next window is known to begin exactly there.

    `slot` has kept the WAL from `retained` (an LSN) on; `token` was written into it right after the cut. `system`,
    `timeline`, `database` and `publication` (their oids) say which history that is. `altered`: when the newest
    transaction ended whose DDL is in what is kept. The rest are witnesses, too. `triggers`: of our own event triggers;
    `definitions`: of each object, by the oids of its catalog and its own, which is much where there are many; None,
    on the way to the journal: the same as at the cut before. `identities`: by table (its oid), the columns that are
    GENERATED ALWAYS AS IDENTITY; `tables`: by name, of those that the slot does not show.
    """

    slot: str
    system: str
    timeline: int
    database: int
    publication: int
    retained: str
    token: str
    altered: Instant
    triggers: str
    definitions: Mapping[str, str] | None
    identities: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, str]
    witnesses: Witnesses


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeen:
    """A log file as far as it belongs before a place: its first `size` bytes.

    `begins`: the time in its first row, as it stands there.
    """

    size: int
    begins: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """Between two bytes of a log: `offset` bytes from the beginning of `file`.

    `check`: SHA-256 of up to 4096 bytes before it; `others`: the other files, as they were. By these is noticed what
    came after it: files that were not there yet, what was appended to one of the others, and what was written in its
    place.
    """

    file: str
    offset: int
    begins: str
    check: Digest
    others: Mapping[str, LogSeen]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCut:
    """What a cut found out about the transactions that ran at that moment. Places count from the position's place.

    `boot`: another one after each start of the server and after each crash. `clock`: the server's, in seconds since
    1970. `first` and `second`: places of the markers in the log, between which the snapshot was taken. `running`: the
    session by vxid (the virtual id of a transaction, which the log shows) in the sample that was taken between the
    first marker and the snapshot; `xids`: the transaction ids, as far as any sample knows them; `still`: the vxids that
    had none when the snapshot was taken, for certain. `own`: sessions of pgkeep. `lines`: the last line, before the
    place, of each session that may go on, -1: not known; `unread`: vxids that were running, of which nothing was read
    and may have been written; `blind`: what had begun before that place may have run beside others of which nothing was
    read. `odd`: sessions that were set in a way that may change what they say.
    """

    boot: str
    clock: int
    first: int
    second: int
    running: Mapping[str, str]
    xids: Mapping[str, int]
    still: tuple[str, ...]
    own: tuple[str, ...]
    lines: Mapping[str, int]
    unread: tuple[str, ...]
    blind: int
    odd: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCounts:
    """A table at a cut: its rows (None: they were not counted); the rows ever written, by the server's statistics, when
    it was last counted; and those that the log has explained since.
    """

    rows: int | None
    writes: int
    explained: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """Where a source whose log is read stands at a cut, so that the next window is known to begin exactly there.

    `system`, `timeline` and `database` (its oid) say which history that is; `settings`: what it logs, and how.
    `place`: from where the log is to be read again. `temporary`: names of temporary tables that sessions had.
    `held`: xids (32 bits), those of subtransactions too, that were under way when the snapshot had been taken.
    `tables`: by name.
    """

    system: str
    timeline: int
    database: int
    settings: Digest
    place: LogPlace
    cut: LogCut
    temporary: tuple[str, ...]
    held: tuple[int, ...]
    tables: Mapping[str, TableCounts]
    witnesses: Witnesses


Position = SlotPosition | LogPosition


def whole(position: Position | None, *, then: Position | None) -> Position | None:
    """The position with all that it left out because it is as in `then`, at the cut before."""
    if not isinstance(position, SlotPosition) or position.definitions is not None:
        return position
    assert isinstance(then, SlotPosition), "another way of collecting begins with a gap, and leaves nothing out"
    return replace(position, definitions=then.definitions)


def brief(position: Position | None) -> Position | None:
    """The position without what only a journal has to keep."""
    return replace(position, definitions=None) if isinstance(position, SlotPosition) else position
