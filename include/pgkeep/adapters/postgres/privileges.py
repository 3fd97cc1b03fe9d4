"""What a role must be allowed so that a dump is whole. Asked by SQL before pg_dump runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .gate import Session, quoted
from .relations import READ_BY_PG_DUMP, RELATIONS

SHOWN = 5

_OF_UNREADABLE = f"""FROM {RELATIONS}
    WHERE c.relkind IN ('r', 'p', 'S') AND {READ_BY_PG_DUMP}
      AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
"""
UNREADABLE = f"SELECT format('%I.%I', n.nspname, c.relname) {_OF_UNREADABLE} ORDER BY 1"
SCHEMAS_OF_UNREADABLE = f"SELECT DISTINCT quote_ident(n.nspname) {_OF_UNREADABLE} ORDER BY 1"

HIDDEN_BY_POLICY = f"""
    SELECT format('%I.%I', n.nspname, c.relname) FROM {RELATIONS}
    WHERE c.relkind IN ('r', 'p') AND {READ_BY_PG_DUMP} AND row_security_active(c.oid)
    ORDER BY 1
"""  # noqa: S608 - no value of anybody's is in it

UNREADABLE_LARGE_OBJECTS = """
    SELECT m.oid::text FROM pg_largeobject_metadata m
    WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
      AND NOT pg_has_role(m.lomowner, 'USAGE')
      AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
    ORDER BY m.oid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A privilege that a whole dump needs: why, on how many objects (the first few named), and how to give it."""

    why: str
    objects: tuple[str, ...]
    count: int
    grant: str

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.objects) else ""
        return f"{self.why} ({self.count}: {', '.join(self.objects)}{more})"


def missing_privileges(connection: Session) -> tuple[Missing, ...]:
    """What the role lacks to dump the connection's database, empty if nothing. Raises psycopg.Error."""
    return tuple(_missing(connection, role=quoted(connection.info.user)))


def _missing(connection: Session, *, role: str) -> Iterator[Missing]:
    if tables := _names(connection, UNREADABLE):
        yield _lacking("it may not read tables or sequences", tables, _right_to_read(connection, role))
    if hidden := _names(connection, HIDDEN_BY_POLICY):
        yield _lacking("row security hides rows from it", hidden, f"ALTER ROLE {role} BYPASSRLS;")
    if objects := _names(connection, UNREADABLE_LARGE_OBJECTS):
        grant = f"GRANT SELECT ON LARGE OBJECT {', '.join(objects[:SHOWN])}{' ...' * (len(objects) > SHOWN)} TO {role};"
        yield _lacking("it may not read large objects", objects, f"{grant} (or connect as a superuser)")


def _right_to_read(connection: Session, role: str) -> str:
    """What lets the role read all tables; before 14, those that are there: later ones need the same again."""
    if connection.info.server_version >= 140_000:
        return f"GRANT pg_read_all_data TO {role};"
    schemas = ", ".join(_names(connection, SCHEMAS_OF_UNREADABLE))
    kinds = (f"SELECT ON ALL {kind} IN SCHEMA" for kind in ("TABLES", "SEQUENCES"))
    return " ".join(f"GRANT {right} {schemas} TO {role};" for right in ("USAGE ON SCHEMA", *kinds))


def _names(connection: Session, query: str) -> list[str]:
    return [str(name) for (name,) in connection.execute(query)]


def _lacking(why: str, objects: Sequence[str], grant: str) -> Missing:
    return Missing(why=why, objects=tuple(objects[:SHOWN]), count=len(objects), grant=grant)
