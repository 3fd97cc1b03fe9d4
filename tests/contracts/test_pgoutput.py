"""What real servers decode, translated and applied by psql to a copy made before: equal in every table."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from fix_majors import running
from fix_pgoutput_features import ALTERED, FEATURES, WORK, ddl, literal
from fix_pgoutput_sql import NONCE, PUBLISHED, SLOT, apply, content, major, read_slot, translate, translation
from fix_pgoutput_types import KEYS, OTHERS, SCHEMA
from fix_postgres import Database, new_database
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.pgoutput.translation import Decision, Message, Transaction
from pgkeep.ports import Inexact

SEED = 4
MARKER = b"-- pgkeep " + NONCE.encode() + b" "


@pytest.fixture(scope="module", params=[13, 15, 16, 18])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param, home=tmp_path_factory.mktemp("majors")) as found:
        yield found


@contextmanager
def pair(server: Server, made: str, *, encoding: str = "UTF8") -> Iterator[tuple[Database, Database]]:
    """A captured database, and its copy made before."""
    with new_database(server, name="origin") as origin, new_database(server, name="copy") as copy:
        for database in (origin, copy):
            if encoding != "UTF8":
                Database(server=server, name="postgres").run(
                    f"DROP DATABASE {database.name}",
                    f"CREATE DATABASE {database.name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'",
                )
            database.run(made)
        origin.run(PUBLISHED)
        origin.run(SLOT)
        try:
            yield origin, copy
        finally:
            origin.run("SELECT pg_drop_replication_slot('keep')")


def assert_same(origin: Database, copy: Database, sql: bytes) -> None:
    apply(copy, [sql])
    wanted, found = content(origin), content(copy)
    for table, rows in wanted.items():
        assert found[table] == rows, table
    assert found.keys() == wanted.keys()


def accepted(database: Database, types: dict[str, list[str]]) -> dict[str, list[str]]:
    """What this version takes."""
    found = dict[str, list[str]]()
    with database.session() as session:
        for name, values in types.items():
            for value in values:
                try:
                    session.execute(f"CREATE TEMP TABLE probe (v {name})")
                    session.execute(f"INSERT INTO probe SELECT {literal(value)}")
                    found.setdefault(name, []).append(value)
                except psycopg.Error:
                    pass
                session.execute("DROP TABLE IF EXISTS probe")
    return found


def type_workload(types: dict[str, list[str]], *, prefix: str) -> tuple[list[str], list[str]]:
    """DDL and statements: every value inserted, updated from and to, deleted; by a key beside it, and by FULL."""
    tables, statements = list[str](), list[str]()
    for number, (name, values) in enumerate(types.items()):
        plain, full = f"{prefix}_plain_{number}", f"{prefix}_full_{number}"
        tables += [f"CREATE TABLE {plain} (id int PRIMARY KEY, v {name}, w text)"]
        tables += [f"CREATE TABLE {full} (v {name}, n int); ALTER TABLE {full} REPLICA IDENTITY FULL"]
        cycle = [*map(literal, values), "NULL"]
        for i, value in enumerate(cycle):
            statements += [f"INSERT INTO {plain} VALUES ({i}, {value}, NULL)"]
            statements += [f"INSERT INTO {full} VALUES ({value}, 1), ({value}, 1), ({value}, {i})"]
        for i, value in enumerate(cycle[1:] + cycle[:1]):
            statements += [f"UPDATE {plain} SET v = {value} WHERE id = {i}"]
            statements += [f"UPDATE {full} SET v = {value} WHERE n = {i} + 1"]
            statements += [f"UPDATE {full} SET n = n + 1 WHERE n = {i}"]
        statements += [f"DELETE FROM {plain} WHERE id % 3 = 0", f"DELETE FROM {full} WHERE n % 4 = 0"]
        statements += [f"DELETE FROM {full} WHERE ctid = (SELECT min(ctid) FROM {full})"]
    return tables, statements


def key_workload(types: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    tables, statements = list[str](), list[str]()
    for number, (name, values) in enumerate(types.items()):
        table, (first, *rest) = f"key_{number}", map(literal, values)
        tables += [f"CREATE TABLE {table} (n int, k {name} PRIMARY KEY)"]
        statements += [f"INSERT INTO {table} VALUES ({i}, {value})" for i, value in enumerate(rest)]
        statements += [f"UPDATE {table} SET n = n + 10", f"UPDATE {table} SET k = {first} WHERE n = 10"]
        statements += [f"UPDATE {table} SET n = n + 10", f"DELETE FROM {table} WHERE n = 21"]
        statements += [f"INSERT INTO {table} VALUES (0, {first}) ON CONFLICT DO NOTHING"]
    return tables, statements


def test_every_type_is_carried_exactly(server: Server) -> None:
    with new_database(server, name="probe", made=SCHEMA) as probe:
        keys, others = accepted(probe, KEYS), accepted(probe, OTHERS)
    assert sum(map(len, [*keys.values(), *others.values()])) > 200
    tables, statements = key_workload(keys)
    for types, prefix in ((keys, "a"), (others, "b")):
        more_tables, more = type_workload(types, prefix=prefix)
        tables, statements = tables + more_tables, statements + more
    with pair(server, SCHEMA + ";".join(tables)) as (origin, copy):
        with origin.session() as session:
            for statement in statements:
                session.execute(statement)
        assert_same(origin, copy, translate(origin))


def test_every_feature_is_carried_exactly(server: Server) -> None:
    with pair(server, FEATURES) as (origin, copy):
        with origin.session() as session:
            for statement in WORK + ALTERED:
                session.execute(statement.encode())
        assert_same(origin, copy, translate(origin))
        assert content(copy)["public.born"]


def test_large_values_are_carried_exactly(server: Server) -> None:
    made = "CREATE TABLE big (id int PRIMARY KEY, a text, b bytea); CREATE TABLE big_full (n int, a text);"
    with pair(server, made + "ALTER TABLE big_full REPLICA IDENTITY FULL") as (origin, copy):
        odd = "repeat(E'it''s \\\\ \\n\\\\.\\n \\t é', 150000)"
        origin.run(
            "INSERT INTO big VALUES (0, 'small', NULL)",
            f"INSERT INTO big VALUES (1, {odd}, decode(repeat('5c27ff00', 700000), 'hex'))",
            f"INSERT INTO big VALUES (2, {odd}, NULL), (3, '', '')",
            "UPDATE big SET a = a || 'x' WHERE id = 1; UPDATE big SET b = NULL WHERE id = 1",
            "UPDATE big SET id = 5 WHERE id = 1",
            f"INSERT INTO big_full VALUES (1, {odd}), (2, {odd}); UPDATE big_full SET n = 3 WHERE n = 2",
            "DELETE FROM big_full WHERE n = 1; DELETE FROM big WHERE id = 2",
        )
        assert_same(origin, copy, translate(origin))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_every_encoding_is_carried_exactly(server: Server, encoding: str) -> None:
    name, texts = {
        "LATIN1": ("é", b"\xe9\xff'\\"),
        "SQL_ASCII": ("é", bytes(range(1, 256))),
        "EUC_JP": ("日本", "日本'\\".encode("euc-jp")),
    }[encoding]
    made = f'CREATE TABLE "{name}" ("k{name}" text PRIMARY KEY, v text)'
    with pair(server, made, encoding=encoding) as (origin, copy):
        hexadecimal = f"convert_from('\\x{texts.hex()}', '{encoding}')"
        origin.run(
            *(f"INSERT INTO \"{name}\" VALUES ('{i}' || {hexadecimal}, {hexadecimal})" for i in range(3)),
            f"UPDATE \"{name}\" SET v = '{name}'",
            f'UPDATE "{name}" SET "k{name}" = \'x\' || "k{name}"',
            f'INSERT INTO "{name}" SELECT i || {hexadecimal}, {hexadecimal} FROM generate_series(10, 40) i',
            f'DELETE FROM "{name}" WHERE "k{name}" = \'x1\' || {hexadecimal}',
        )
        assert_same(origin, copy, translate(origin, encoding=encoding))


def test_a_random_application_is_carried_exactly(server: Server) -> None:
    made = """
        CREATE TABLE a (id int PRIMARY KEY, n numeric, t text, j jsonb);
        CREATE TABLE b (x int, y text, z float8, PRIMARY KEY (y, x));
        CREATE TABLE c (t text, f float8, b bool); ALTER TABLE c REPLICA IDENTITY FULL;
    """
    with pair(server, made) as (origin, copy):
        chance = random.Random(SEED)
        with origin.session() as session:
            for _ in range(400):
                try:
                    session.execute(transaction(chance).encode())
                except psycopg.errors.UniqueViolation:
                    session.execute("ROLLBACK")
        assert_same(origin, copy, translate(origin))
        assert all(content(copy).values())


def transaction(chance: random.Random) -> str:
    """Some statements of an application, with savepoints; some of it is rolled back."""
    statements = list[str]()
    for _ in range(chance.choice([1, 1, 1, 2, 5, 30])):
        statement = change(chance)
        if chance.random() < 0.1:
            statement = f"SAVEPOINT s; {statement}; {change(chance)}; ROLLBACK TO s"
        statements.append(statement)
    end = "ROLLBACK" if chance.random() < 0.1 else "COMMIT"
    return "; ".join(["BEGIN", *statements, end])


def change(chance: random.Random) -> str:
    key, other = chance.randrange(40), chance.randrange(100)
    text = literal(chance.choice(["", "it's", "\\", "a\tb\n\\.\n", None, "é"]))
    number = chance.choice(["NULL", "1.0", "1.00", "'NaN'", "'-0'", "7"])
    rows = chance.choice([1, 1, 3, 12])
    return chance.choice([
        f"INSERT INTO a SELECT {other} + i, {number}, {text} FROM generate_series(1, {rows}) i ON CONFLICT DO NOTHING",
        f"UPDATE a SET n = {number}, t = {text} WHERE id % 40 = {key}",
        f"UPDATE a SET j = jsonb_build_object('k', {number}) WHERE id < {key}",
        f"UPDATE a SET id = id + 1000 WHERE id = {other}",
        f"DELETE FROM a WHERE id % 40 = {key}",
        f"INSERT INTO b VALUES ({other}, coalesce({text}, 'k'), 1) ON CONFLICT (x, y) DO UPDATE SET z = {number}",
        f"UPDATE b SET y = y || '.', x = -x WHERE x = {other} AND x NOT IN (SELECT -x FROM b)",
        f"DELETE FROM b WHERE x = {other}",
        f"INSERT INTO c SELECT {text}, {number}, {number}::float8 = 1 FROM generate_series(1, {rows})",
        f"UPDATE c SET f = {number} WHERE ctid IN (SELECT ctid FROM c ORDER BY ctid LIMIT 3)",
        f"UPDATE c SET b = NOT b, t = {text} WHERE ctid = (SELECT max(ctid) FROM c)",
        "DELETE FROM c WHERE ctid = (SELECT min(ctid) FROM c)",
        "TRUNCATE c" if chance.random() < 0.05 else "SELECT",
    ])  # fmt: skip


def test_a_file_can_be_cut_off_before_every_marker(server: Server) -> None:
    made = "CREATE SCHEMA _pgkeep; CREATE TABLE _pgkeep.log (id serial PRIMARY KEY, prefix text, content text);"
    made += "CREATE TABLE t (id int PRIMARY KEY, v text)"
    steps = [
        "INSERT INTO t VALUES (1, 'a')",
        f"INSERT INTO t VALUES (2, E'\\n{MARKER.decode()}x\\n')",
        f"UPDATE t SET v = E'it''s\\n{MARKER.decode()[:20]}' WHERE id = 1",
        "INSERT INTO t SELECT i, i FROM generate_series(10, 40) i",
        "BEGIN; DELETE FROM t WHERE id = 10; " + ddl("ALTER TABLE t ADD w int") + "; UPDATE t SET w = 5; COMMIT",
        "TRUNCATE t",
        "INSERT INTO t VALUES (1, 'z')",
    ]
    with pair(server, made) as (origin, _):
        states = [content(origin)]
        for step in steps:
            origin.run(step)
            states.append(content(origin))
        sql = translate(origin)
        cuts = [*marker_positions(sql), len(sql)]
        assert len(cuts) == len(states)
        for cut, state in zip(cuts, states, strict=True):
            with new_database(server, name="stopped", made=made) as stopped:
                apply(stopped, [sql[:cut], b";\nCOMMIT;\n"])
                assert content(stopped) == state


def marker_positions(sql: bytes) -> Iterator[int]:
    """Where the markers are that nobody put into a value."""
    at = sql.find(b"\n" + MARKER + b"transaction ")
    while at >= 0:
        yield at + 1
        at = sql.find(b"\n" + MARKER + b"transaction ", at + 1)


def test_transactions_are_skipped_held_and_emitted(server: Server) -> None:
    with pair(server, "CREATE TABLE t (id int PRIMARY KEY)") as (origin, copy):
        origin.run(*(f"INSERT INTO t VALUES ({i})" for i in range(6)))
        order, positions = (
            iter([Decision.SKIP, Decision.EMIT, Decision.HOLD, Decision.EMIT, Decision.HOLD, Decision.SKIP]),
            list[int](),
        )

        def judge(transaction: Transaction) -> Decision:
            positions.append(transaction.commit_lsn)
            return next(order)

        translated = translation(judge=judge)
        apply(copy, translated.sql(read_slot(origin)))
        assert copy.ask("SELECT id FROM t ORDER BY 1") == [(1,), (3,)]
        assert (translated.transactions, translated.changes) == (2, 2)
        assert translated.held == positions[2]
        assert translated.touched == {("public", "t")}
        assert positions == sorted(positions)


def test_what_the_stream_cannot_tell_is_said(server: Server) -> None:
    with pair(server, "CREATE TABLE t (id int PRIMARY KEY)") as (origin, _):
        origin.run("INSERT INTO t VALUES (1)")

        def refuse(transaction: Transaction) -> Decision:
            raise Inexact("this was not asked for")

        with pytest.raises(Inexact, match="not asked for"):
            list(translation(judge=refuse).sql(read_slot(origin)))


def test_a_cut_is_heard_in_every_transaction(server: Server) -> None:
    with pair(
        server, "CREATE SCHEMA _pgkeep; CREATE TABLE _pgkeep.log (id serial PRIMARY KEY, prefix text, content text)"
    ) as (origin, _):
        for prefix in ("pgkeep:cut", "pgkeep:ddl", "application"):
            said = f"INSERT INTO _pgkeep.log (prefix, content) VALUES ('{prefix}', 'said')"
            origin.run(f"SELECT pg_logical_emit_message(true, '{prefix}', 'said')" if major(origin) >= 14 else said)
        heard = list[Message]()

        def listen(message: Message) -> bytes:
            heard.append(message)
            return b""

        for verdict in Decision:
            list(translation(judge=lambda _, verdict=verdict: verdict, listen=listen).sql(read_slot(origin)))  # type: ignore[misc]
        assert [message.prefix for message in heard] == ["pgkeep:cut", "pgkeep:cut", "pgkeep:ddl", "pgkeep:cut"]
