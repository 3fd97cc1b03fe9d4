"""Whether a source is the one, and in the state, that a journal knows: LSNs go on counting from a copy, too."""

from dataclasses import dataclass

from pgkeep.model import Backup, Position

from .gate import Session
from .slot import lsn

HISTORY = """
    SELECT (SELECT system_identifier::text FROM pg_control_system()),
           ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8,
           (SELECT oid::int8 FROM pg_database WHERE datname = current_database()),
           pg_current_wal_insert_lsn()::text
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Which server's past this is: a promoted standby goes on in another timeline, a new server has another system.

    `database`: its oid; `position`: how far the WAL is.
    """

    system: str
    timeline: int
    database: int
    position: str


def read_history(connection: Session) -> History:
    """Whose past this is, and how far it is. Raises psycopg.Error."""
    row = connection.execute(HISTORY).fetchone()
    assert row is not None
    system, timeline, database, position = row
    return History(system=str(system), timeline=int(str(timeline)), database=int(str(database)), position=str(position))


def other_history(now: History, last: Backup, then: Position) -> str | None:
    """Why this cannot be what the link `last` was made of, where the source stood as `then` says; or None."""
    if now.system != then.system:
        return f"this is another server (system identifier {now.system}, it was {then.system})"
    if now.timeline != then.timeline:
        return f"a standby was promoted, or the server was restored: timeline {now.timeline}, it was {then.timeline}"
    if now.database != then.database:
        return "another database has this name now"
    if lsn(now.position) < lsn(last.cut.lsn):
        return f"the source went back in time: it is at {now.position}, the journal was at {last.cut.lsn}"
    return None
