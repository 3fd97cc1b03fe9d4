"""Installs, removes, and keeps the publication's list true. Connections are in autocommit mode."""

import contextlib
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import psycopg

from pgkeep.adapters.postgres.gate import Session
from pgkeep.errors import ConfigError, Unavailable

from . import statements
from .state import Installed, find_unsettled, find_widened, look
from .statements import SCHEMA

log = logging.getLogger(__name__)

OLDEST = 130_000
TRIES, PAUSE = 40, 0.025
"""How often a table in use is tried again, and the seconds between."""
SETTLING = 1.0
"""Seconds after which no session is any more about to call a function whose event trigger is gone."""
SETTLE = f"SET LOCAL synchronous_commit = off; SELECT {SCHEMA}.settle({{:d}})"
RESOLVE = f"""
    SELECT c.oid::int8, c.relreplident IN ('d', 'n') AND c.relkind = 'r' AND NOT {SCHEMA}.fits(c.oid)
    FROM pg_class c WHERE c.oid = to_regclass(%s)
"""  # noqa: S608
WIDEN = """
    SET LOCAL search_path = pg_catalog, pg_temp;
    LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE NOWAIT;
    INSERT INTO {schema}.widened SELECT c.oid, c.relreplident FROM pg_class c WHERE c.oid = {oid:d}
        ON CONFLICT (relation) DO UPDATE SET before = excluded.before;
    ALTER TABLE ONLY {table} REPLICA IDENTITY FULL
"""
NARROW = """
    SET LOCAL search_path = pg_catalog, pg_temp;
    LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE NOWAIT;
    DELETE FROM {schema}.widened WHERE relation = {oid:d}::oid;
    ALTER TABLE ONLY {table} REPLICA IDENTITY {identity}
"""
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('pgkeep installation in ' || current_database(), 0))"
IDENTITIES = {"d": "DEFAULT", "n": "NOTHING"}
EVENT_TRIGGERS = f"""
    SELECT quote_ident(e.evtname) FROM pg_event_trigger e JOIN pg_proc f ON f.oid = e.evtfoid
    JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname = '{SCHEMA}' ORDER BY 1
"""  # noqa: S608
OTHERS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
MARKED = f"""
    SELECT n.oid IS NOT NULL, coalesce(obj_description(n.oid, 'pg_namespace') LIKE 'pgkeep %', false),
           p.oid IS NOT NULL, coalesce(obj_description(p.oid, 'pg_publication') LIKE 'pgkeep %', false),
           (SELECT r.rolname FROM pg_roles r, pg_roles me
            WHERE r.oid = n.nspowner AND me.rolname = current_user
              AND NOT r.rolsuper AND (me.rolsuper OR NOT pg_has_role(r.oid, 'USAGE')))
    FROM (VALUES (true)) AS one (row) LEFT JOIN pg_namespace n ON n.nspname = '{SCHEMA}'
    LEFT JOIN pg_publication p ON p.pubname = 'pgkeep'
"""  # noqa: S608
NAME = """
    SELECT format('%%I.%%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s
"""


def install(connection: Session, *, identity_full: Collection[str] = ()) -> Installed:
    """Makes all that is missing, as superuser, or as the owner of the tables without event triggers.

    What is whole already is left alone, so that somebody with more rights may have run `script`. A publication that
    stands in the place of ours, made by hand while all else of ours is there, is dropped. `identity_full`: the
    tables (`schema.table`) that may get REPLICA IDENTITY FULL, where they have no identity of their own. A table that
    is in use at this moment stays off the list, or as it is, until the next `synchronise` or `install`.

    Raises ConfigError (an old server; something of that name that pgkeep has not made, or a role with fewer rights; a
    table that is not there), psycopg.Error.
    """
    _require_ours(connection, or_replaced=True)
    found = look(connection)
    if not (found.complete and (found.event_triggers or not _is_superuser(connection))):
        _build(connection)
    for name in identity_full:
        _widen(connection, name)
    synchronise(connection)
    return look(connection)


def synchronise(connection: Session) -> None:
    """Puts tables on the publication's list that should be there, and takes off those that should not.

    A table that comes on the list is announced by a message `pgkeep:listed`. One that is in use at each of some tries
    within a second stays as it is: off the list it is carried, too. Raises ConfigError (as `install`), psycopg.Error.
    """
    _require_ours(connection)
    left = _tried(find_unsettled(connection), lambda oid: _settle(connection, oid))
    if left:
        log.info("%d tables are in use and stay off the publication's list for now", len(left))


def remove(connection: Session) -> None:
    """Takes away what `install` has made, and REPLICA IDENTITY FULL where pgkeep has set it; again is no error.

    Raises ConfigError (somebody has put something of his own into the schema), Unavailable (a table is in use all the
    time: the next call goes on from there), psycopg.Error.
    """
    marks = _marks(connection)
    names = [str(name) for (name,) in connection.execute(EVENT_TRIGGERS)] if marks.schema else []
    with connection.transaction():
        connection.execute(statements.preparation())
        # Together: without the triggers, a table on the list could refuse ALTER TABLE, or UPDATE.
        if marks.publication:
            connection.execute("DROP PUBLICATION pgkeep")
        for name in names:
            connection.execute(f"DROP EVENT TRIGGER {name}")
    if marks.schema:
        if names and _others(connection):
            time.sleep(SETTLING)
        _narrow_all(connection)
        _drop_schema(connection)


def _build(connection: Session) -> None:
    version = connection.info.server_version
    if version < OLDEST:
        raise ConfigError(
            f"PostgreSQL {version // 10_000} is too old to tell its changes",
            next_step="upgrade the server to PostgreSQL 13 or newer, or keep to full backups",
        )
    try:
        _make(connection, version)
    except psycopg.errors.RaiseException as error:
        raise ConfigError(
            f"the database refuses what pgkeep installs, by an event trigger of its own: {error.diag.message_primary}",
            next_step="let that trigger pass it, or keep to full backups: pgkeep init NAME --full-only",
        ) from error


def _make(connection: Session, version: int) -> None:
    with connection.transaction():
        connection.execute(ALONE)
        connection.execute(statements.preparation())
        if _marks(connection).replaced:
            log.warning("the publication pgkeep was made by hand in the place of pgkeep's own: it is made anew")
            connection.execute("DROP PUBLICATION pgkeep")
        connection.execute(statements.structure(version))
        # Who may make event triggers differs between hosts of databases: trying is the only way to know.
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(statements.event_trigger_statements())


def _require_ours(connection: Session, *, or_replaced: bool = False) -> None:
    """`or_replaced`: a publication that stands in the place of ours will do. Raises ConfigError."""
    marks = _marks(connection)
    foreign_publication = marks.foreign_publication and not (or_replaced and marks.replaced)
    foreign = ["a schema"] * marks.foreign_schema + ["a publication"] * foreign_publication
    if foreign:
        raise ConfigError(
            f"the database has {' and '.join(foreign)} of pgkeep's name that pgkeep has not made",
            next_step=f"rename it: ALTER SCHEMA {SCHEMA} RENAME TO .., ALTER PUBLICATION pgkeep RENAME TO ..",
        )
    if marks.installed_by:
        raise ConfigError(
            f"role {marks.installed_by!r} has installed pgkeep here, and has not the rights of your own role: "
            "what it has made could do anything in your name",
            next_step="connect as that role, or remove it (pgkeep remove) and install it again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marks:
    """What is there by its name. `installed_by`: the schema's owner, where he has fewer rights than this session."""

    schema: bool
    publication: bool
    foreign_schema: bool
    foreign_publication: bool
    installed_by: str | None

    @property
    def replaced(self) -> bool:
        """Whether somebody has made the publication by hand: schema and publication are installed together."""
        return self.schema and self.foreign_publication


def _marks(connection: Session) -> _Marks:
    row = connection.execute(MARKED).fetchone()
    assert row is not None
    schema, our_schema, publication, our_publication, installed_by = row
    return _Marks(
        schema=bool(our_schema),
        publication=bool(our_publication),
        foreign_schema=bool(schema and not our_schema),
        foreign_publication=bool(publication and not our_publication),
        installed_by=None if installed_by is None else str(installed_by),
    )


def _is_superuser(connection: Session) -> bool:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return row is not None and bool(row[0])


def _others(connection: Session) -> bool:
    """Whether anybody else is in this database."""
    return connection.execute(OTHERS).fetchone() != (0,)


def _tried(oids: Collection[int], act: Callable[[int], bool]) -> list[int]:
    """Those for which `act` has said no each time."""
    left = list(oids)
    for _ in range(TRIES):
        left = [oid for oid in left if not act(oid)]
        if not left:
            break
        time.sleep(PAUSE)
    return left


def _settle(connection: Session, oid: int) -> bool:
    """One transaction in one message, committed without waiting for the disk: the lock is held for an instant."""
    cursor = connection.execute(SETTLE.format(oid))
    cursor.nextset()
    row = cursor.fetchone()
    assert row is not None
    if row[0] is None:
        log.warning("the source refuses to publish %s; its log says why", _name(connection, oid))
    return row[0] is not False


def _widen(connection: Session, name: str) -> None:
    row = connection.execute(RESOLVE, [name]).fetchone()
    if row is None:
        raise ConfigError(
            f"there is no table {name!r}, which is to get REPLICA IDENTITY FULL",
            next_step="write it as in SQL (public.session), or leave it out",
        )
    oid, lacking = int(str(row[0])), bool(row[1])
    if lacking and _tried([oid], lambda oid: _alter(connection, WIDEN, oid)):
        log.warning("%s is in use: it does not get REPLICA IDENTITY FULL now", name)


def _narrow_all(connection: Session) -> None:
    widened = dict(find_widened(connection)) if look(connection).full_identity else {}
    if busy := _tried(widened, lambda oid: _alter(connection, NARROW, oid, identity=IDENTITIES[widened[oid]])):
        names = ", ".join(_name(connection, oid) or "one that is gone now" for oid in busy)
        raise Unavailable(
            f"tables with REPLICA IDENTITY FULL are in use all the time: {names}",
            next_step="run it again when there is less to do",
        )


def _alter(connection: Session, statement: str, oid: int, **values: str) -> bool:
    name = _name(connection, oid)
    if name is None:
        return True
    try:
        connection.execute(statement.format(schema=SCHEMA, table=name, oid=oid, **values))
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def _name(connection: Session, oid: int) -> str | None:
    """The table as SQL writes it, or None if it is gone."""
    row = connection.execute(NAME, [oid]).fetchone()
    return None if row is None else str(row[0])


def _drop_schema(connection: Session) -> None:
    functions = ", ".join(f"{SCHEMA}.{name}" for name in statements.bodies(connection.info.server_version))
    try:
        with connection.transaction():
            connection.execute(statements.preparation())
            connection.execute(f"DROP FUNCTION IF EXISTS {functions}")
            connection.execute(f"DROP MATERIALIZED VIEW IF EXISTS {SCHEMA}.token")
            connection.execute(f"DROP TABLE IF EXISTS {SCHEMA}.widened, {SCHEMA}.log")
            connection.execute(f"DROP SCHEMA {SCHEMA}")
    except psycopg.errors.DependentObjectsStillExist as error:
        raise ConfigError(
            f"the schema {SCHEMA} has something in it, or under it, that pgkeep has not made",
            next_step=f"move it to another schema (in psql: \\d {SCHEMA}.*), then run it again",
        ) from error
