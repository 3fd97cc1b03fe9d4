"""What there is to know about how a database's changes are kept. Reads only, and changes nothing."""

from dataclasses import dataclass

from pgkeep.adapters.postgres.gate import Session
from pgkeep.adapters.postgres.installation import Installed, look
from pgkeep.adapters.postgres.slot import SlotState, look_at

SERVER = """
    SELECT current_setting('wal_level'), r.rolreplication OR r.rolsuper,
           current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
           (SELECT nullif(setting::int8, -1) * 1024 * 1024 FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
    FROM pg_roles r WHERE r.rolname = current_user
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureReport:
    """One look. `free_slots`: that the server could still make. `server_limit`: bytes of WAL that it keeps for a slot
    at most; None: any number. `slot`: None before the first backup.
    """

    wal_level: str
    may_replicate: bool
    free_slots: int
    server_limit: int | None
    installed: Installed
    slot: SlotState | None


def report(connection: Session, slot: str) -> CaptureReport:
    """Looks at the server and the database of the connection. Raises psycopg.Error."""
    row = connection.execute(SERVER).fetchone()
    assert row is not None
    wal_level, may_replicate, free_slots, server_limit = row
    return CaptureReport(
        wal_level=str(wal_level),
        may_replicate=bool(may_replicate),
        free_slots=int(str(free_slots)),
        server_limit=None if server_limit is None else int(str(server_limit)),
        installed=look(connection),
        slot=look_at(connection, slot),
    )
