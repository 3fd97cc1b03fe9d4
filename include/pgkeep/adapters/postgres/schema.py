"""The definitions in a database in one digest, by which two databases on one server are compared.

What pg_dump writes is a sequence of pieces, each under a heading of its own. Two databases that are defined alike give
the same pieces; their order may differ where nothing else decides it than when an object was made.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from pgkeep.model import Digest

from .loading import server_major
from .programs import find_tools
from .running import Command, read
from .server import Server

HEADING = re.compile(rb"^--\n(?=-- (?:Name: |PostgreSQL database dump))", re.MULTILINE)
# Newer minor versions guard the script with a word that is drawn anew each time; and a setting stands once, before the
# first piece that needs it.
BETWEEN = re.compile(rb"^(?:\\(?:un)?restrict .*|SET default_table_access_method = .*;)\n", re.MULTILINE)
# The table spaces of the source are not restored. pg_dump's own version is the same for both.
ARGUMENTS = ("--schema-only", "--no-tablespaces")


def digest_of(server: Server, dbname: str, *, bin_dir: Path | None = None) -> Digest:
    """What is defined in that database. Raises ToolFailedError, Unavailable; ConfigError: no fitting pg_dump here."""
    tools = find_tools(server_major(server, dbname), directory=bin_dir)
    return digest(read(Command(tools=tools, program="pg_dump", arguments=ARGUMENTS, server=server, dbname=dbname)))


def digest(script: Iterable[bytes]) -> Digest:
    """The digest of a `pg_dump --schema-only`, whatever the order of its pieces."""
    found = hashlib.sha256()
    for piece in sorted(HEADING.split(BETWEEN.sub(b"", b"".join(script)))):
        found.update(hashlib.sha256(piece.rstrip()).digest())
    return Digest(found.hexdigest())
