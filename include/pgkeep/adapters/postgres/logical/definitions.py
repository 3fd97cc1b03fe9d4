"""What defines each object of a database, and which objects the DDL of a window explains.

A definition is a short digest, by a key: the catalog's oid, the object's, and perhaps a part, as in `1259/16385/acl`.
`acl` are rights: GRANT does not say on what it gave them. `with` are a table's indexes and extended statistics: who
drops one is not told whose it was. `partition` is a table as long as it is one: DETACH names only the other. A digest
(32 bits: journals carry them) says nothing but whether anything changed.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from postgast import pg_query_pb2 as pg

from pgkeep.adapters.postgres.ddl import DdlEvent
from pgkeep.adapters.postgres.ddl.event import DROP
from pgkeep.adapters.postgres.ddl.text import messages, split
from pgkeep.adapters.postgres.gate import Session

Key = tuple[int, int]
RIGHTS = frozenset({"GRANT", "REVOKE", "ALTER DEFAULT PRIVILEGES"})
PARTS = frozenset({"index", "statistics object"})
DROPS_OF_PARTS = frozenset({"DROP INDEX", "DROP STATISTICS"})

# Objects that are no more than a part of another.
BELONGING = """
    SELECT 'pg_class'::regclass, indexrelid, 'pg_class'::regclass, indrelid FROM pg_index
    UNION ALL SELECT 'pg_class'::regclass, oid, 'pg_type'::regclass, reltype FROM pg_class WHERE relkind = 'c'
    UNION ALL SELECT 'pg_constraint'::regclass, oid, 'pg_class'::regclass, conrelid FROM pg_constraint
        WHERE conrelid <> 0
    UNION ALL SELECT 'pg_constraint'::regclass, oid, 'pg_type'::regclass, contypid FROM pg_constraint
        WHERE contypid <> 0
    UNION ALL SELECT 'pg_trigger'::regclass, oid, 'pg_class'::regclass, tgrelid FROM pg_trigger
    UNION ALL SELECT 'pg_rewrite'::regclass, oid, 'pg_class'::regclass, ev_class FROM pg_rewrite
    UNION ALL SELECT 'pg_policy'::regclass, oid, 'pg_class'::regclass, polrelid FROM pg_policy
    UNION ALL SELECT 'pg_attrdef'::regclass, oid, 'pg_class'::regclass, adrelid FROM pg_attrdef
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, 'pg_class'::regclass, stxrelid FROM pg_statistic_ext
    UNION ALL SELECT 'pg_opclass'::regclass, oid, 'pg_opfamily'::regclass, opcfamily FROM pg_opclass
    UNION ALL SELECT 'pg_publication_rel'::regclass, oid, 'pg_publication'::regclass, prpubid FROM pg_publication_rel
"""
# Objects that change along with another.
FOLLOWING = """
    SELECT 'pg_class'::regclass, inhparent, 'pg_class'::regclass, inhrelid FROM pg_inherits
    UNION ALL SELECT 'pg_class'::regclass, refobjid, 'pg_class'::regclass, objid FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    UNION ALL SELECT refclassid, refobjid, classid, objid FROM pg_depend
        WHERE refclassid = 'pg_type'::regclass AND deptype = 'i' AND objid >= 16384
    UNION ALL SELECT 'pg_type'::regclass, reloftype, 'pg_class'::regclass, oid FROM pg_class WHERE reloftype <> 0
"""
OTHERS = {
    "pg_am": "",
    "pg_cast": "",
    "pg_collation": "collversion",
    "pg_conversion": "",
    "pg_extension": "",
    "pg_foreign_data_wrapper": "fdwacl",
    "pg_foreign_server": "srvacl",
    "pg_language": "lanacl",
    "pg_opclass": "",
    "pg_operator": "oprcom,oprnegate",
    "pg_opfamily": "",
    "pg_transform": "",
    "pg_ts_config": "",
    "pg_ts_dict": "",
    "pg_ts_parser": "",
    "pg_ts_template": "",
}
"""Catalogs whose rows are said as they are, but for columns that say rights, or what another object changes."""
OTHER = """
    UNION ALL
    SELECT '{name}'::regclass, oid, '', to_jsonb(o) - 'oid' - string_to_array('{without}', ',') FROM {name} o
    WHERE oid >= 16384
"""
CONCERNED = f"""
    WITH RECURSIVE edge (class, id, to_class, to_id) AS ({BELONGING} UNION ALL {FOLLOWING}), reached (class, id) AS (
        SELECT * FROM unnest(%s::oid[], %s::oid[])
        UNION SELECT e.to_class, e.to_id FROM reached r JOIN edge e ON e.class = r.class AND e.id = r.id)
    SELECT class::int8, id::int8 FROM reached
"""  # noqa: S608
NAMED = "SELECT pg_describe_object(%s::oid, %s::oid, 0)"


@dataclass(kw_only=True)
class Told:
    """What the DDL of a window says that it did. `rights`: whether it was about any;
    `parts`: whether it dropped an index or a statistics object; `detached`: whether a partition."""

    objects: set[Key] = field(default_factory=set)
    rights: bool = False
    parts: bool = False
    detached: bool = False

    def note(self, event: DdlEvent) -> None:
        """Takes down the objects of one event."""
        self.rights = self.rights or event.tag in RIGHTS
        self.parts = self.parts or event.tag in DROPS_OF_PARTS
        self.detached = self.detached or _detaches(event)
        for each in event.objects:
            self.objects |= {address for address in (each.address, each.table) if address}
            self.parts = self.parts or (event.event == DROP and each.original and each.kind in PARTS)


def _detaches(event: DdlEvent) -> bool:
    """Whether it may detach a partition."""
    if event.tag != "ALTER TABLE" or event.nested:
        return False
    parts = itertools.chain.from_iterable(messages(statement.node) for statement in split(event.query))
    return any(isinstance(part, pg.AlterTableCmd) and part.subtype == pg.AT_DetachPartition for part in parts)


def definitions(connection: Session) -> dict[str, str]:
    """Each object's definition, as the session's snapshot sees it. Raises psycopg.Error."""
    others = "".join(OTHER.format(name=name, without=without) for name, without in OTHERS.items())
    query = files(__package__).joinpath("definitions.sql").read_text(encoding="utf-8")
    found = connection.execute(query.replace("{belonging}", BELONGING).replace("{others}", others))
    return {str(key): str(digest) for key, digest in found}


def untold(connection: Session, *, now: Mapping[str, str], then: Mapping[str, str], told: Told) -> str | None:
    """An object that is another than then, though no statement told of it, in words. Raises psycopg.Error."""
    changed = {key for key in now.keys() | then.keys() if now.get(key) != then.get(key)}
    explained = _concerned(connection, told.objects)
    gone = {_address(key) for key in changed - now.keys() if key.endswith("/partition")}
    detached = gone if told.detached else set[Key]()
    strange = sorted(key for key in changed if _address(key) not in explained | detached and not _by_part(key, told))
    if not strange:
        return None
    class_, id_ = _address(strange[0])
    row = connection.execute(NAMED, [class_, id_]).fetchone() if id_ else None
    return str(row[0] or "an object that is gone") if row else "what may be done to the system's own objects"


def _by_part(key: str, told: Told) -> bool:
    return (told.rights and key.endswith("/acl")) or (told.parts and key.endswith("/with"))


def _concerned(connection: Session, objects: set[Key]) -> set[Key]:
    """These objects, those that they are part of, and those that change along with them."""
    classes, ids = zip(*objects, strict=True) if objects else ((), ())
    return {(int(str(c)), int(str(i))) for c, i in connection.execute(CONCERNED, [list(classes), list(ids)])}


def _address(key: str) -> Key:
    class_, id_, *_ = key.split("/")
    return int(class_), int(id_)
