"""The port Source: a database is dumped and measured at one moment."""

import contextlib
import hashlib
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.inventory import Inventory, SequenceState
from pgkeep.model import Cut, Entry, SlotPosition

from .dumping import pg_dump
from .gate import Session, connect, translated
from .guard import hold_still, require_unchanged
from .hazards import too_long_rows
from .measure import measure_sequences, take_inventory
from .moment import Moment, find_ignored, open_moment
from .privileges import missing_privileges
from .programs import Tools, find_tools
from .relations import IgnoredTables, require_restorable
from .running import Command, ToolFailedError, read
from .server import Server
from .slot import advance

log = logging.getLogger(__name__)

OLDEST = 13
DUMPS = "SELECT pg_advisory_xact_lock_shared(%s)"
NO_DUMP = "SELECT pg_try_advisory_xact_lock(%s)"


class PostgresSource:
    """A database of a PostgreSQL server >= 13. Keeps nothing for itself in it.

    `ignored_tables`: `schema.table` as SQL writes them; their definitions are dumped, their rows are not.
    `bin_dir`: where pg_dump is, else it is looked for.
    Seconds: `patience` to wait for the writer's lock, `lock_wait` for the tables to be free for pg_dump.
    """

    def __init__(
        self,
        *,
        server: Server,
        dbname: str,
        ignored_tables: Sequence[str] = (),
        bin_dir: Path | None = None,
        patience: float = 60.0,
        lock_wait: float = 30.0,
    ) -> None:
        self.server = server
        self.dbname = dbname
        self.ignored_tables = tuple(ignored_tables)
        self.bin_dir = bin_dir
        self._patience = patience
        self._lock_wait = lock_wait

    @property
    def label(self) -> str:
        """Where it is, for people, without a password: `host:port/database`."""
        return f"{self.server.label}/{self.dbname}"

    @contextmanager
    def snapshot(self) -> Iterator["PostgresSnapshot"]:
        """Opens a moment. Raises Unavailable; ConfigError: unknown database, a privilege or a program is missing."""
        with open_moment(self.server, self.dbname) as moment:
            yield self.snapshot_of(moment)

    def snapshot_of(self, moment: Moment) -> "PostgresSnapshot":
        """What can be had of a moment of this source. Raises ConfigError: a privilege or a program is missing."""
        major = require_supported(moment.connection, self.server)
        ignored = find_ignored(moment, self.ignored_tables)
        for name in ignored.unknown:
            log.warning("%s has no table %s to ignore", self.label, name)
        with translated(self.server):
            require_privileges(moment.connection, self.label)
            require_restorable(moment.connection, ignored)
        tools = find_tools(major, directory=self.bin_dir)
        return PostgresSnapshot(moment=moment, ignored=ignored, tools=tools, lock_wait=self._lock_wait)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Holds an advisory lock of the source database, in one transaction, as long as the block runs.

        Raises Unavailable: another holder does not let go, the server does not answer, or the connection was lost
        within the block. In that last case somebody else may have written meanwhile: do the block's work again, from
        the look at what there is (recording is idempotent).
        """
        with self._exclusively():
            yield

    @contextmanager
    def at_rest(self) -> Iterator[bool]:
        """As `exclusively`; says whether no dump of this database runs. Then one that begins waits for the end."""
        with self._exclusively() as connection:
            with translated(self.server):
                row = connection.execute(NO_DUMP, [dump_lock_key(self.dbname)]).fetchone()
            yield row == (True,)

    @contextmanager
    def _exclusively(self) -> Iterator[Session]:
        with contextlib.closing(connect(self.server, self.dbname)) as connection:
            self._lock(connection)
            yield connection
            with translated(self.server):
                connection.execute("COMMIT")

    def release(self, entry: Entry) -> None:
        """Moves the replication slot, if there is one, on to what the entry's link still needs. Raises Unavailable."""
        link = entry.backup.link
        if link is not None and isinstance(link.position, SlotPosition):
            with contextlib.closing(connect(self.server, self.dbname)) as connection:
                advance(connection, self.server, link.position.slot, upto=link.position.retained)

    def _lock(self, connection: Session) -> None:
        settings = {
            "lock_timeout": f"{int(self._patience * 1000)}ms",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "tcp_keepalives_idle": "30",  # when this host dies, the server lets go in about a minute
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
        }
        if connection.info.server_version >= 170_000:
            settings["transaction_timeout"] = "0"
        try:
            with translated(self.server):
                connection.execute("; ".join(["BEGIN", *(f"SET LOCAL {n} = '{v}'" for n, v in settings.items())]))
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [journal_lock_key(self.dbname)])
        except Unavailable as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            raise Unavailable(
                f"somebody else has been writing the journal of {self.label} for {self._patience:.0f} seconds",
                next_step="wait for that run to end, then run it again",
            ) from error


@dataclass(kw_only=True)
class PostgresSnapshot:
    """One moment of a source. `_sequences`: as they stood when the dump began."""

    moment: Moment
    ignored: IgnoredTables
    tools: Tools
    lock_wait: float
    _sequences: tuple[SequenceState, ...] | None = field(default=None, init=False, repr=False)

    @property
    def cut(self) -> Cut:
        return self.moment.cut

    @property
    def server_version(self) -> int:
        return self.moment.connection.info.server_version

    def dump(self) -> Generator[bytes]:
        """`pg_dump -Fc -Z0` of the moment; see the port, and `guard` for what is proven when it ends."""
        arguments = [
            "--format=custom",
            "--compress=0",
            *(f"--exclude-table-data={table.pattern}" for table in self.ignored.tables),
        ]
        self._say_that_it_runs()
        try:
            dumping = pg_dump(self.moment, self.tools, arguments, lock_wait=self.lock_wait)
            with contextlib.closing(dumping) as chunks:
                first = next(chunks, b"")
                self._hold_still()
                yield first
                yield from chunks
        except ToolFailedError as failure:
            raise self._reason(failure) from failure

    def globals(self) -> Generator[bytes]:
        """`pg_dumpall --globals-only`, with the passwords' hashes if the role may read them."""
        with translated(self.moment.server):
            row = self.moment.connection.execute("SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')")
            may_read = row.fetchone() == (True,)
        # Our database, for we know that the role may connect to it; as conninfo, for its name may look like one.
        arguments = ["--globals-only", f"--database={_conninfo(self.moment.dbname)}"]
        if not may_read:
            arguments.append("--no-role-passwords")
        try:
            yield from read(self._command("pg_dumpall", arguments))
        except ToolFailedError as failure:
            raise self._reason(failure) from failure

    def inventory(self) -> Inventory:
        """Counts and fingerprints of what `dump` wrote, and the sequences as they stood when it began."""
        return take_inventory(self.moment, ignored=self.ignored, sequences=self._sequences)

    def _say_that_it_runs(self) -> None:
        """Until the moment ends, whoever sweeps litter sees it: on the connection whose locks nobody lets go of."""
        with translated(self.moment.server):
            self.moment.connections[-1].execute(DUMPS, [dump_lock_key(self.moment.dbname)])

    def _hold_still(self) -> None:
        """Called when pg_dump has all its locks: it has just read the sequences."""
        hold_still(self.moment, without=self.ignored.oids)
        self._sequences = measure_sequences(self.moment)

    def _command(self, program: str, arguments: Sequence[str]) -> Command:
        moment = self.moment
        return Command(
            tools=self.tools, program=program, arguments=arguments, server=moment.server, dbname=moment.dbname
        )

    def _reason(self, failure: ToolFailedError) -> PgkeepError:
        """Why a program failed, found by asking the server instead of reading its complaint; may raise as well."""
        if failure.killed:
            return Unavailable(str(failure), next_step="nothing was stored; run it again")
        require_unchanged(self.moment, without=self.ignored.oids)
        with translated(self.moment.server):
            too_long = too_long_rows(self.moment.connection, without=self.ignored.oids, seconds=60)
        if too_long:
            return ConfigError(
                f"rows too long to be dumped as text: {', '.join(map(str, too_long))}; {failure}",
                next_step="keep a row's text below 1 GB (bytea counts twice), or name the table in `ignored_tables`",
            )
        return Unavailable(str(failure), next_step="nothing was stored; mend what it names, then run it again")


def require_supported(connection: Session, server: Server) -> int:
    """The server's major version. Raises ConfigError if it is too old."""
    major = connection.info.server_version // 10_000
    if major < OLDEST:
        raise ConfigError(
            f"{server.label} is PostgreSQL {major}; pgkeep keeps {OLDEST} and newer", next_step="upgrade the server"
        )
    return major


def require_privileges(connection: Session, label: str) -> None:
    """Raises ConfigError with everything that the role lacks for a whole dump, and how to give it."""
    missing = missing_privileges(connection)
    if missing:
        raise ConfigError(
            f"role {connection.info.user} cannot dump {label}: {'; '.join(map(str, missing))}",
            next_step="as a superuser: " + " ".join(lack.grant for lack in missing),
        )


def journal_lock_key(dbname: str) -> int:
    """The key of the advisory lock under which a database's journal is written."""
    return _lock_key("journal", dbname)


def dump_lock_key(dbname: str) -> int:
    """The key of the advisory lock that all dumps of a database share."""
    return _lock_key("dump", dbname)


def _lock_key(what: str, dbname: str) -> int:
    """Applications lock small numbers of their own choice, or hashes of their own texts; 64 bits of a SHA-256 over a
    text that begins with our name will not meet them.
    """
    digest = hashlib.sha256(f"pgkeep {what}\0{dbname}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _conninfo(dbname: str) -> str:
    escaped = dbname.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"
