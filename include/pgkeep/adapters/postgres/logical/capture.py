"""The changes of a database by logical decoding with PostgreSQL's own plugin, pgoutput."""

import contextlib
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pgkeep import chain
from pgkeep.adapters.postgres import slot as slots
from pgkeep.adapters.postgres.gate import Session, connect, translated
from pgkeep.adapters.postgres.history import other_history, read_history
from pgkeep.adapters.postgres.installation import Installed, install, look, script, synchronise
from pgkeep.adapters.postgres.moment import Moment, open_moment
from pgkeep.adapters.postgres.slot import lsn
from pgkeep.adapters.postgres.source import PostgresSource
from pgkeep.model import Backup, SlotPosition

from .report import CaptureReport, report
from .window import LogicalWindow

log = logging.getLogger(__name__)

PUBLICATION = """
    SELECT coalesce((SELECT oid::int8 FROM pg_publication
                     WHERE pubname = 'pgkeep' AND obj_description(oid, 'pg_publication') LIKE 'pgkeep %'), 0)
"""
ANOTHER_WAY = "its changes were collected from the server's log until now"


class LogicalCapture:
    """`slot`: the name of the one replication slot that keeps this database's changes.

    `measured`: bytes of changed tables that are measured again at each cut. `kept`: bytes of WAL that the source may
    keep for us at most; beyond that its disk matters more, and the slot is let go. `full_identity`: tables that may
    be given REPLICA IDENTITY FULL.
    """

    def __init__(
        self, *, source: PostgresSource, slot: str, measured: int, kept: int, full_identity: Sequence[str] = ()
    ) -> None:
        self._source = source
        self._slot = slot
        self._measured = measured
        self._kept = kept
        self._full_identity = tuple(full_identity)

    def spare_disk(self) -> None:
        """Lets the slot go if it keeps more WAL than it may: the source must not stop for us. Raises Unavailable."""
        with self._connected() as connection:
            state = slots.look_at(connection, self._slot)
            if state is None or state.kept <= self._kept / 2:
                return
            said = f"{self._source.label} keeps {state.kept} bytes of WAL for changes that were not collected"
            if state.kept <= self._kept:
                log.warning("%s; beyond %d (slot_limit_gb) the slot is dropped. See why runs fail", said, self._kept)
                return
            slots.drop(connection, self._source.server, self._slot)
            log.error("%s, more than slot_limit_gb allows: the slot was dropped. A full backup is made now", said)

    def require_log(self) -> None:
        """The slot keeps the WAL for us; `broken` says when it does not."""

    def script(self) -> str:
        """What `install` does, as SQL for somebody to read and to run. Raises Unavailable, ConfigError."""
        with self._connected() as connection:
            return script(server_version=connection.info.server_version, event_triggers=True)

    def report(self) -> CaptureReport:
        """How the changes are kept at this moment. Raises Unavailable, ConfigError."""
        with self._connected() as connection, translated(self._source.server):
            return report(connection, self._slot)

    def install(self) -> Installed:
        """Prepares the database: publication, event triggers. Safe to repeat. Raises ConfigError, Unavailable."""
        with self._connected() as connection, translated(self._source.server):
            return install(connection, identity_full=self._full_identity)

    def broken(self, last: Backup) -> str | None:
        """Why the changes since that link cannot be had any more, or None. Raises Unavailable, ConfigError."""
        then = chain.position_of(last)
        if not isinstance(then, SlotPosition):
            return ANOTHER_WAY
        with self._connected() as connection, translated(self._source.server):
            return (
                other_history(read_history(connection), last, then)
                or _republished(connection, then)
                or self._slot_lost(connection, then)
            )

    @contextmanager
    def begin(self, last: Backup | None) -> Iterator[LogicalWindow]:
        """A cut from which on the slot keeps every change. Raises Unavailable, ConfigError."""
        server, dbname = self._source.server, self._source.dbname
        with self._connected() as connection:
            self._prepare(connection)
            slots.drop(connection, server, self._slot)
        with contextlib.ExitStack() as stack:
            with slots.create(server, dbname, self._slot) as (snapshot, kept_from):
                moment = stack.enter_context(open_moment(server, dbname, exported=snapshot))
            yield self._window(moment, last=last, then=None, kept_from=kept_from)

    @contextmanager
    def window(self, last: Backup) -> Iterator[LogicalWindow]:
        """A cut now, and the changes since that link. Raises Unavailable, ConfigError."""
        then = chain.position_of(last)
        assert isinstance(then, SlotPosition), "`broken` was asked first"
        with self._connected() as connection, translated(self._source.server):
            synchronise(connection)
        with open_moment(self._source.server, self._source.dbname) as moment:
            yield self._window(moment, last=last, then=then, kept_from=then.retained)

    def _window(
        self, moment: Moment, *, last: Backup | None, then: SlotPosition | None, kept_from: str
    ) -> LogicalWindow:
        token = secrets.token_hex(16)
        with self._connected() as connection, translated(self._source.server):
            history, publication = read_history(connection), read_publication(connection)
            leave_token(connection, token)
        window = LogicalWindow(
            snapshot=self._source.snapshot_of(moment),
            slot=self._slot,
            history=history,
            publication=publication,
            token=token,
            since=last.cut if last else None,
            then=then,
            kept_from=kept_from,
            measured=self._measured,
        )
        window.look_first()
        return window

    @contextmanager
    def _connected(self) -> Iterator[Session]:
        with contextlib.closing(connect(self._source.server, self._source.dbname)) as connection:
            yield connection

    def _slot_lost(self, connection: Session, then: SlotPosition) -> str | None:
        why = slots.lost(connection, self._slot)
        state = slots.look_at(connection, self._slot)
        if why or state is None:
            return why
        if (state.plugin, state.database) != (slots.PLUGIN, then.database):
            return f"the replication slot {self._slot} is another one now"
        if lsn(state.confirmed) > lsn(then.retained):
            return f"somebody else has read the replication slot {self._slot} on"
        return None

    def _prepare(self, connection: Session) -> None:
        """A database that came back from a backup, say, has nothing of ours in it."""
        with translated(self._source.server):
            if not look(connection).publication:
                install(connection, identity_full=self._full_identity)


def leave_token(connection: Session, token: str) -> None:
    """Writes the token into the WAL, and all before it onto the disk: the next window must find it there."""
    connection.execute("SET synchronous_commit = 'local'")  # our commit waits for no standby
    if connection.info.server_version >= slots.MESSAGES_SINCE:
        connection.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'pgkeep:cut', %s)", [token])
    else:
        connection.execute("DELETE FROM _pgkeep.log")
        connection.execute("INSERT INTO _pgkeep.log (prefix, content) VALUES ('pgkeep:cut', %s)", [token])


def read_publication(connection: Session) -> int:
    """The oid of our publication, or 0. Raises psycopg.Error."""
    row = connection.execute(PUBLICATION).fetchone()
    assert row is not None
    return int(str(row[0]))


def _republished(connection: Session, then: SlotPosition) -> str | None:
    now = read_publication(connection)
    return None if now and now == then.publication else "the publication pgkeep was dropped, or replaced"
