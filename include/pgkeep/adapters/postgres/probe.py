"""What there is to know about a source before anything of it is backed up. Reads only, and changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pgkeep.errors import ConfigError

from .gate import Session, translated
from .hazards import LongRow, too_long_rows
from .moment import find_ignored, open_moment
from .privileges import Missing, missing_privileges
from .programs import Tools, find_tools
from .relations import require_restorable
from .source import PostgresSource, require_supported


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """One look at a source.

    `clock_difference`: seconds that the server's clock is ahead of ours. `tools`: the programs that would be used, or
    why there are none. `unknown_ignored`: names in `ignored_tables` that name no table.
    `unrestorable`: why the ignored tables cannot be left out. `long_rows`: rows that cannot be dumped; None: not known,
    as looking took too long.
    """

    label: str
    role: str
    server_version: int
    clock_difference: float
    missing: tuple[Missing, ...]
    tools: Tools | ConfigError
    unknown_ignored: tuple[str, ...]
    unrestorable: ConfigError | None
    long_rows: tuple[LongRow, ...] | None


def probe_source(source: PostgresSource, *, seconds: float = 10.0) -> SourceReport:
    """Looks at a source; `seconds`: for one table's long rows. Raises Unavailable, ConfigError (no way in, too old)."""
    with open_moment(source.server, source.dbname, connections=1) as moment:
        major = require_supported(moment.connection, source.server)
        ignored = find_ignored(moment, source.ignored_tables)
        with translated(source.server):
            return SourceReport(
                label=source.label,
                role=moment.connection.info.user,
                server_version=moment.connection.info.server_version,
                clock_difference=_clock_difference(moment.connection),
                missing=(missing := missing_privileges(moment.connection)),
                tools=_tools(source, major),
                unknown_ignored=ignored.unknown,
                unrestorable=_refusal(lambda: require_restorable(moment.connection, ignored)),
                long_rows=None if missing else too_long_rows(moment.connection, without=ignored.oids, seconds=seconds),
            )


def _tools(source: PostgresSource, major: int) -> Tools | ConfigError:
    try:
        return find_tools(major, directory=source.bin_dir)
    except ConfigError as error:
        return error


def _refusal(require: Callable[[], None]) -> ConfigError | None:
    try:
        require()
    except ConfigError as error:
        return error
    return None


def _clock_difference(connection: Session) -> float:
    before = datetime.now(UTC)
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    after = datetime.now(UTC)
    assert row is not None
    assert isinstance(row[0], datetime)
    return (row[0] - (before + (after - before) / 2)).total_seconds()
