"""pg_dump, which makes nobody's migration fail.

It locks all tables one after the other and keeps those it has. A migration that has one of the others and then wants
one of these is in a deadlock with it, and the server ends whoever notices that after `deadlock_timeout`: the migration,
if pg_dump waited first. So pg_dump waits for less than that, lets go of everything, and begins anew.
"""

import contextlib
import time
from collections.abc import Generator, Sequence

from .gate import translated
from .moment import Moment
from .programs import Tools
from .running import Command, ToolFailedError, read

LONGEST = 400
"""Milliseconds that it waits for a lock at most; others who want that table queue behind it meanwhile."""
PAUSE = 0.5
DEADLOCK = "SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'"
IN_THE_WAY = """
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_locks
        WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
            AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
"""


def pg_dump(moment: Moment, tools: Tools, arguments: Sequence[str], *, lock_wait: float) -> Generator[bytes]:
    """What `pg_dump` writes of the moment. When its first piece comes, it has locked everything.

    `lock_wait`: for so many seconds it begins anew while somebody has locked a table. Raises ToolFailedError.
    """
    command = Command(
        tools=tools,
        program="pg_dump",
        arguments=(f"--snapshot={moment.exported}", f"--lock-wait-timeout={_instant(moment)}ms", *arguments),
        server=moment.server,
        dbname=moment.dbname,
    )
    until = time.monotonic() + lock_wait
    alone = False
    while True:
        with contextlib.closing(read(command)) as chunks:
            try:
                first = next(chunks, b"")
            except ToolFailedError as failure:
                if failure.killed or alone or time.monotonic() > until:
                    raise
                alone = not _in_the_way(moment)  # whoever was there may be gone by now: one more try
            else:
                yield first
                yield from chunks
                return
        time.sleep(PAUSE)


def _instant(moment: Moment) -> int:
    """Milliseconds: safely less than the server's `deadlock_timeout`."""
    with translated(moment.server):
        row = moment.connection.execute(DEADLOCK).fetchone()
    assert row is not None
    return max(1, min(LONGEST, int(str(row[0])) // 2))


def _in_the_way(moment: Moment) -> bool:
    """Whether somebody has locked a table, or waits for it: the server is asked, its messages speak many languages."""
    with translated(moment.server):
        return moment.connection.execute(IN_THE_WAY).fetchone() == (True,)
