"""What stands in a database that a restore would take the place of."""

import contextlib
from dataclasses import dataclass

from pgkeep.errors import ConfigError
from pgkeep.ports import Occupant

from .gate import Session, connect, translated
from .properties import FIRST_OF_USERS
from .server import Server

SHOWN = 5
CATALOGS = (
    "pg_extension",
    "pg_class",
    "pg_proc",
    "pg_type",
    "pg_namespace",
    "pg_largeobject_metadata",
    "pg_operator",
    "pg_collation",
    "pg_conversion",
    "pg_cast",
    "pg_language",
    "pg_event_trigger",
    "pg_publication",
    "pg_foreign_data_wrapper",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_default_acl",
    "pg_am",
)
SUBSCRIPTIONS = """
    SELECT 'pg_subscription'::regclass, s.oid FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname = current_database()
"""
LARGE_OBJECT_CLASS = "'pg_largeobject'::regclass"  # how large objects are called where objects are described
STANDS = "SELECT datallowconn FROM pg_database WHERE datname = %s"

SEEN = """
    SELECT d.oid::text, d.datallowconn,
           CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid)::int8 END,
           (SELECT count(*)::int FROM pg_stat_activity a WHERE a.datid = d.oid AND a.pid <> pg_backend_pid())
    FROM pg_database d WHERE d.datname = %s
"""
HELD = """
    SELECT count(*)::int, coalesce(sum(greatest(c.reltuples, 0)), 0)::int8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', '_pgkeep')
      AND c.relpersistence <> 't'
"""

# Of what was made after initdb: no temporary things, nothing that belongs to something else that is listed anyway.
OBJECTS = """
    SELECT o.type || ' ' || o.identity FROM ({every}) AS made (class, id),
           LATERAL pg_identify_object(made.class, made.id, 0) AS o
    WHERE coalesce(o.schema, o.name, '') !~ '^pg_(toast_)?temp_' AND coalesce(o.schema, '') <> 'pg_toast'
      AND o.identity IS DISTINCT FROM 'plpgsql'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = made.class AND d.objid = made.id AND d.deptype IN ('e', 'i', 'a'))
    ORDER BY 1 LIMIT {shown}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Whether a database stands there, and the first few things in it (its name alone if nobody may look)."""

    stands: bool
    objects: tuple[str, ...]


def look_into(admin: Session, server: Server, dbname: str) -> Occupancy:
    """Looks whether `dbname` stands there and what is in it. Raises ConfigError, Unavailable."""
    with translated(server):
        row = admin.execute(STANDS, [dbname]).fetchone()
    if row is None:
        return Occupancy(stands=False, objects=())
    if row[0] is False:
        return Occupancy(stands=True, objects=("a database that lets nobody in",))
    with contextlib.closing(connect(server, dbname)) as connection, translated(server):
        connection.execute("SET search_path = pg_catalog")
        objects = tuple(str(text) for (text,) in connection.execute(_query()))
    return Occupancy(stands=True, objects=objects)


def measured(admin: Session, server: Server, dbname: str) -> Occupant | None:
    """What stands there, roughly: its rows as the planner estimates them. Raises ConfigError, Unavailable."""
    with translated(server):
        row = admin.execute(SEEN, [dbname]).fetchone()
    if row is None:
        return None
    identity, open_to_all, size, sessions = row
    tables = rows = None
    if open_to_all and size is not None:
        with contextlib.closing(connect(server, dbname)) as connection, translated(server):
            tables, rows = connection.execute(HELD).fetchone() or (None, None)
    return Occupant(
        identity=str(identity),
        size=None if size is None else int(str(size)),
        tables=None if tables is None else int(str(tables)),
        rows=None if rows is None else int(str(rows)),
        sessions=int(str(sessions)),
    )


def identity(admin: Session, server: Server, dbname: str) -> str | None:
    """What no other database of that server has, whatever the names: its OID. Raises Unavailable."""
    with translated(server):
        row = admin.execute("SELECT oid::text FROM pg_database WHERE datname = %s", [dbname]).fetchone()
    return None if row is None else str(row[0])


def system(admin: Session, server: Server) -> str:
    """Which server that is. Raises ConfigError, Unavailable."""
    with translated(server):
        row = admin.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    assert row is not None
    return str(row[0])


def require_free(admin: Session, server: Server, dbname: str, *, replace: bool) -> Occupancy:
    """Raises ConfigError if there is anything in the database and `replace` is not said."""
    if dbname in ("template0", "template1"):
        raise ConfigError(f"{dbname} is a template of other databases", next_step="restore under another name")
    if dbname == "postgres":  # what comes back may be of any owner, and everybody's tools connect to that one
        raise ConfigError(
            "postgres is the database that programs connect to when they want none in particular",
            next_step="restore under another name",
        )
    found = look_into(admin, server, dbname)
    if found.objects and not replace:
        raise ConfigError(
            f"{server.label}/{dbname} is not empty ({', '.join(found.objects)}, ...)",
            next_step="restore under another name; or with `replace`, which moves aside what is there, and keeps it",
        )
    return found


def _query() -> str:
    every = " UNION ALL ".join(
        f"SELECT {_class(catalog)}, oid FROM {catalog} WHERE oid >= {FIRST_OF_USERS}"  # noqa: S608
        for catalog in CATALOGS
    )
    every += f" UNION ALL {SUBSCRIPTIONS}"
    return OBJECTS.format(every=every, shown=SHOWN)


def _class(catalog: str) -> str:
    return LARGE_OBJECT_CLASS if catalog == "pg_largeobject_metadata" else f"'{catalog}'::regclass"
