"""What the CSV logs of a server are read as, by a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fix_csvlog_server import LoggingServer
from fix_postgres import Database
from pgkeep.adapters.postgres.csvlog.log.rows import Rows
from pgkeep.adapters.postgres.csvlog.log.statements import statement
from pgkeep.adapters.postgres.csvlog.model import Statement


def found_in(logging: LoggingServer, database: Database, connection_pid: int | None = None) -> list[Statement]:
    """The statements that the log has of that session, or of all."""
    found = list[Statement]()
    for file in logging.files():
        rows = Rows(_chunks(file), database=database.name.encode(), lost=lambda lost: pytest.fail(str(lost)))
        found += (each for each in map(statement, rows) if each)
    return [each for each in found if connection_pid is None or pid(each) == connection_pid]


def pid(found: Statement) -> int:
    return int(found.row.session.split(b".")[1], 16)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from iter(lambda: opened.read(10_007), b"")
