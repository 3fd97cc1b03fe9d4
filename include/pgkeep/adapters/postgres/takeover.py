"""A restored database takes the place of another: in one transaction, so that a crash leaves the old or the new one.

ALTER DATABASE .. RENAME first locks the database, so that nobody new comes in, and then waits five seconds for those
who are in. While it waits, we end their sessions from another connection. Nothing is forbidden to anybody outside of
that transaction, so nothing must be allowed again if it fails.
"""

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from pgkeep.errors import ConfigError, Unavailable
from pgkeep.inventory import Properties, Setting

from .creation import maintenance, shortened
from .gate import Session, quoted, translated
from .server import Server

log = logging.getLogger(__name__)

LIST_SETTINGS = frozenset(
    {
        "search_path",
        "temp_tablespaces",
        "local_preload_libraries",
        "session_preload_libraries",
        "shared_preload_libraries",
        "unix_socket_directories",
    }
)
"""Settings that are kept as lists of quoted names."""
LIST_ITEM = re.compile(r'"((?:[^"]|"")*)"|([^\s,"]+)')
OTHERS = "FROM pg_stat_activity WHERE datname = ANY (%s) AND pid <> pg_backend_pid()"


def swap(server: Server, *, fresh: str, dbname: str, properties: Properties) -> str | None:
    """Gives `fresh` the name `dbname` and its properties. Returns the name under which what had it stays now.

    Raises Unavailable (sessions that cannot be ended), ConfigError (rights).
    """
    with contextlib.closing(maintenance(server, beside=dbname)) as admin:
        old = _dated_name(admin, server, dbname)
        statements = [f"ALTER DATABASE {quoted(dbname)} RENAME TO {quoted(old)}"] if old else []
        statements.append(f"ALTER DATABASE {quoted(fresh)} RENAME TO {quoted(dbname)}")
        try:
            with translated(server), admin.transaction():
                for statement in statements:
                    _alone(admin, statement, server, databases=[fresh, dbname])
                _give_properties(admin, dbname, properties)
        except Unavailable as error:
            if isinstance(error.__cause__, psycopg.errors.ObjectInUse):
                raise _in_use(admin, server, dbname) from error
            raise
    return old


def property_statements(dbname: str, properties: Properties) -> Iterator[str]:
    """What makes a database the source's one: rights, owner and comment. The owner last: then it may be not ours."""
    name = quoted(dbname)
    yield f"ALTER DATABASE {name} CONNECTION LIMIT -1"
    yield f"COMMENT ON DATABASE {name} IS {_literal(properties.comment)}"
    yield f"ALTER DATABASE {name} OWNER TO {quoted(properties.owner)}"
    if not properties.default_grants:
        yield f"REVOKE ALL ON DATABASE {name} FROM PUBLIC, {quoted(properties.owner)}"
    for grant in properties.grants if not properties.default_grants else ():
        grantee = quoted(grant.grantee) if grant.grantee else "PUBLIC"
        option = " WITH GRANT OPTION" if grant.grantable else ""
        yield f"GRANT {grant.privilege} ON DATABASE {name} TO {grantee}{option}"


def setting_statement(dbname: str, setting: Setting) -> str:
    """ALTER DATABASE .. SET, or ALTER ROLE .. IN DATABASE .. SET."""
    key, _, value = setting.value.partition("=")
    whose = f"ALTER DATABASE {quoted(dbname)}"
    if setting.role is not None:
        whose = f"ALTER ROLE {quoted(setting.role)} IN DATABASE {quoted(dbname)}"
    values = _items(value) if key.lower() in LIST_SETTINGS else [value]
    return f"{whose} SET {quoted(*key.split('.'))} TO {', '.join(map(_literal, values)) or _literal('')}"


def _alone(admin: Session, statement: str, server: Server, *, databases: Sequence[str]) -> None:
    """Runs a RENAME while everybody else is put out of the databases."""
    with contextlib.closing(maintenance(server, beside=databases[-1])) as doorman, ThreadPoolExecutor(1) as pool:
        renaming = pool.submit(admin.execute, statement)
        while not _done(renaming, seconds=0.1):
            doorman.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}", [list(databases)])
        renaming.result()


def _done(future: "Future[psycopg.Cursor[tuple[object, ...]]]", *, seconds: float) -> bool:
    return bool(wait([future], timeout=seconds).done)


def _give_properties(admin: Session, dbname: str, properties: Properties) -> None:
    for setting in properties.settings:
        try:
            with admin.transaction():
                admin.execute(setting_statement(dbname, setting))
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
            # A newer server may not know it any more: no reason to come back without a database.
            log.warning("setting %s could not be given to %s: %s", setting.value, dbname, error.diag.message_primary)
    try:
        for statement in property_statements(dbname, properties):
            admin.execute(statement)
    except psycopg.errors.UndefinedObject as error:
        raise ConfigError(
            f"{dbname} cannot be given its owner and rights: {error.diag.message_primary}",
            next_step="create that role, then run it again; nothing was replaced",
        ) from error


def _dated_name(admin: Session, server: Server, dbname: str) -> str | None:
    """`<name>_before_<UTC>` for a database of that name, None if there is none."""
    with translated(server):
        names = {str(name) for (name,) in admin.execute("SELECT datname FROM pg_database")}
    if dbname not in names:
        return None
    dated = f"{shortened(dbname, room=26)}_before_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    return next(name for name in (dated, *(f"{dated}_{i}" for i in range(2, 99))) if name not in names)


def _in_use(admin: Session, server: Server, dbname: str) -> Unavailable:
    with translated(server):
        rows = admin.execute(f"SELECT DISTINCT coalesce(usename, backend_type) {OTHERS}", [[dbname]])
        who = sorted(str(name) for (name,) in rows)
    return Unavailable(
        f"{server.label}/{dbname} stays in use by {', '.join(who) or 'prepared transactions'}; it was not replaced",
        next_step="end these sessions or prepared transactions (pg_prepared_xacts), then run it again",
    )


def _items(value: str) -> list[str]:
    return [plain or inner.replace('""', '"') for inner, plain in LIST_ITEM.findall(value)]


def _literal(value: str | None) -> str:
    return "NULL" if value is None else sql.Literal(value).as_string(None)
