"""The port Target: a database is made anew beside the one it may replace."""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg

from pgkeep.errors import LISTED, NotRestorable, PgkeepError, Unavailable
from pgkeep.inventory import Inventory, SequenceState
from pgkeep.model import Digest
from pgkeep.ports import Occupant, Refused

from . import creation, loading, occupancy, schema, takeover
from .applying import Silenced, refresh, silence, wake
from .blank import PostgresBlank, empty_inventory
from .gate import Session, connect, quoted, translated
from .installation import remove
from .measure import take_inventory
from .moment import find_ignored, open_moment
from .programs import find_tools
from .running import ToolFailedError
from .server import Server

log = logging.getLogger(__name__)


class PostgresTarget:
    """A database name on a PostgreSQL server >= 13. `bin_dir`: where pg_restore is, else it is looked for."""

    def __init__(self, *, server: Server, dbname: str, bin_dir: Path | None = None) -> None:
        self.server = server
        self.dbname = dbname
        self._bin_dir = bin_dir

    @property
    def label(self) -> str:
        """`host:port/database`, without a password."""
        return f"{self.server.label}/{self.dbname}"

    def system(self) -> str:
        """The server's own identifier; a standby has the same. Raises Unavailable, ConfigError."""
        with contextlib.closing(creation.maintenance(self.server, beside=self.dbname)) as admin:
            return occupancy.system(admin, self.server)

    def require_free(self, *, replace: bool) -> None:
        """Raises ConfigError if there is anything in the database and `replace` is not said; Unavailable."""
        with contextlib.closing(creation.maintenance(self.server, beside=self.dbname)) as admin:
            occupancy.require_free(admin, self.server, self.dbname, replace=replace)

    def require_able(self, inventory: Inventory) -> None:
        """Raises ConfigError: what `fresh` needs is not there (a newer server, rights, client programs); Unavailable.

        Whether the server knows the locale shows only when a database is made.
        """
        with contextlib.closing(creation.maintenance(self.server, beside=self.dbname)) as admin:
            creation.require_able(admin, self.server, inventory)
            creation.missing_roles(admin, self.server, inventory.roles)
            find_tools(admin.info.server_version // 10_000, directory=self._bin_dir)

    def occupant(self) -> Occupant | None:
        """What stands under that name now, or None. Raises Unavailable, ConfigError."""
        with contextlib.closing(creation.maintenance(self.server, beside=self.dbname)) as admin:
            return occupancy.measured(admin, self.server, self.dbname)

    def holds(self, identity: str) -> bool:
        """Whether that database, if it is not half-made, stands on the server. Raises Unavailable, ConfigError."""
        with contextlib.closing(creation.maintenance(self.server, beside=self.dbname)) as admin:
            return creation.is_finished(admin, self.server, identity)

    @contextmanager
    def fresh(self, inventory: Inventory) -> Iterator["PostgresFresh"]:
        """A new database `<name>_pgkeep_<random>`; dropped on leaving unless it took its place.

        Roles that it needs and the server lacks are made, and dropped as well unless it took its place.

        If we are killed it stays, recognisable by its name and its comment, and the next restore of the same name
        drops it; roles that were made stay then. Raises ConfigError (older server, rights, a locale that the server
        does not have), Unavailable.
        """
        server, dbname = self.server, self.dbname
        with contextlib.closing(creation.maintenance(server, beside=dbname)) as admin, ExitStack() as undo:
            creation.require_able(admin, server, inventory)
            creation.sweep(admin, server, dbname)
            for role in creation.make_missing_roles(admin, server, inventory.roles):
                undo.callback(creation.drop_role, server, role, beside=dbname)
            name = creation.create(admin, server, dbname, inventory.properties)
            undo.callback(creation.drop, server, name, beside=dbname)
            fresh = PostgresFresh(target=self, name=name, source=inventory, admin=admin)
            try:
                creation.mark(admin, server, name, owner=inventory.properties.owner)
                yield fresh
            finally:
                if fresh.placed:
                    undo.pop_all()

    @contextmanager
    def blank(self) -> Iterator[PostgresBlank]:
        """A new database of the nature of the empty one that stands there, else as `postgres` is; for scripts.

        Dropped on leaving unless it took its place, as in `fresh`. Raises ConfigError, Unavailable.
        """
        with self.fresh(empty_inventory(self.server, self.dbname)) as fresh:
            yield PostgresBlank(fresh=fresh, server=self.server, name=fresh.name, bin_dir=self._bin_dir)

    def take_inventory_of(self, name: str, like: Inventory) -> Inventory:
        """What the database `name` of this server holds, with `like`'s ignored tables. Raises as a source does."""
        with open_moment(self.server, name) as moment:
            measured = take_inventory(moment, ignored=find_ignored(moment, like.ignored))
        return replace(measured, dbname=self.dbname)

    def apply_to(self, name: str, changes: Iterable[bytes]) -> None:
        """Runs SQL in the database `name` of this server. Raises ToolFailedError, ConfigError."""
        loading.apply(changes, server=self.server, dbname=name, bin_dir=self._bin_dir)

    def schema_of(self, name: str) -> Digest:
        """What is defined in the database `name` of this server. Raises ToolFailedError, Unavailable, ConfigError."""
        return schema.digest_of(self.server, name, bin_dir=self._bin_dir)

    def load_into(self, name: str, dump: Iterable[bytes]) -> None:
        """Restores a dump into the database `name` of this server. Raises ToolFailedError, ConfigError."""
        loading.load(dump, server=self.server, dbname=name, bin_dir=self._bin_dir)


@dataclass(kw_only=True)
class PostgresFresh:
    """A database beside the target. `name`: its temporary name. `placed`: whether it has the target's name now."""

    target: PostgresTarget
    name: str
    source: Inventory
    admin: Session = field(repr=False)
    placed: bool = field(default=False, init=False)
    _applied: bool = field(default=False, init=False)
    _silenced: list[Silenced] = field(default_factory=list, init=False, repr=False)

    @property
    def identity(self) -> str:
        """Its OID, which it keeps under every name. Raises Unavailable."""
        found = occupancy.identity(self.admin, self.target.server, self.name)
        if found is None:
            raise Unavailable(f"{self.name} is gone from {self.target.server.label}", next_step="run it again")
        return found

    def load(self, dump: Iterable[bytes], *, sequences: Sequence[SequenceState] | None = None) -> None:
        """Restores a `pg_dump -Fc` stream; then the sequences stand as given, or as the source's inventory says.

        What `dump` raises comes out unchanged. Raises NotRestorable, Unavailable; ConfigError: no pg_restore for it.
        """
        try:
            self.target.load_into(self.name, dump)
        except ToolFailedError as failure:
            self.require_server(failure)
            raise NotRestorable(
                f"{failure}; nothing was replaced",
                next_step=f"mend at {self.target.server.label} what it names (a missing extension, a right: the "
                f"globals part has the roles' rights), or choose another entry: {LISTED}",
            ) from failure
        self._remove_ours()
        self._set_sequences(self.source.sequences if sequences is None else sequences)

    def apply(self, changes: Iterable[bytes]) -> None:
        """Applies the SQL of a window, without any trigger. What `changes` raises comes out unchanged.

        Raises Refused, Unavailable; ConfigError: the role may not apply changes here.
        """
        server = self.target.server
        with contextlib.closing(connect(server, self.name)) as connection, translated(server):
            self._silenced += silence(connection)
        self._applied = True
        try:
            self.target.apply_to(self.name, changes)
        except ToolFailedError as failure:
            self.require_server(failure)
            raise Refused(str(failure)) from failure

    def settle(self) -> None:
        """Triggers fire as they did, and materialised views show what is in the tables. Raises as `apply`."""
        server = self.target.server
        if self._applied:
            with contextlib.closing(connect(server, self.name)) as connection, translated(server):
                wake(connection, self._silenced)
                refresh(connection)

    def inventory(self, like: Inventory) -> Inventory:
        """What it holds now, measured as `like` was. Raises Unavailable, ConfigError, Corrupted."""
        return self.target.take_inventory_of(self.name, like)

    def schema(self) -> Digest:
        """What is defined in it, in one digest: see `schema`. Raises Unavailable, ConfigError."""
        try:
            return self.target.schema_of(self.name)
        except ToolFailedError as failure:
            self.require_server(failure)
            raise Unavailable(str(failure), next_step="nothing was replaced; run it again") from failure

    def take_place(self, *, replace: bool) -> str | None:
        """Gives it the target's name, and the source database's owner, rights, settings and comment.

        Sessions on a database that stands there are ended; it stays, whole, as `<name>_before_<UTC>`, which is
        returned; if it was empty it is dropped, if that can be done. Raises ConfigError, Unavailable; then nothing has
        changed.
        """
        server, dbname = self.target.server, self.target.dbname
        self.target.require_free(replace=replace)
        old = takeover.swap(server, fresh=self.name, dbname=dbname, properties=self.source.properties)
        self.placed = True
        return None if old is None or self._dropped_as_empty(old) else old

    def _dropped_as_empty(self, old: str) -> bool:
        """Looks again at what was replaced, now that it is out of the way. Whatever fails here, the restore is done."""
        server = self.target.server
        try:
            with contextlib.closing(creation.maintenance(server, beside=old)) as admin:
                empty = not occupancy.look_into(admin, server, old).objects
        except (PgkeepError, psycopg.Error) as error:
            log.warning("%s stays at %s: whether it is empty is not known (%s)", old, server.label, error)
            return False
        return empty and creation.drop(server, old, beside=self.target.dbname)

    def _remove_ours(self) -> None:
        """What pgkeep has installed in the source came back, too: a publication that would refuse some changes."""
        server = self.target.server
        with contextlib.closing(connect(server, self.name)) as connection, translated(server):
            remove(connection)

    def _set_sequences(self, sequences: Sequence[SequenceState]) -> None:
        """pg_dump reads sequences a moment before they are measured, and sequences know no snapshots: on a busy source
        the dump's values are the older ones. The measured ones hand out no number twice, either, and can be proven.
        """
        server = self.target.server
        values = [(quoted(s.schema, s.name), s.last_value, s.is_called) for s in sequences]
        with contextlib.closing(connect(server, self.name)) as connection, translated(server):
            connection.execute("SET search_path = pg_catalog")
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(
                    "SELECT setval(s.id, v.last_value, v.called) FROM to_regclass(%s) s (id),"
                    " (VALUES (%s::int8, %s::bool)) v (last_value, called) WHERE s.id IS NOT NULL",
                    values,
                )

    def require_server(self, failure: ToolFailedError) -> None:
        """Whether the server was lost is asked of the server, not read from a complaint. Raises Unavailable."""
        if failure.killed:
            raise Unavailable(str(failure), next_step="nothing was replaced; run it again") from failure
        with translated(self.target.server):
            self.admin.execute("SELECT 1")
