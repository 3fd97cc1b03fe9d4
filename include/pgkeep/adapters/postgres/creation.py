"""A new database of a given nature, under a temporary name, with the roles that it needs."""

import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import Iterator

import psycopg
from psycopg import sql

from pgkeep.errors import ConfigError, PgkeepError
from pgkeep.inventory import Inventory, Properties

from . import occupancy
from .gate import Session, connect, quoted, translated
from .server import Server

log = logging.getLogger(__name__)

LONGEST_NAME = 63
"""Bytes of an identifier."""
MARK = "pgkeep: a restore that has not come to its end; may be dropped when none runs"
MAINTENANCE = ("postgres", "template1")
SETTINGS = {
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "lock_timeout": "30s",
}
SINCE_14 = {"idle_session_timeout": "0"}
NATURE = (
    psycopg.errors.WrongObjectType,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.InvalidObjectDefinition,
    psycopg.errors.UndefinedObject,
)
"""What a server answers that does not know a locale, an encoding or a provider."""


def maintenance(server: Server, *, beside: str) -> Session:
    """A connection to a database of the server other than `beside`, from where databases are made and renamed.

    Raises ConfigError, Unavailable.
    """
    first: ConfigError | None = None
    for dbname in MAINTENANCE:
        if dbname != beside:
            try:
                with translated(server):
                    return _prepared(connect(server, dbname))
            except ConfigError as error:
                first = first or error
    assert first is not None
    raise first


def require_able(admin: Session, server: Server, inventory: Inventory) -> None:
    """Raises ConfigError: the server is older than the source's, or the role may not create databases."""
    ours, theirs = admin.info.server_version // 10_000, inventory.server_version // 10_000
    if ours < theirs:
        raise ConfigError(
            f"{server.label} is PostgreSQL {ours}, and the backup was made of {theirs}",
            next_step=f"restore into PostgreSQL {theirs} or newer",
        )
    with translated(server):
        able = admin.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if able != (True,):
        role = quoted(admin.info.user)
        raise ConfigError(
            f"role {admin.info.user} may not create databases at {server.label}",
            next_step=f"as a superuser: ALTER ROLE {role} CREATEDB;",
        )


def missing_roles(admin: Session, server: Server, roles: tuple[str, ...]) -> list[str]:
    """Those that the server does not have. Raises ConfigError: there are some, and we may not create them."""
    with translated(server):
        there = {str(name) for (name,) in admin.execute("SELECT rolname FROM pg_roles")}
        row = admin.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    missing = [role for role in roles if role not in there]
    if missing and row and not row[0]:
        raise ConfigError(
            f"{server.label} does not have the roles {', '.join(missing)}, and {admin.info.user} may not create them",
            next_step="as a superuser: " + " ".join(f"CREATE ROLE {quoted(role)};" for role in missing),
        )
    return missing


def make_missing_roles(admin: Session, server: Server, roles: tuple[str, ...]) -> Iterator[str]:
    """Creates, without login, those roles that the server does not have, and yields each when it is there.

    Raises ConfigError if we may not.
    """
    missing = missing_roles(admin, server, roles)
    with translated(server):
        row = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    for role in missing:
        with translated(server):
            _make_role(admin, role, join=not (row and row[0]))
        log.warning("role %s was missing: created without login. Its password and rights: see the globals part", role)
        yield role


def create(admin: Session, server: Server, dbname: str, properties: Properties) -> str:
    """Makes the database and returns its temporary name, which is locked as long as `admin` is open.

    Raises ConfigError (the server does not know that locale, encoding or provider), Unavailable.
    """
    name = f"{shortened(dbname, room=20)}_pgkeep_{secrets.token_hex(6)}"
    try:
        with translated(server):
            admin.execute("SELECT pg_advisory_lock(%s)", [_key(name)])
            admin.execute(_create_statement(admin, name, properties))
    except NATURE as error:
        raise ConfigError(
            f"{server.label} cannot make a database with encoding {properties.encoding}, {properties.provider} locale "
            f"{properties.locale or properties.collate}: {error.diag.message_primary}",
            next_step="give that server the locale (Debian, Ubuntu: dpkg-reconfigure locales; then restart it)",
        ) from error
    return name


def mark(admin: Session, server: Server, name: str, *, owner: str) -> None:
    """Says in the new database's comment what it is, and gives it to its owner. Raises ConfigError, Unavailable.

    To the owner now, and not at the end: who is no superuser may give what is in schema `public` only to roles that
    may create there, and that is the database's owner.
    """
    try:
        with translated(server):
            admin.execute(f"COMMENT ON DATABASE {quoted(name)} IS '{MARK}'")
            admin.execute(f"ALTER DATABASE {quoted(name)} OWNER TO {quoted(owner)}")
    except psycopg.errors.UndefinedObject as error:
        raise ConfigError(f"{server.label} has no role {owner}", next_step="create it, then run it again") from error


def is_finished(admin: Session, server: Server, identity: str) -> bool:
    """Whether the database of that OID stands there, and not as what a restore has not brought to its end yet."""
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE oid::text = %s"
    with translated(server):
        return admin.execute(comment, [identity]).fetchone() not in (None, (MARK,))


def sweep(admin: Session, server: Server, dbname: str) -> None:
    """Drops what interrupted restores of `dbname` left: a temporary name, our mark, and nobody who holds its lock.

    Who is killed before the mark leaves an empty database of such a name.
    """
    pattern = re.compile(re.escape(shortened(dbname, room=20)) + "_pgkeep_[0-9a-f]{12}")
    with translated(server):
        rows = admin.execute("SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database").fetchall()
    for name, comment in rows:
        if pattern.fullmatch(str(name)) and comment in (MARK, None):
            _sweep(admin, server, str(name), marked=comment == MARK)


def drop(server: Server, name: str, *, beside: str) -> bool:
    """Drops a database of ours. If that fails, says so and returns False: it must not hide why we are here."""
    return _undo(server, f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)", beside=beside)


def drop_role(server: Server, role: str, *, beside: str) -> bool:
    """As `drop`, for a role that we have made. PostgreSQL keeps it if anything has come to need it meanwhile."""
    return _undo(server, f"DROP ROLE IF EXISTS {quoted(role)}", beside=beside)


def shortened(name: str, *, room: int) -> str:
    """The beginning of a name that leaves `room` bytes for what is appended to it."""
    return name.encode()[: LONGEST_NAME - room].decode(errors="ignore")


def _undo(server: Server, statement: str, *, beside: str) -> bool:
    try:
        with contextlib.closing(maintenance(server, beside=beside)) as admin, translated(server):
            admin.execute(statement)
    except (PgkeepError, psycopg.Error) as error:
        log.warning("not done at %s: %s; (%s)", server.label, statement, str(error).splitlines()[0])
        return False
    return True


def _prepared(connection: Session) -> Session:
    """Patient with our own long silence while a dump is loaded, but not with others' locks."""
    settings = {**SETTINGS, **(SINCE_14 if connection.info.server_version >= 140_000 else {})}
    connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in settings.items()))
    return connection


def _create_statement(admin: Session, name: str, properties: Properties) -> str:
    options = {
        "TEMPLATE": "template0",
        "ENCODING": properties.encoding,
        "LC_COLLATE": properties.collate,
        "LC_CTYPE": properties.ctype,
    }
    if admin.info.server_version >= 150_000:  # before that, there is libc only
        options["LOCALE_PROVIDER"] = properties.provider
    if properties.locale is not None:
        options["BUILTIN_LOCALE" if properties.provider == "builtin" else "ICU_LOCALE"] = properties.locale
    text = " ".join(f"{key} = {sql.Literal(value).as_string(admin)}" for key, value in options.items())
    # Superusers come in all the same; nobody else does before the database has its real name.
    limit = " CONNECTION LIMIT 0" if admin.info.parameter_status("is_superuser") == "on" else ""
    return f"CREATE DATABASE {quoted(name)} {text}{limit}"


def _make_role(admin: Session, role: str, *, join: bool) -> None:
    """`join`: who is no superuser must belong to a role to give it anything."""
    with contextlib.suppress(psycopg.errors.DuplicateObject):
        admin.execute(f"CREATE ROLE {quoted(role)} NOLOGIN")
    if join:
        admin.execute(f"GRANT {quoted(role)} TO CURRENT_USER")


def _sweep(admin: Session, server: Server, name: str, *, marked: bool) -> None:
    with translated(server):
        if admin.execute("SELECT pg_try_advisory_lock(%s)", [_key(name)]).fetchone() != (True,):
            log.info("%s belongs to a restore that is under way", name)
            return
        try:
            if marked or _is_empty(admin, server, name):
                admin.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
                log.warning("dropped %s, which an interrupted restore had left", name)
        except psycopg.errors.InsufficientPrivilege:
            log.warning("%s was left by an interrupted restore; its owner may drop it", name)
        finally:
            admin.execute("SELECT pg_advisory_unlock(%s)", [_key(name)])


def _is_empty(admin: Session, server: Server, name: str) -> bool:
    with contextlib.suppress(PgkeepError):
        found = occupancy.look_into(admin, server, name)
        return found.stands and not found.objects
    return False


def _key(name: str) -> int:
    """The advisory lock that says: somebody is restoring into that database."""
    digest = hashlib.sha256(b"pgkeep restore\0" + name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
