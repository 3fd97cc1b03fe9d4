"""The SQL that is installed, from the `.sql` files beside this one.

It is written so that a statement of the application neither fails nor waits for it. Of a publication that means:
only tables with an immediate identity are on its list; of event triggers: each catches its own errors, waits for
nothing (`lock_timeout`), and locks no more than the statement it belongs to.
"""

import re
from importlib.resources import files

from pgkeep.adapters.postgres.relations import OURS, READ_BY_PG_DUMP

VERSION = 2
"""Of what is installed. It changes with every change of the `.sql` files."""
SCHEMA = OURS
"""Not `pgkeep`: for a role of that name (`"$user"` in its search_path) a schema of that name comes before `public`."""
MARK = f"pgkeep {VERSION}: how pgkeep reads the changes of this database; pgkeep remove takes it away"
FIRST_WITH_MESSAGES = 140_000
"""Older servers' pgoutput has no messages: there they are rows of a published table."""
LOCK_TIMEOUT = "2s"

# An index that DROP INDEX CONCURRENTLY could take away is no identity to rely on: while that runs, UPDATEs fail. Nor is
# one with a generated column, which is not published (PostgreSQL 18 refuses UPDATEs then).
_IDENTITY = """
    i.indrelid = c.oid AND i.indimmediate AND i.indisvalid AND i.indislive
    AND EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
    AND NOT EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey) AND a.attgenerated <> '')
"""
CARRIED = f"c.relkind = 'r' AND n.nspname <> '{SCHEMA}' AND {READ_BY_PG_DUMP}"
"""Of pg_class c, pg_namespace n: the tables whose rows are carried, on the list or off it."""
FITTING = f"""{CARRIED} AND c.relpersistence = 'p' AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap') AND (
    c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indisprimary AND {_IDENTITY})
    OR c.relreplident = 'i' AND EXISTS (SELECT FROM pg_index i WHERE i.indisreplident AND {_IDENTITY})
    OR c.relreplident = 'f' AND NOT EXISTS (SELECT FROM pg_attribute a
                                            WHERE a.attrelid = c.oid AND a.attgenerated <> ''))"""  # noqa: S608
"""Of these, the tables that may be on the list."""

# By its place, for two transactions that are SERIALIZABLE must not seem to read each other's rows.
_ROW = """DECLARE
        place tid;
    BEGIN
        INSERT INTO {schema}.log AS l (prefix, content) VALUES (prefix, content) RETURNING l.ctid INTO place;
        DELETE FROM {schema}.log l WHERE l.ctid = place;
    END;"""
_ROW_OF_DDL = """BEGIN
                PERFORM {schema}.send('pgkeep:ddl', message);
            EXCEPTION WHEN OTHERS THEN
                doubt := concat('sending: ', SQLSTATE, ' ', SQLERRM);
            END;"""
_FUNCTION = re.compile(
    r"^CREATE OR REPLACE FUNCTION \w+\.(\w+)\(.*?\bAS \$pgkeep\$(.*?)\$pgkeep\$;", re.DOTALL | re.MULTILINE
)
_EVENT_TRIGGER = re.compile(
    r"^CREATE EVENT TRIGGER (\w+) ON (\w+)(?: WHEN TAG IN \('([A-Z ]+)'\))?\s+EXECUTE FUNCTION \w+\.(\w+)\(\);",
    re.MULTILINE,
)


def script(*, server_version: int, event_triggers: bool) -> str:
    """All of it as one transaction for psql, to be read and run by whoever may. `server_version`: as libpq says it.

    It can be run again. The tables are put on the publication's list afterwards, one by one, by `pgkeep init`.
    """
    body = structure(server_version) + (f"\n{event_trigger_statements()}" if event_triggers else "")
    return (
        f"-- {MARK}\n"
        f"-- For PostgreSQL {server_version // 10_000}. Run it in the database that is to be kept, as "
        f"{'a superuser' if event_triggers else 'the owner of its tables'}:\n"
        "--   psql -X -v ON_ERROR_STOP=1 -f FILE DATABASE\n"
        "-- After that `pgkeep init` puts the tables that have an identity on the publication's list, one by one,\n"
        "-- and gives those of `full_identity` REPLICA IDENTITY FULL. The first backup makes the replication slot.\n"
        f"BEGIN;\n{preparation()}\n{body}\nCOMMIT;\n"
    )


def preparation() -> str:
    """How the installing transaction behaves: it gives up rather than hold somebody up; names mean what they say."""
    return (
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';\n"
        "SET LOCAL client_min_messages = warning;\n"
        "SET LOCAL search_path = pg_catalog, pg_temp;\n"
        "SET LOCAL check_function_bodies = off;\n"
        f"{_text('silence.sql')}"
    )


def structure(server_version: int) -> str:
    """Schema, publication and functions; no event triggers."""
    names = ["structure.sql", *["log.sql"] * (server_version < FIRST_WITH_MESSAGES)]
    return "\n".join([*map(_text, names), functions(server_version)])


def event_trigger_statements() -> str:
    """The event triggers, which call the functions of `structure`."""
    return _text("event_triggers.sql")


def functions(server_version: int) -> str:
    """The functions, as they are for that server."""
    if server_version < FIRST_WITH_MESSAGES:
        return _text("functions.sql", send=_ROW, emit=_ROW_OF_DDL)
    return _text("functions.sql", send=_message("prefix", "content"), emit=_message("'pgkeep:ddl'", "message"))


def bodies(server_version: int) -> dict[str, str]:
    """By name, what pg_proc.prosrc says of each function."""
    return dict(_FUNCTION.findall(functions(server_version)))


def event_triggers() -> set[tuple[str, str, str, str]]:
    """Name, event, tag (or nothing) and function of each event trigger."""
    return set(_EVENT_TRIGGER.findall(event_trigger_statements()))


def _message(prefix: str, content: str) -> str:
    return f"PERFORM pg_logical_emit_message(true, {prefix}, {content});"


def _text(name: str, **values: str) -> str:
    """The file, its `{name}` replaced, and nothing else that is in braces."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    for key, value in (values | {"schema": SCHEMA, "mark": f"'{MARK}'", "fitting": FITTING}).items():
        text = text.replace(f"{{{key}}}", value)
    return text
