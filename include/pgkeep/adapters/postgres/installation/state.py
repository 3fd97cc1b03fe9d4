"""What is installed in a database: read from its catalogs, by anybody, also under the snapshot of a cut."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pgkeep.adapters.postgres.gate import Session

from .statements import CARRIED, FITTING, SCHEMA, VERSION, bodies, event_triggers

Table = tuple[int, str, str]
"""oid, schema, name"""

MARKS = f"""
    SELECT substring(obj_description(n.oid, 'pg_namespace') FROM '^pgkeep ([0-9]{{1,9}})'),
           (SELECT obj_description(p.oid, 'pg_publication') LIKE 'pgkeep %' AND NOT p.puballtables AND NOT p.pubviaroot
                   AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate
            FROM pg_publication p WHERE p.pubname = 'pgkeep'),
           EXISTS (SELECT FROM pg_class a
                   WHERE a.relnamespace = n.oid AND a.relname = 'widened' AND a.relkind = 'r'),
           EXISTS (SELECT FROM pg_class a
                   WHERE a.relnamespace = n.oid AND a.relname = 'token' AND a.relkind = 'm'
                     AND has_table_privilege(a.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'))
    FROM (VALUES (true)) AS one (row) LEFT JOIN pg_namespace n ON n.nspname = '{SCHEMA}'
"""  # noqa: S608
FUNCTIONS = f"""
    SELECT p.proname, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = '{SCHEMA}'
"""  # noqa: S608
# ALWAYS: those of us also fire in a session that replicates into this database.
EVENT_TRIGGERS = f"""
    SELECT e.evtname, e.evtevent, coalesce(array_to_string(e.evttags, ','), ''), f.proname
    FROM pg_event_trigger e JOIN pg_proc f ON f.oid = e.evtfoid JOIN pg_namespace n ON n.oid = f.pronamespace
    WHERE n.nspname = '{SCHEMA}' AND e.evtenabled = 'A'
"""  # noqa: S608
LISTED = """
    SELECT r.prrelid::int8 FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
    WHERE p.pubname = 'pgkeep'
"""
UNLISTED = f"""
    SELECT c.oid::int8, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {CARRIED} AND c.oid <> ALL (%s::oid[]) ORDER BY 2, 3
"""  # noqa: S608
WIDENED = f"""
    SELECT c.oid::int8, w.before FROM {SCHEMA}.widened w JOIN pg_class c ON c.oid = w.relation
    WHERE c.relreplident = 'f'
"""  # noqa: S608
TOKEN = f"SELECT token FROM {SCHEMA}.token"  # noqa: S608
# What the list lacks, of tables that we may put on it; and what must leave it.
UNSETTLED = f"""
    SELECT c.oid::int8 FROM pg_publication p, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.pubname = 'pgkeep' AND pg_has_role(p.pubowner, c.relowner, 'USAGE') AND {FITTING}
      AND NOT EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
    UNION ALL
    SELECT r.prrelid::int8 FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
    WHERE p.pubname = 'pgkeep' AND NOT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = r.prrelid AND (n.nspname = '{SCHEMA}' OR {FITTING}))
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What is there of pgkeep.

    `publication`: ours is there, and publishes all that happens to what is on its list. `event_triggers`: all of them
    are there, enabled and of this version. `version`: of the installation, None without one. `listed`: the oids in the
    publication. `unlisted`: the user tables (permanent and unlogged, those of extensions only as far as pg_dump reads
    them) that are not. `full_identity`: the oids of those that have REPLICA IDENTITY FULL from pgkeep. `token`: what
    each genuine `pgkeep:ddl` message has in its field `t`; None where this role must not know it.
    """

    publication: bool
    event_triggers: bool
    version: int | None
    listed: frozenset[int]
    unlisted: tuple[Table, ...]
    full_identity: frozenset[int]
    token: str | None = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether all is there that this version installs, but for event triggers."""
        return self.publication and self.version == VERSION


def look(connection: Session) -> Installed:
    """Reads only, under the snapshot that the connection's transaction has, if there is one. Raises psycopg.Error."""
    row = connection.execute(MARKS).fetchone()
    assert row is not None
    version, publication, widened, token = row
    listed = frozenset(int(str(oid)) for (oid,) in connection.execute(LISTED)) if publication else frozenset()
    return Installed(
        publication=bool(publication),
        event_triggers=version == str(VERSION) and _is_whole(connection),
        version=None if version is None else int(str(version)),
        listed=listed,
        unlisted=tuple(_tables(connection.execute(UNLISTED, [list(listed)]).fetchall())),
        full_identity=frozenset(oid for oid, _ in find_widened(connection)) if widened else frozenset(),
        token=_token(connection) if token else None,
    )


def find_widened(connection: Session) -> list[tuple[int, str]]:
    """The tables that have REPLICA IDENTITY FULL from pgkeep, each with what it had before."""
    return [(int(str(oid)), _letter(before)) for oid, before in connection.execute(WIDENED)]


def find_unsettled(connection: Session) -> list[int]:
    """The tables that should be on the list and are not, or are and should not be."""
    return [int(str(oid)) for (oid,) in connection.execute(UNSETTLED)]


def _is_whole(connection: Session) -> bool:
    there = {(str(name), str(body)) for name, body in connection.execute(FUNCTIONS)}
    triggers = {tuple(map(str, row)) for row in connection.execute(EVENT_TRIGGERS)}
    wanted = bodies(connection.info.server_version).items()
    return there >= wanted and triggers == event_triggers()


def _token(connection: Session) -> str | None:
    row = connection.execute(TOKEN).fetchone()
    return None if row is None else str(row[0])


def _tables(rows: Sequence[Sequence[object]]) -> list[Table]:
    return [(int(str(oid)), str(schema), str(name)) for oid, schema, name in rows]


def _letter(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
