"""The port Capture from the server's CSV log: statements that can be run again; for all else a full backup."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pgkeep import chain
from pgkeep.adapters.postgres.gate import Session, connect, translated
from pgkeep.adapters.postgres.history import other_history, read_history
from pgkeep.adapters.postgres.source import PostgresSource
from pgkeep.errors import ConfigError, LogUnavailable, Unavailable
from pgkeep.model import Backup, LogPosition
from pgkeep.ports import Inexact

from .cut import framed_moment
from .log.files import DirectoryLogFiles, LogFiles, SqlLogFiles
from .log.place import end_of_log, require_same
from .log_settings import log_settings
from .report import LogReport, report
from .window import PATIENCE, CsvlogWindow

T = TypeVar("T")
ANOTHER_WAY = "its changes were collected by logical decoding until now"
CHANGED = "log settings were changed: what was logged before and after cannot be read in the same way"
SCRIPT = """\
-- What the server has to log, so that pgkeep can collect changes from it; the first needs a restart.
-- Run it as a superuser: psql -X -v ON_ERROR_STOP=1 -f FILE {dbname}
ALTER SYSTEM SET logging_collector = on;
ALTER SYSTEM SET log_destination = 'csvlog';
ALTER SYSTEM SET log_statement = 'all';
ALTER SYSTEM SET log_duration = on;
ALTER SYSTEM SET log_min_duration_statement = -1;
ALTER SYSTEM SET log_parameter_max_length = -1;
ALTER SYSTEM SET log_min_messages = 'warning';
ALTER SYSTEM SET lc_messages = 'C';
SELECT pg_reload_conf();
{grants}"""


MOMENTS = 4
"""Where somebody is always writing: after so many moments that were spoilt, the next one makes a gap."""


@dataclass(kw_only=True)
class CsvlogCapture:
    """`directory`: where the server's log directory is mounted; None: the log is read over SQL.

    `measured`: bytes of tables that are looked at again at each cut. `patience`: seconds until what our own sessions
    say must stand in the log.
    """

    source: PostgresSource
    measured: int
    directory: Path | None = None
    patience: float = PATIENCE
    _moments: int = field(default=0, init=False)

    def spare_disk(self) -> None:
        """The source keeps nothing for us: its logs are its own."""

    def script(self) -> str:
        """What the server needs, as SQL for somebody to read and to run. Raises Unavailable, ConfigError."""
        grants = "\n".join(lack.grant for lack in self.report().lacking)
        return SCRIPT.format(dbname=self.source.dbname, grants=f"{grants}\n" if grants else "")

    def report(self) -> LogReport:
        """What the server logs at this moment. Raises Unavailable, ConfigError."""
        with self._connected() as connection, translated(self.source.server):
            return report(connection, by_sql=self.directory is None)

    def install(self) -> None:
        """Nothing is installed; the log must be there, and the role be let read it. Raises ConfigError, Unavailable."""
        found = self.report()
        if found.settings.mode == "nothing useful" or found.lacking:
            lacking = "; ".join(lack.why for lack in found.lacking) or f"its log shows {found.shows}"
            raise ConfigError(
                f"the changes of {self.source.label} cannot be collected from its log: {lacking}",
                next_step="add --print-sql to this command: it shows what to run on the server",
            )

    def require_log(self) -> None:
        """There is a log now, and we can read it. Raises LogUnavailable; ConfigError, Unavailable: no connection."""
        with self._connected() as connection:
            try:
                end_of_log(self._files(connection))
            except (ConfigError, Unavailable) as error:
                raise LogUnavailable(error.what, next_step=error.next_step) from error
            except Inexact:
                return

    def broken(self, last: Backup) -> str | None:
        """Why the changes since that link cannot be had any more, or None. Raises Unavailable, ConfigError."""
        then = chain.position_of(last)
        if not isinstance(then, LogPosition):
            return ANOTHER_WAY
        with self._connected() as connection:
            with translated(self.source.server):
                other = other_history(read_history(connection), last, then)
                changed = log_settings(connection).digest != then.settings
            if other or changed:
                return other or CHANGED
            try:
                require_same(self._files(connection), then.place)
            except Inexact as gone:
                return gone.reason
        return None

    @contextmanager
    def begin(self, last: Backup | None) -> Iterator[CsvlogWindow]:
        """A cut from which on the log is read. Raises Unavailable, ConfigError."""
        with self._window(last, then=None) as window:
            yield window

    @contextmanager
    def window(self, last: Backup) -> Iterator[CsvlogWindow]:
        """A cut now, and the changes since that link. Raises Unavailable, ConfigError."""
        then = chain.position_of(last)
        assert isinstance(then, LogPosition), "`broken` was asked first"
        self._moments += 1
        with self._window(last, then=then) as window:
            yield window

    @contextmanager
    def _window(self, last: Backup | None, *, then: LogPosition | None) -> Iterator[CsvlogWindow]:
        server, dbname = self.source.server, self.source.dbname
        with self._connected() as connection:
            files = self._files(connection)
            with translated(server):
                history, settings = read_history(connection), log_settings(connection)
            before = _certain(lambda: end_of_log(files))
            with framed_moment(server, dbname) as framed:
                window = CsvlogWindow(
                    snapshot=self.source.snapshot_of(framed.moment),
                    since=last.cut if last else None,
                    measured=self.measured,
                    patience=self.patience,
                    framed=framed,
                    files=files,
                    history=history,
                    settings=settings,
                    then=then,
                    last_try=self._moments > MOMENTS,
                )
                _certain(lambda: window.look_first(before))
                yield window

    def _files(self, connection: Session) -> LogFiles:
        over_sql = SqlLogFiles(connection=connection, server=self.source.server)
        return over_sql if self.directory is None else DirectoryLogFiles(path=self.directory, asked=over_sql.current)

    @contextmanager
    def _connected(self) -> Iterator[Session]:
        with contextlib.closing(connect(self.source.server, self.source.dbname)) as connection:
            yield connection


def _certain(ask: Callable[[], T]) -> T:
    """What is asked of the log's newest end. Raises LogUnavailable: it is not certain, which it may be another time."""
    try:
        return ask()
    except Inexact as doubt:
        raise LogUnavailable(
            f"where the log ends is not certain: {doubt.reason}",
            next_step="run it again; does another server, or somebody else, write to the log directory?",
        ) from doubt
