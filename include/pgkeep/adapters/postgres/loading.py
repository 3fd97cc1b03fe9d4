"""A `pg_dump -Fc` stream into an empty database, by whatever pg_restore of this machine can do it.

pg_restore reads archives of its own and of older major versions. From 17 on it begins with a setting that older servers
refuse (`transaction_timeout`); for those, its output goes through us to psql without that line.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .complaints import of_psql, of_restoring
from .gate import connect, translated
from .programs import Tools, find_tools
from .running import Command, Hear, through, write
from .server import Server

MAGIC = b"PGDMP"
WRITTEN_BY = {14: 15, 15: 16, 16: 17}
"""By the archive format's minor version (1.x), the oldest major version of PostgreSQL's tools that reads it."""
SETS_TRANSACTION_TIMEOUT = 17
REFUSED_LINE = b"SET transaction_timeout = 0;\n"
AFTER_SETTINGS = b"SELECT pg_catalog.set_config('search_path'"
LONGEST_SETTINGS = 1 << 16

# Which disk a table is on is the business of a machine, not of its data: the target's default tablespace will do.
RESTORE = ("--format=custom", "--no-tablespaces")
# VERBOSE: it names the entry of the archive that it stops at.
STOPPING = ("--exit-on-error", "--verbose")
INTO = "--dbname="
"""An empty name takes it from PGDATABASE, where a name that looks like a connection string is only a name."""
# VERBOSE: with SQLSTATE. What it says besides, rows among it, whoever hears it must leave out.
SCRIPT = ("--no-psqlrc", "--quiet", "--set=VERBOSITY=verbose", "--set=SHOW_CONTEXT=never", "--file=-")
PSQL = (*SCRIPT, "--set=ON_ERROR_STOP=1")
# What is lost if the server crashes now is restored again anyway, and taking the place is a synchronous commit.
FASTER = "-c synchronous_commit=off"
ENGLISH = "-c lc_messages=C"
"""What the server says is known in English only: in other languages less of it can be shown. Superusers may say so."""


def load(
    dump: Iterable[bytes], *, server: Server, dbname: str, hear: Hear = of_restoring, bin_dir: Path | None = None
) -> None:
    """Restores the dump; any error of it ends it. What `dump` raises comes out unchanged.

    Raises ToolFailedError; ConfigError: no fitting pg_restore on this machine.
    """
    major, server = _prepared(server, dbname)
    with closed_at_the_end(dump):
        tools, chunks = _reader(dump, major, bin_dir)
        if tools.major >= SETS_TRANSACTION_TIMEOUT > major:
            _load_as_script(chunks, tools, server, dbname, hear)
        else:
            write(_command(tools, "pg_restore", (*RESTORE, *STOPPING, INTO), server, dbname), chunks, hear=hear)


def load_all(dump: Iterable[bytes], *, server: Server, dbname: str, hear: Hear, bin_dir: Path | None = None) -> None:
    """As `load`, but pg_restore goes past errors, and fails in the end if there were any."""
    major, server = _prepared(server, dbname)
    with closed_at_the_end(dump):
        tools, chunks = _reader(dump, major, bin_dir)
        write(_command(tools, "pg_restore", (*RESTORE, INTO), server, dbname), chunks, hear=hear)


def _reader(dump: Iterable[bytes], major: int, bin_dir: Path | None) -> tuple[Tools, Iterator[bytes]]:
    """The tools that read this archive, and all of it."""
    first, chunks = _peek(dump)
    return find_tools(max(major, _oldest_reader(first)), directory=bin_dir), chunks


def _load_as_script(chunks: Iterator[bytes], tools: Tools, server: Server, dbname: str, hear: Hear) -> None:
    to_script = _command(tools, "pg_restore", (*RESTORE, "--file=-"), server, dbname)
    with contextlib.closing(through(to_script, chunks, hear=hear)) as script:
        write(_command(tools, "psql", PSQL, server, dbname), without_refused_line(script), hear=hear)


@contextmanager
def closed_at_the_end(dump: Iterable[bytes]) -> Iterator[None]:
    """Who makes the dump learns that nobody reads on, even while a traceback still holds on to it."""
    try:
        yield
    finally:
        if callable(close := getattr(dump, "close", None)):
            close()


def apply(changes: Iterable[bytes], *, server: Server, dbname: str, bin_dir: Path | None = None) -> None:
    """Runs the SQL of a window by psql; any error of it ends it. What `changes` raises comes out unchanged.

    Raises ToolFailedError; ConfigError: no psql on this machine.
    """
    with closed_at_the_end(changes):
        major, server = _prepared(server, dbname)
        tools = find_tools(major, directory=bin_dir)
        write(_command(tools, "psql", PSQL, server, dbname), changes, hear=of_psql)


def run(
    script: Iterable[bytes],
    *,
    server: Server,
    dbname: str,
    keep_going: bool,
    hear: Hear,
    bin_dir: Path | None = None,
) -> None:
    """Runs somebody's script by psql, to its end or to the first error. What `script` raises comes out unchanged.

    Raises ToolFailedError; ConfigError: no psql on this machine.
    """
    with closed_at_the_end(script):
        major, server = _prepared(server, dbname)
        tools = find_tools(major, directory=bin_dir)
        command = _command(tools, "psql", (*SCRIPT, f"--set=ON_ERROR_STOP={int(not keep_going)}"), server, dbname)
        chunks = iter(script) if major >= SETS_TRANSACTION_TIMEOUT else without_refused_line(iter(script))
        write(command, chunks, hear=hear)


def server_major(server: Server, dbname: str) -> int:
    """The server's major version. Raises Unavailable, ConfigError."""
    return _prepared(server, dbname)[0]


def _prepared(server: Server, dbname: str) -> tuple[int, Server]:
    """Its major version, and the server with the settings to load under. Raises Unavailable, ConfigError."""
    with contextlib.closing(connect(server, dbname)) as connection, translated(server):
        major = connection.info.server_version // 10_000
        superuser = connection.info.parameter_status("is_superuser") == "on"
    return major, server.with_settings(f"{FASTER} {ENGLISH}" if superuser else FASTER)


def _command(tools: Tools, program: str, arguments: Iterable[str], server: Server, dbname: str) -> Command:
    return Command(
        tools=tools,
        program=program,
        arguments=tuple(arguments),
        server=server,
        dbname=dbname,
    )


def _peek(dump: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The archive's first bytes, and all of it."""
    chunks = iter(dump)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) > len(MAGIC) + 2:
            break
    return head, itertools.chain([head], chunks)


def _oldest_reader(head: bytes) -> int:
    """The oldest tools that read this archive; any will do to say what is wrong with something else."""
    if not head.startswith(MAGIC) or len(head) < len(MAGIC) + 2:
        return 0
    minor = head[len(MAGIC) + 1]
    return WRITTEN_BY.get(minor, 0 if minor < min(WRITTEN_BY) else max(WRITTEN_BY.values()))


def without_refused_line(script: Iterator[bytes]) -> Iterator[bytes]:
    """The line stands among the settings at the script's beginning; what comes later is data, and stays as it is."""
    head = b""
    for chunk in script:
        head += chunk
        if AFTER_SETTINGS in head or len(head) > LONGEST_SETTINGS:
            break
    yield head.replace(REFUSED_LINE, b"", 1)
    yield from script
