"""The replication slot that keeps the WAL of a database until its changes are recorded."""

import contextlib
import logging
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import conninfo, pq, sql

from pgkeep.errors import ConfigError, PgkeepError, Unavailable

from .gate import Session, connect, translated
from .moment import Moment
from .programs import Tools
from .running import Command, read
from .server import Server
from .session import SINCE_17
from .value_texts import VALUE_TEXTS

log = logging.getLogger(__name__)

PLUGIN = "pgoutput"
PUBLICATION = "pgkeep"
MESSAGES_SINCE = 140_000
BUSY, NOT_IN_STATE, TOO_MANY = "55006", "55000", "53400"
PATIENCE = "30s"
"""For every transaction that writes at the moment: the slot can only begin when they have ended."""

PINNED: Mapping[str, str] = {
    **VALUE_TEXTS,
    "search_path": "pg_catalog",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}

STATE = """
    SELECT plugin, datoid::int8, active, wal_status = 'lost', confirmed_flush_lsn::text,
           pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8
    FROM pg_replication_slots WHERE slot_name = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """What the server says of a slot. `confirmed`: an LSN; all before it is let go. `kept`: bytes of WAL it holds."""

    plugin: str
    database: int
    active: bool
    lost: bool
    confirmed: str
    kept: int


def look_at(connection: Session, slot: str) -> SlotState | None:
    """The slot as it is now, or None. Raises psycopg.Error."""
    row = connection.execute(STATE, [slot]).fetchone()
    if row is None:
        return None
    plugin, database, active, is_lost, confirmed, kept = row
    return SlotState(
        plugin=str(plugin),
        database=int(str(database or 0)),
        active=bool(active),
        lost=bool(is_lost),
        confirmed=str(confirmed),
        kept=int(str(kept or 0)),
    )


def lost(connection: Session, slot: str) -> str | None:
    """Why nothing can be read from the slot any more, or None. Raises psycopg.Error."""
    state = look_at(connection, slot)
    if state is None:
        return f"the replication slot {slot} is gone, and the changes that it kept with it"
    if state.lost:
        return f"the replication slot {slot} was invalidated: the server did not keep the WAL (wal_status: lost)"
    return None


def drop(connection: Session, server: Server, slot: str) -> bool:
    """Lets the slot and the WAL it kept go; whether there was one. Raises Unavailable: somebody reads it now."""
    with translated(server):
        try:
            found = connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [slot]
            )
            return found.fetchone() is not None
        except psycopg.errors.ObjectInUse as error:
            raise _busy(server, slot) from error
        except psycopg.errors.UndefinedObject:  # somebody else did it in this very moment
            return False


@contextmanager
def create(server: Server, dbname: str, slot: str) -> Iterator[tuple[str, str]]:
    """Makes the slot. Yields the name of the snapshot at which it begins, valid within the block, and the first LSN
    of what it keeps: a transaction may be written already, and not yet be seen by that snapshot.

    Waits for all transactions that write at the moment, up to half a minute. Raises Unavailable, ConfigError.
    """
    connection = _replication(server, dbname)
    try:
        command = f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL {PLUGIN} EXPORT_SNAPSHOT'
        result = connection.exec_(command.encode())
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise _not_created(result, server)
        point, snapshot = result.get_value(0, 1), result.get_value(0, 2)
        assert point
        assert snapshot
        yield snapshot.decode(), point.decode()
    finally:
        connection.finish()


def advance(connection: Session, server: Server, slot: str, *, upto: str) -> None:
    """Lets the WAL before that LSN go; never goes back. Raises Unavailable."""
    with translated(server):
        connection.execute("SET statement_timeout = 0")
        try:
            connection.execute(
                "SELECT pg_replication_slot_advance(slot_name, %s::pg_lsn) FROM pg_replication_slots"
                " WHERE slot_name = %s AND confirmed_flush_lsn < %s::pg_lsn",
                [upto, slot, upto],
            )
        except psycopg.errors.ObjectInUse as error:
            raise _busy(server, slot) from error


def peek(moment: Moment, slot: str, tools: Tools, *, encoding: str, upto: str) -> Generator[bytes]:
    """What the slot keeps up to that LSN and a little further, as COPY in binary format; it is read and kept.

    By psql, whose output comes in large pieces: a driver gives it row by row. Raises ToolFailedError.
    """
    version = moment.connection.info.server_version
    options = ["proto_version", "1", "publication_names", PUBLICATION]
    options += ["messages", "true"] if version >= MESSAGES_SINCE else []
    query = sql.SQL(
        "COPY (SELECT data FROM pg_logical_slot_peek_binary_changes({}, {}, NULL, {})) TO STDOUT (FORMAT binary)"
    ).format(slot, upto, sql.SQL(", ").join(map(sql.Literal, options)))
    settings = {**PINNED, "client_encoding": encoding, **(SINCE_17 if version >= 170_000 else {})}
    pinned = moment.server.with_settings(" ".join(f"-c {name}={value}" for name, value in settings.items()))
    command = Command(
        tools=tools,
        program="psql",
        arguments=(
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--set=VERBOSITY=verbose",
            f"--command={query.as_string(None)}",
        ),
        server=pinned,
        dbname=moment.dbname,
    )
    return read(command)


def _replication(server: Server, dbname: str) -> pq.abc.PGconn:
    """A connection that speaks the replication protocol; psycopg has no class for it."""
    settings = f"-c lock_timeout={PATIENCE} -c idle_in_transaction_session_timeout=0 -c statement_timeout=0"
    with contextlib.closing(connect(server, dbname)):  # says in our words why it is refused
        parameters = server.with_settings(settings).parameters(dbname) | {"replication": "database"}
    connection = pq.PGconn.connect(conninfo.make_conninfo("", **parameters).encode())
    if connection.status != pq.ConnStatus.OK:
        said = connection.error_message.decode(errors="replace").strip().splitlines()
        connection.finish()
        raise ConfigError(
            f"{server.label} does not open a replication connection: {said[-1] if said else 'no reason given'}",
            next_step=f"as a superuser: ALTER ROLE {server.user} REPLICATION; and allow it in pg_hba.conf",
        )
    return connection


def _not_created(result: pq.abc.PGresult, server: Server) -> PgkeepError:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    if state == "55P03":
        return Unavailable(
            f"{server.label} cannot begin to keep changes: a transaction has been writing for more than {PATIENCE}",
            next_step="end it (pg_stat_activity: backend_xid; pg_prepared_xacts), or wait for it; then run it again",
        )
    if state in (TOO_MANY, NOT_IN_STATE, "42501"):
        return ConfigError(f"{server.label} does not make a replication slot: {said}", next_step=_advice(state, server))
    return Unavailable(f"{server.label} does not make a replication slot: {said}", next_step="run it again")


def _advice(state: str, server: Server) -> str:
    return {
        TOO_MANY: "raise max_replication_slots (and max_wal_senders), then restart it",
        NOT_IN_STATE: 'set wal_level = logical, then restart it; or write capture = "none" in pgkeep.toml',
        "42501": f"as a superuser: ALTER ROLE {server.user} REPLICATION",
    }[state]


def _busy(server: Server, slot: str) -> Unavailable:
    return Unavailable(
        f"{server.label}: slot {slot} is being read by somebody else", next_step="wait for that run, then run it again"
    )


def lsn(text: str) -> int:
    """An LSN as a number. Raises ValueError."""
    if not re.fullmatch(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}", text):
        raise ValueError(f"{text!r} is no LSN")
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(number: int) -> str:
    """The inverse of `lsn`."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
