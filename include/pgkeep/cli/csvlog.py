"""csvlog: what the CSV logs of a PostgreSQL server say."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pgkeep.adapters.postgres.csvlog.log.rows import Lost, Rows
from pgkeep.adapters.postgres.csvlog.log.statements import statement
from pgkeep.cli.context import Commands, given
from pgkeep.errors import ConfigError

log = logging.getLogger(__name__)

CHUNK = 1 << 20


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    parser = commands.add_parser("csvlog", help="what the CSV logs of a PostgreSQL server say")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = parts.add_parser("parse", help="print the statements in a folder of CSV logs, as JSON, one a line")
    command.add_argument("directory", metavar="DIR", type=Path, help="where they are, as *.csv")
    command.add_argument("--database", metavar="NAME", type=given, help="of this one; default: of all")
    command.set_defaults(run=parse)


def parse(chosen: argparse.Namespace) -> None:
    """`pgkeep csvlog parse DIR`. Bytes that are no UTF-8 are printed as lone surrogates, `\\udcff` for 255."""
    database = None if chosen.database is None else os.fsencode(chosen.database)
    for file in _files(chosen.directory):
        for sql in _statements(file, database):
            sys.stdout.write(json.dumps(sql.decode("utf-8", "surrogateescape")) + "\n")


def _statements(file: Path, database: bytes | None) -> Iterator[bytes]:
    """What is not sure about them is said on the way."""
    rows = Rows(_chunks(file), database=database, lost=partial(_warn_lost, file))
    for row in rows:
        if (found := statement(row)) is None:
            continue
        if found.reason is not None:
            log.warning("%s, byte %d: %s", file, row.place, found.reason)
        yield found.sql
    if rows.end < (size := file.stat().st_size):
        log.warning("%s, byte %d: its last record is not whole (%d bytes)", file, rows.end, size - rows.end)


def _warn_lost(file: Path, lost: Lost) -> None:
    log.warning("%s, byte %d: %d bytes that are no record", file, lost.place, lost.size)


def _files(directory: Path) -> list[Path]:
    """By the time in their first row: names have any order. Raises ConfigError."""
    try:
        files = [file for file in directory.iterdir() if file.suffix == ".csv"]
        if not files:
            raise ConfigError(f"{directory} holds no *.csv", next_step="name the log_directory of a server with csvlog")
        return sorted(files, key=lambda file: (_first_time(file), file.name))
    except OSError as error:
        raise _unreadable(error) from error


def _first_time(file: Path) -> bytes:
    rows = Rows(_chunks(file), database=None, lost=lambda _: None)
    return next((row.time for row in rows), b"")


def _chunks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                yield chunk
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot read {error.filename}: {error.strerror}",
        next_step="name the log_directory of a server with csvlog, and run this as who may read it",
    )
