"""What a database holds at a moment, in a nutshell, and whether another one holds the same."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg

from fix_postgres import Database, literal
from pgkeep.adapters.postgres.programs import find_tools
from pgkeep.adapters.postgres.running import Command, read
from pgkeep.inventory import Inventory, Update
from pgkeep.model import Backup

Session = psycopg.Connection[tuple[object, ...]]

RELATIONS = """
    SELECT c.oid::int8, format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('public', 'other') ORDER BY 2
"""
ROWS = """
    SELECT {name}, count(*) || ':' || coalesce(sum(hashtextextended((x.*)::text, 0)::numeric), 0) FROM ONLY {table} AS x
"""
# A replica identity whose index was dropped is in no dump.
SHAPE = """
    SELECT concat_ws(' ', c.oid::regclass, c.relpersistence, CASE WHEN c.relreplident <> 'i' OR EXISTS (
        SELECT FROM pg_index WHERE indrelid = c.oid AND indisreplident) THEN c.relreplident ELSE 'd' END)
    FROM pg_class c
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text IN ('public', 'other')
    UNION ALL SELECT concat_ws(' ', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        a.attgenerated, a.attidentity, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v')
        AND c.relnamespace::regnamespace::text IN ('public', 'other')
    UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace::regnamespace::text IN ('public', 'other')
    UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    WHERE indisvalid AND c.relnamespace::regnamespace::text IN ('public', 'other') ORDER BY 1
"""
SEQUENCES = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND n.nspname <> '_pgkeep' ORDER BY 1
"""
OURS = re.compile(r"(?s)\n--\n-- Name: pgkeep[^\n]*; Type: (EVENT TRIGGER|PUBLICATION).*?(?=\n--\n-- |\Z)")


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a database holds at a moment: by table its rows in a nutshell, and its oid; `shape`: columns and keys."""

    rows: Mapping[str, str]
    oids: Mapping[str, int]
    shape: tuple[str, ...]

    def without(self, names: set[str]) -> Mapping[str, str]:
        return {name: rows for name, rows in self.rows.items() if name not in names}


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A window as it was collected.

    `moments`: by transaction, in order of commit, None where somebody stood in the way; `end`: at its cut.
    """

    start: Content
    moments: tuple[tuple[int, Content | None], ...]
    end: Content
    sequences: Mapping[str, object]
    schema: str
    changes: bytes
    update: Update
    backup: Backup

    def stale(self) -> set[int]:
        """The oids of the tables that are carried whole."""
        assert self.backup.link
        seen = [self.start, *(content for _, content in self.moments), self.end]
        stale = set(self.backup.link.stale)
        return {oid for content in seen if content for name, oid in content.oids.items() if name in stale}


@dataclass(kw_only=True)
class Chain:
    """A full backup, and the windows after it."""

    base: Inventory
    dump: bytes
    start: Content
    stretches: list[Stretch] = field(default_factory=list)


def content(session: Session) -> Content:
    session.execute("SET search_path = pg_catalog")
    found = session.execute(RELATIONS).fetchall()
    each = " UNION ALL ".join(ROWS.format(name=literal(str(name)), table=name) for _, name in found)
    rows = {str(name): str(digest) for name, digest in session.execute(each.encode())} if found else {}
    shape = tuple(str(line) for (line,) in session.execute(SHAPE))
    return Content(rows=rows, oids={str(name): int(str(oid)) for oid, name in found}, shape=shape)


def sequences(session: Session) -> Mapping[str, object]:
    names = [str(name) for (name,) in session.execute(SEQUENCES)]
    return {name: session.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone() for name in names}


def schema(database: Database) -> str:
    arguments = ["--schema-only", "--exclude-schema=_pgkeep", "--no-publications"]
    with database.session() as session:
        tools = find_tools(session.info.server_version // 10_000)
    command = Command(tools=tools, program="pg_dump", arguments=arguments, server=database.server, dbname=database.name)
    lines = OURS.sub("", b"".join(read(command)).decode()).splitlines()
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict", "-- Dumped")))


def same(found: Mapping[str, str], wanted: Mapping[str, str], *, where: str = "at the cut") -> None:
    different = {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)}
    assert not different, f"{where}: " + ", ".join(
        f"{n}: {found.get(n)}, not {wanted.get(n)}" for n in sorted(different)
    )


def alike(found: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    missing, new = {*wanted} - {*found}, {*found} - {*wanted}
    assert not missing, sorted(missing)
    assert not new, sorted(new)
