"""A slot that is read as pgkeep reads it, and SQL that is applied as anybody would apply it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from fix_postgres import Database
from pgkeep.adapters.postgres import running
from pgkeep.adapters.postgres.pgoutput.translation import Decision, Message, Transaction, Translation
from pgkeep.adapters.postgres.programs import find_tools
from pgkeep.adapters.postgres.value_texts import VALUE_TEXTS

NONCE = "0123456789abcdef" * 2
SLOT = "SELECT pg_create_logical_replication_slot('keep', 'pgoutput')"
PUBLISHED = "CREATE PUBLICATION pgkeep FOR ALL TABLES"
OPTIONS = "'proto_version', '1', 'publication_names', 'pgkeep'"
ALWAYS = """SELECT attrelid::int8, array_agg(attname::text) FROM pg_attribute
            WHERE attidentity = 'a' AND NOT attisdropped GROUP BY 1"""
TABLES = """SELECT c.oid::int8, format('%I.%I', n.nspname, c.relname)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_|^information_schema$|^_pgkeep$'
            ORDER BY 2"""


def major(database: Database) -> int:
    with database.session() as session:
        return session.info.server_version // 10_000


def read_slot(database: Database, *, encoding: str = "UTF8") -> Iterator[bytes]:
    """The slot's content, which stays there."""
    here = major(database)
    options = OPTIONS + (", 'messages', 'true'" if here >= 14 else "")
    query = f"SELECT data FROM pg_logical_slot_peek_binary_changes('keep', NULL, NULL, {options})"
    pins = {**VALUE_TEXTS, "search_path": "pg_catalog", "client_encoding": encoding}
    server = database.server.with_settings(" ".join(f"-c {name}={value}" for name, value in pins.items()))
    arguments = ["-XAtq", "-c", f"COPY ({query}) TO STDOUT (FORMAT binary)"]
    return running.read(
        running.Command(
            tools=find_tools(here), program="psql", arguments=arguments, server=server, dbname=database.name
        )
    )


def translation(
    *,
    encoding: str = "UTF8",
    judge: Callable[[Transaction], Decision] = lambda _: Decision.EMIT,
    listen: Callable[[Message], bytes] = lambda _: b"",
    always: Mapping[int, Collection[str]] | None = None,
) -> Translation:
    return Translation(
        nonce=NONCE, encoding=encoding, judge=judge, listen=listen, server_version=150_000, always=always or {}
    )


def repeat_ddl(message: Message) -> bytes:
    """The test's own event trigger: whoever changes a table says so."""
    return b"SET LOCAL search_path = public;\n" + message.content + b";\n" if message.prefix == "pgkeep:ddl" else b""


def translate(database: Database, *, encoding: str = "UTF8") -> bytes:
    """The whole file."""
    always = {int(str(oid)): list(map(str, names)) for oid, names in database.ask(ALWAYS) if isinstance(names, list)}
    translated = translation(encoding=encoding, listen=repeat_ddl, always=always)
    return b"".join(translated.sql(read_slot(database, encoding=encoding)))


def apply(database: Database, sql: Iterable[bytes]) -> None:
    """As in the README: psql, and any error is fatal."""
    arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    running.write(
        running.Command(
            tools=find_tools(major(database)),
            program="psql",
            arguments=arguments,
            server=database.server,
            dbname=database.name,
        ),
        sql,
        hear=str,
    )


def content(database: Database) -> dict[str, list[bytes]]:
    """Every row of every table as text, sorted: bytes as the server has them."""
    found = dict[str, list[bytes]]()
    with database.session() as session:
        names = [str(name) for _, name in session.execute(TABLES)]
        session.execute("SET extra_float_digits = 3; SET search_path = pg_catalog")
        for name in names:
            query = f"SELECT convert_to((x.*)::text, getdatabaseencoding()) FROM ONLY {name} AS x"
            rows = session.execute(query.encode(), binary=True)
            found[name] = sorted(bytes(row[0]) for row in rows if isinstance(row[0], bytes))
    return found
