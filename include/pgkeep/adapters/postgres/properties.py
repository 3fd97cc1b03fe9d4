"""What a database is, beside what is in it: its nature, its rights and settings, the roles that it needs."""

import logging
from collections.abc import Iterator

from pgkeep.inventory import Grant, Properties, Setting

from .gate import Session

log = logging.getLogger(__name__)

PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
BOOTSTRAP = 10
"""The oid of the role that initdb made. Catalogs do not record what depends on it."""
FIRST_OF_USERS = 16384
"""Objects made after initdb have this oid or a higher one."""

DATABASE = """
    SELECT pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), {provider}, d.datcollate, d.datctype,
           {locale}, shobj_description(d.oid, 'pg_database'), d.datacl IS NULL, {rules}
    FROM pg_database d WHERE d.datname = current_database()
"""
GRANTS = """
    SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
    FROM pg_database d CROSS JOIN aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE d.datname = current_database() ORDER BY 1, 2
"""
SETTINGS = """
    SELECT r.rolname, unnest(s.setconfig) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 1 NULLS FIRST, 2
"""
# Owners, grantees, grantors, policies' roles: what is in this database, and what concerns the database itself.
ROLES = """
    SELECT DISTINCT r.rolname FROM pg_shdepend s
    JOIN pg_database d ON d.datname = current_database() JOIN pg_roles r ON r.oid = s.refobjid
    WHERE s.refclassid = 'pg_authid'::regclass
      AND (s.dbid = d.oid OR s.classid = 'pg_database'::regclass AND s.objid = d.oid)
"""
OWNERS = {
    "pg_class": "relowner",
    "pg_proc": "proowner",
    "pg_namespace": "nspowner",
    "pg_type": "typowner",
    "pg_operator": "oprowner",
    "pg_opclass": "opcowner",
    "pg_opfamily": "opfowner",
    "pg_collation": "collowner",
    "pg_conversion": "conowner",
    "pg_ts_config": "cfgowner",
    "pg_ts_dict": "dictowner",
    "pg_statistic_ext": "stxowner",
    "pg_language": "lanowner",
    "pg_foreign_data_wrapper": "fdwowner",
    "pg_foreign_server": "srvowner",
    "pg_event_trigger": "evtowner",
    "pg_publication": "pubowner",
    "pg_largeobject_metadata": "lomowner",
    "pg_default_acl": "defaclrole",
}
ACLS = {
    "pg_class": "relacl",
    "pg_proc": "proacl",
    "pg_namespace": "nspacl",
    "pg_type": "typacl",
    "pg_largeobject_metadata": "lomacl",
    "pg_default_acl": "defaclacl",
    "pg_foreign_server": "srvacl",
}


def read_properties(connection: Session) -> Properties:
    """The properties of the connection's database. Raises psycopg.Error."""
    row = connection.execute(DATABASE.format(**_columns(connection.info.server_version))).fetchone()
    assert row is not None
    owner, encoding, provider, collate, ctype, locale_name, comment, default_grants, icu_rules = row
    if icu_rules:
        log.warning("the database has ICU collation rules of its own: a restore makes it without them")
    return Properties(
        owner=str(owner),
        encoding=str(encoding),
        provider=PROVIDERS[str(provider)],
        collate=str(collate),
        ctype=str(ctype),
        locale=_text(locale_name),
        comment=_text(comment),
        default_grants=bool(default_grants),
        grants=tuple(_grants(connection)),
        settings=tuple(_settings(connection)),
    )


def read_roles(connection: Session) -> tuple[str, ...]:
    """The roles without which what is in the database cannot be restored; those of PostgreSQL itself left out."""
    names = {str(name) for (name,) in connection.execute(ROLES)}
    bootstrap = connection.execute(_bootstrap_query()).fetchone()
    if bootstrap is not None:
        names.add(str(bootstrap[0]))
    return tuple(sorted(name for name in names if not name.startswith("pg_")))


def _columns(version: int) -> dict[str, str]:
    """What a server of that version has of a database's locale; before 15, every database had libc's."""
    if version < 150_000:
        return {"provider": "'c'", "locale": "NULL", "rules": "NULL"}
    return {
        "provider": "d.datlocprovider",
        "locale": "d.datlocale" if version >= 170_000 else "d.daticulocale",
        "rules": "d.daticurules" if version >= 160_000 else "NULL",
    }


def _grants(connection: Session) -> Iterator[Grant]:
    for grantee, privilege, grantable in connection.execute(GRANTS):
        yield Grant(grantee=str(grantee), privilege=str(privilege), grantable=bool(grantable))


def _settings(connection: Session) -> Iterator[Setting]:
    for role, value in connection.execute(SETTINGS):
        yield Setting(role=_text(role), value=str(value))


def _bootstrap_query() -> str:
    """The name of the role that initdb made, if it owns the database or anything in it, or has rights there."""
    users = f"oid >= {FIRST_OF_USERS}"
    owned = [f"SELECT FROM {table} WHERE {users} AND {owner} = {BOOTSTRAP}" for table, owner in OWNERS.items()]
    granted = [
        f"SELECT FROM {table} t, aclexplode(t.{acl}) a WHERE t.{users} AND {BOOTSTRAP} IN (a.grantee, a.grantor)"
        for table, acl in ACLS.items()
    ]
    database = f"SELECT FROM pg_database WHERE datname = current_database() AND datdba = {BOOTSTRAP}"
    any_of = " OR ".join(f"EXISTS ({query})" for query in (database, *owned, *granted))
    return f"SELECT rolname FROM pg_roles WHERE oid = {BOOTSTRAP} AND ({any_of})"  # noqa: S608


def _text(value: object) -> str | None:
    return None if value is None else str(value)
