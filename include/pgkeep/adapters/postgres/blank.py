"""A new database that is made by somebody's scripts."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from pgkeep.ancestry import Failures
from pgkeep.inventory import Inventory, LargeObjects, Properties
from pgkeep.model import Cut, now
from pgkeep.ports import Refused

from . import creation, loading, occupancy
from .complaints import Complaints, of_pg_restore, of_psql
from .gate import Session, connect, translated
from .properties import read_properties
from .running import ToolFailedError
from .server import Server

ELSEWHERE = re.compile(rb"^\\c(onnect)?\s", re.MULTILINE)
"""How `pg_dump --create` leaves for the database that it has made. In COPY, no line of data begins so."""
BEGINNING = 1 << 16


class Beside(Protocol):
    """What a new database beside the target knows of itself."""

    def require_server(self, failure: ToolFailedError) -> None:
        """Raises Unavailable if it was the server, or a signal, that ended the program."""

    def take_place(self, *, replace: bool) -> str | None: ...


@dataclass(kw_only=True)
class PostgresBlank:
    """The port Blank. `name`: the temporary name of the database."""

    fresh: Beside
    server: Server
    name: str
    bin_dir: Path | None = None

    def load(self, archive: Iterable[bytes], *, keep_going: bool) -> Failures:
        """As the port says: pg_restore, and --exit-on-error unless `keep_going`. Raises Refused, Unavailable."""
        heard = Complaints(of_pg_restore)
        load = partial(loading.load_all, hear=heard.hear) if keep_going else partial(loading.load, hear=heard.hear)
        try:
            load(archive, server=self.server, dbname=self.name, bin_dir=self.bin_dir)
        except ToolFailedError as failure:
            self.fresh.require_server(failure)
            if not keep_going or not heard.count:
                raise Refused("; ".join(heard.said) or str(failure)) from None
        return heard.failures

    def run(self, script: Iterable[bytes], *, keep_going: bool) -> Failures:
        """As the port says: psql -X -q, and ON_ERROR_STOP unless `keep_going`. Raises Refused, Unavailable."""
        heard = Complaints(of_psql)
        with loading.closed_at_the_end(script):
            self._run(_staying(iter(script)), heard, keep_going=keep_going)
        return heard.failures

    def take_place(self, *, replace: bool) -> str | None:
        """As in the port Fresh."""
        return self.fresh.take_place(replace=replace)

    def _run(self, script: Iterator[bytes], heard: Complaints, *, keep_going: bool) -> None:
        try:
            loading.run(
                script,
                server=self.server,
                dbname=self.name,
                keep_going=keep_going,
                hear=heard.hear,
                bin_dir=self.bin_dir,
            )
        except ToolFailedError as failure:
            self.fresh.require_server(failure)
            raise Refused("; ".join(heard.said) or str(failure)) from None  # psql may have quoted a row


def _staying(script: Iterator[bytes]) -> Iterator[bytes]:
    """The script, unless it begins by leaving for a database that may be somebody's. Raises Refused."""
    head = b""
    for chunk in script:
        head += chunk
        if len(head) >= BEGINNING:
            break
    if ELSEWHERE.search(head):
        raise Refused("it leaves for another database (\\connect: pg_dump --create wrote it)")
    yield head
    yield from script


def empty_inventory(server: Server, dbname: str) -> Inventory:
    """What a new database of that name holds: nothing. Nature, owner and rights are those of the one that stands there.

    Where none stands: the nature of the server's own database `postgres`, and it belongs to us. Raises ConfigError,
    Unavailable.
    """
    with contextlib.closing(creation.maintenance(server, beside=dbname)) as admin:
        stands = occupancy.look_into(admin, server, dbname).stands
        properties = _standing(server, dbname) if stands else _usual(admin, server)
        version = admin.info.server_version
    return Inventory(
        dbname=dbname,
        server_version=version,
        cut=Cut(snapshot="", lsn="", time=now()),
        properties=properties,
        roles=(),
        ignored=(),
        tables=(),
        sequences=(),
        large_objects=LargeObjects(count=0, fingerprint=None),
    )


def _standing(server: Server, dbname: str) -> Properties:
    with contextlib.closing(connect(server, dbname)) as connection, translated(server):
        return read_properties(connection)


def _usual(admin: Session, server: Server) -> Properties:
    with translated(server):
        found = read_properties(admin)
    return replace(found, owner=admin.info.user, comment=None, default_grants=True, grants=(), settings=())
