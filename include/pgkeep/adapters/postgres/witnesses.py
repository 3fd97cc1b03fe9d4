"""What neither a slot nor a log shows, seen from the outside at each cut: a witness has another value when something
changed.

None of them says what changed. A change that nothing explains which was collected means that the window cannot be
carried exactly. They need no rights but those of a dump.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from pgkeep import records
from pgkeep.inventory import SequenceState, TableName
from pgkeep.model import Digest, Witnesses

from .dumping import pg_dump
from .gate import quoted, translated
from .moment import Moment
from .programs import Tools
from .properties import read_properties
from .relations import OURS
from .source import PostgresSnapshot

# The catalogs that pg_dump reads. Each row's place and writer change with the row.
CATALOGS = (
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_cast",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_index",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_rel",
    "pg_range",
    "pg_rewrite",
    "pg_seclabel",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
)
ROWS = """
    SELECT count(*)::numeric AS n,
           coalesce(sum(hashtextextended(tableoid || '/' || ctid || '/' || xmin, 0)::numeric), 0) AS s FROM {catalog}
"""
# pg_class changes with every VACUUM: only what a dump depends on. Temporary tables come and go.
CLASSES = """
    SELECT count(*)::numeric AS n, coalesce(sum(hashtextextended(concat_ws('/', oid, relname, relnamespace, reltype,
        reloftype, relowner, relam, relkind, relpersistence, relnatts, relchecks, relhasrules, relrowsecurity,
        relforcerowsecurity, relreplident, relispartition, reltablespace, relacl, reloptions,
        pg_get_expr(relpartbound, oid)), 0)::numeric), 0) AS s
    FROM pg_class WHERE relpersistence <> 't'
"""
TRIGGERS = """
    SELECT coalesce(string_agg(oid || '/' || xmin, ' ' ORDER BY oid), '') || ' ' || coalesce((
        SELECT oid || '/' || xmin FROM pg_publication WHERE pubname = 'pgkeep'), '')
    FROM pg_event_trigger WHERE evtname LIKE 'pgkeep%'
"""
# A page keeps its writer as long as it is not written again.
LARGE_OBJECTS = """
    SELECT (SELECT count(*) || ':' || coalesce(sum(hashtextextended(oid || '/' || xmin, 0)::numeric), 0)
            FROM pg_largeobject_metadata) || ' ' || {pages}
"""
PAGES = """
    (SELECT count(*) || ':' || coalesce(sum(hashtextextended(loid || '/' || pageno || '/' || xmin, 0)::numeric), 0)
     FROM pg_largeobject)
"""
TABLE = """
    SELECT count(*) || ':' || coalesce(sum(hashtextextended(ctid || '/' || xmin, 0)::numeric), 0) FROM ONLY {table}
"""
NEVER_SHOWN = {
    "large_objects": "large objects were changed, which only full backups carry",
    "ignored": "other tables are ignored now than before",
    "globals": "roles, their rights or table spaces were changed, which full backups carry",
}
"""Witnesses, and what it means that one has changed."""
OUR_PUBLICATION = (b" PUBLICATION pgkeep ", b" PUBLICATION pgkeep;")
UNREAD = "unread"
"""In place of the pages, where the role may not look into them."""
LOCK_WAIT = 30.0
"""Seconds."""
RESTRICTED = (b"\\restrict ", b"\\unrestrict ")


def look(
    snapshot: PostgresSnapshot,
    *,
    then: Witnesses | None,
    sequences: Iterable[SequenceState],
) -> Witnesses:
    """All of them at the snapshot's cut; `then`: at the cut before. Raises Unavailable, ToolFailedError."""
    moment = snapshot.moment
    seen = catalogs(moment)
    same = then if then is not None and then.catalogs == seen else None
    return Witnesses(
        catalogs=seen,
        schema=same.schema if same else schema(moment, snapshot.tools),
        properties=properties(moment),
        globals=globals_of(snapshot.globals()),
        large_objects=large_objects(moment),
        sequences=_digest(records.to_bytes(state) for state in sequences),
        ignored=tuple(sorted(table.text for table in snapshot.ignored.tables)),
    )


def never_shown(now: Witnesses, then: Witnesses) -> str | None:
    """What has changed that no way of collecting changes shows, or None."""
    if now.large_objects.endswith(UNREAD) and not now.large_objects.startswith("0:"):
        return "there are large objects, and the role may not see whether they were changed (pg_read_all_data may)"
    for witness, reason in NEVER_SHOWN.items():
        if getattr(now, witness) != getattr(then, witness):
            return reason
    return None


def catalogs(moment: Moment) -> str:
    """Whether anything in the catalogs changed: quick, and now and then a false alarm. Raises Unavailable."""
    union = " UNION ALL ".join([*(ROWS.format(catalog=catalog) for catalog in CATALOGS), CLASSES])
    return _text(moment, f"SELECT sum(n) || ':' || sum(s) FROM ({union}) AS all_of_them")  # noqa: S608 - our own names


def triggers(moment: Moment) -> str:
    """Whether our event triggers and publication are the same, and nobody has altered them for a while."""
    return _text(moment, TRIGGERS)


def large_objects(moment: Moment) -> str:
    """Whether any large object was written; `0:0 unread` or like it where the role may not look into them."""
    may = _text(moment, "SELECT has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')::text")
    return _text(moment, LARGE_OBJECTS.format(pages=PAGES if may == "true" else f"'{UNREAD}'"))


def table(moment: Moment, table: TableName) -> str:
    """Whether any row of that table was written. Raises Unavailable, ConfigError."""
    return _text(moment, TABLE.format(table=quoted(table.schema, table.name)))


def properties(moment: Moment) -> Digest:
    """What belongs to the database itself: its settings, rights, comment."""
    with translated(moment.server):
        return _digest([records.to_bytes(read_properties(moment.connection))])


def schema(moment: Moment, tools: Tools) -> Digest:
    """The definition of everything, by `pg_dump --schema-only` under the moment's snapshot. Raises ToolFailedError."""
    arguments = ["--schema-only", "--no-tablespaces", f"--exclude-schema={OURS}"]
    return _digest(_without_ours(_lines(pg_dump(moment, tools, arguments, lock_wait=LOCK_WAIT))))


def _without_ours(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Without our publication, and the empty lines around each of its commands: which tables it lists may change."""
    ours = False
    for line in lines:
        ours = any(mark in line for mark in OUR_PUBLICATION) or (ours and line == b"\n")
        if not ours:
            yield line


def globals_of(chunks: Iterable[bytes]) -> Digest:
    """Of what `pg_dumpall --globals-only` writes."""
    return _digest(_lines(chunks))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, without the comments, and without the lines that carry a new random key each time."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from _lasting(whole)
    yield from _lasting([rest])


def _lasting(lines: Sequence[bytes]) -> Iterator[bytes]:
    return (line + b"\n" for line in lines if not line.startswith((b"--", *RESTRICTED)))


def _text(moment: Moment, query: str) -> str:
    with translated(moment.server):
        row = moment.connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def _digest(pieces: Iterable[bytes]) -> Digest:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return Digest(digest.hexdigest())
