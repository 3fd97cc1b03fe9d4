"""The one gate where errors of PostgreSQL and psycopg become ours. It decides by SQLSTATE, never by a text."""

import os
import re
import select
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo, pq, sql

from pgkeep.errors import ConfigError, Corrupted, PgkeepError, Unavailable

from .server import Server

Session = psycopg.Connection[tuple[object, ...]]

DATA_CORRUPTED, INDEX_CORRUPTED = "XX001", "XX002"
UNKNOWN_DATABASE = "3D000"
NO_PASSWORD, NO_CONNECTIONS = "28P01", "55000"
REFUSED_ROLE = frozenset({"28000", NO_PASSWORD, "42501"})
REFUSAL = re.compile(rb'^B\t\d+\tErrorResponse\t.*? C "([0-9A-Z]{5})"', re.MULTILINE)


@contextmanager
def translated(server: Server) -> Iterator[None]:
    """Foreign errors out of the block come out as ours; a mistake in our own SQL stays what it is: a bug."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"{server.label} refuses: {_said(error)}",
            next_step="ask its administrator for that right, or connect as a role that has it",
        ) from error
    except (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted) as error:
        raise Corrupted(
            f"{server.label} reports damaged data: {_said(error)}",
            next_step="mend that database first (its newest sound backup: pgkeep list)",
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable(
            f"{server.label} cannot go on: {_said(error)}", next_step="see that the server is well, then run it again"
        ) from error


def connect(server: Server, dbname: str) -> Session:
    """An open connection in autocommit mode; the caller closes it.

    Raises ConfigError (the server refuses the role, the password, or knows no such database) or Unavailable.
    """
    try:
        return psycopg.connect(_conninfo(server, dbname), autocommit=True, prepare_threshold=None)
    except (psycopg.OperationalError, UnicodeError) as error:
        raise _refused(server, dbname, _said(error)) from None  # the original holds the connection's parameters


def quoted(*names: str) -> str:
    """A name for SQL, each of its parts in double quotes where it needs them not less."""
    return sql.Identifier(*names).as_string(None)


def literal(text: str) -> str:
    """A text for SQL, in single quotes."""
    return sql.Literal(text).as_string(None)


def _refused(server: Server, dbname: str, said: str) -> PgkeepError:
    state = _refusal(server, dbname)
    if state == UNKNOWN_DATABASE:
        return ConfigError(
            f"there is no database {dbname!r} at {server.label}",
            next_step=f"check the name: psql --list --host={server.host or 'localhost'} --port={server.port}",
        )
    if state in REFUSED_ROLE:
        return ConfigError(
            f"{server.label} does not let role {server.user!r} into {dbname!r}: {said}",
            next_step="correct role or password (in the connection, or PGPASSWORD), or grant it CONNECT there",
        )
    if state == NO_CONNECTIONS:
        return ConfigError(
            f"nobody may connect to {dbname!r} at {server.label}: {said}", next_step="choose another database"
        )
    return Unavailable(f"{server.label} does not answer: {said}", next_step="start it, or correct host and port")


def _refusal(server: Server, dbname: str) -> str | None:
    """The SQLSTATE with which the server refuses us; None if it says nothing.

    psycopg has only the refusal's text. So we knock once more, with libpq's protocol trace going into a pipe.
    """
    text = _conninfo(server, dbname).encode()
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        return _traced(text, reading=reading, writing=writing)
    finally:
        os.close(reading)
        os.close(writing)


def _conninfo(server: Server, dbname: str) -> str:
    return conninfo.make_conninfo("", **server.parameters(dbname))


def _traced(text: bytes, *, reading: int, writing: int) -> str | None:
    connection = pq.PGconn.connect_start(text)
    try:
        connection.trace(writing)
        connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        _finish(connection)
        connection.untrace()
        if connection.needs_password:  # then libpq itself gives up, and the server says nothing
            return NO_PASSWORD
        said = REFUSAL.findall(os.read(reading, 1 << 16))
    except (psycopg.OperationalError, BlockingIOError):
        return None
    finally:
        connection.finish()
    return said[-1].decode() if said else None


def _finish(connection: pq.abc.PGconn) -> None:
    while (status := connection.connect_poll()) not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
        door = [connection.socket]
        reading = status == pq.PollingStatus.READING
        ready = select.select(door if reading else [], [] if reading else door, [], 15)
        if not any(ready):
            return


def _said(error: Exception) -> str:
    """The first line of what the server said, for people only."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or (str(error).strip().splitlines() or [type(error).__name__])[0]
