"""A random application: what its sessions send next, drawn with dice from what they find in the database."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fix_content import Session

MADE = """
    CREATE SCHEMA other;
    CREATE TYPE mood AS ENUM ('bad', 'good');
    CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN small AS int CHECK (VALUE < 1000000);
    CREATE TABLE t1 (id int PRIMARY KEY, c1 text, c2 numeric DEFAULT 7, c3 jsonb);
    ALTER TABLE t1 ALTER c1 SET STORAGE EXTERNAL;
    CREATE TABLE t2 (id bigserial PRIMARY KEY, r int REFERENCES t1 ON DELETE CASCADE, c1 timestamptz, c2 mood);
    CREATE TABLE t3 (c1 text, c2 int);
    CREATE TABLE t4 (id int, c1 text, c2 double precision, c3 small);
    ALTER TABLE t4 ALTER c1 SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
    CREATE TABLE t5 (id int NOT NULL, k text NOT NULL, c1 text, c2 int GENERATED ALWAYS AS (id * 2) STORED,
        UNIQUE (k, id));
    ALTER TABLE t5 REPLICA IDENTITY USING INDEX t5_k_id_key;
    CREATE TABLE t6 (n int GENERATED ALWAYS AS IDENTITY, id int PRIMARY KEY, c1 bytea, c2 int[]);
    CREATE TABLE t7 (id int, part int, c1 text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
    CREATE TABLE t7_0 PARTITION OF t7 FOR VALUES IN (0, 1, 2);
    CREATE TABLE t7_1 (c1 text, part int NOT NULL, gone int, id int NOT NULL);
    ALTER TABLE t7_1 DROP COLUMN gone;
    ALTER TABLE t7 ATTACH PARTITION t7_1 FOR VALUES IN (3, 4, 5);
    CREATE TABLE t7_d PARTITION OF t7 DEFAULT;
    CREATE TABLE t8 (id int PRIMARY KEY, c1 text);
    CREATE TABLE t9 (c2 int, PRIMARY KEY (id)) INHERITS (t8);
    CREATE TABLE audit (id bigserial PRIMARY KEY, said text, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO public.audit (said) VALUES (TG_OP || TG_TABLE_NAME); RETURN NULL; END';
    CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON t1 FOR EACH ROW EXECUTE FUNCTION note();
    CREATE SEQUENCE s1;
    CREATE VIEW v1 AS SELECT id, c1 FROM t8;
    CREATE MATERIALIZED VIEW m1 AS SELECT count(*) AS n FROM t8;
"""
TYPES = (
    *("int", "bigint", "text", "varchar(40)", "numeric", "float8", "bool", "date", "timestamptz", "jsonb", "json"),
    *("uuid", "bytea", "int[]", "interval", "mood", "small", "pair"),
)
TABLES = """
    SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.relispartition,
           (SELECT conname FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p'),
           (SELECT coalesce(json_agg(json_build_array(attname, format_type(atttypid, NULL), attnotnull)
                                     ORDER BY attnum), '[]')
            FROM pg_attribute
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity <> 'a')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'other') AND c.relname <> 'audit' ORDER BY 2, 3
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as a session sees it. `columns`: name, type, NOT NULL, of those that may be written."""

    oid: int
    schema: str
    name: str
    kind: str
    partition: bool
    key: str | None
    columns: Sequence[tuple[str, str, bool]]

    @property
    def text(self) -> str:
        return f"{self.schema}.{self.name}"


class Dice:
    """Statements that are right more often than not; what PostgreSQL refuses did not happen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._tables: Sequence[Table] = ()

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def chance(self, of: float) -> bool:
        return self.random.random() < of

    def statement(self, session: Session, *, ddl: float) -> str:
        """What that session sends next: one statement, or several as one string."""
        found = session.execute(TABLES).fetchall()
        self._tables = [
            Table(oid=oid, schema=schema, name=name, kind=kind, partition=part, key=key, columns=columns)  # type: ignore[arg-type]
            for oid, schema, name, kind, part, key, columns in found
        ]
        how_many = 1 if self.chance(0.85) else self.random.randint(2, 4)
        return "; ".join(self._ddl() if self.chance(ddl) else self._dml() for _ in range(how_many))

    # --- words -------------------------------------------------------------------------------------------------------

    def _table(self) -> Table:
        return self.random.choice(self._tables)

    def _name(self, table: Table) -> str:
        return table.text if table.schema != "public" or self.chance(0.5) else table.name

    def _new(self) -> str:
        return f"t{self.random.randint(1, 25)}"

    def _column(self, table: Table) -> str:
        return self.one(*(name for name, _, _ in table.columns)) if table.columns else "id"

    def _new_column(self) -> str:
        return f"c{self.random.randint(1, 9)}"

    def value(self, kind: str, *, never_null: bool = False) -> str:
        """A literal of that type."""
        if not never_null and self.chance(0.15):
            return "NULL"
        number = self.random.randint(0, 60)
        texts = (
            f"'v{number}'",
            "'it''s'",
            r"E'a\tb\n\\.\n\\N'",
            "''",
            f"repeat(md5('{number}'), {number * 10})",
            "'%s :x'",
        )
        known = {
            "integer": [str(number)],
            "bigint": [str(number), "9007199254740993"],
            "small": [str(number)],
            "text": texts,
            "character varying": texts,
            "numeric": ["1.0", "1.00", "'NaN'", str(number)],
            "double precision": ["'-0'", "'NaN'", "1/3.0", str(number)],
            "boolean": ["true", "false"],
            "date": [f"date '2026-01-01' + {number}"],
            "timestamp with time zone": ["now()", "clock_timestamp()", "'infinity'"],
            "jsonb": [f"'{{\"a\": [{number}, 1.0]}}'", "'null'"],
            "json": ["'{\"b\":  1}'"],
            "uuid": [f"md5('{number}')::uuid"],
            "bytea": [f"decode(repeat('ab', {number * 100}), 'hex')", "'\\x00'"],
            "integer[]": ["'{}'", f"ARRAY[{number}, NULL]"],
            "interval": ["'1 day 1 hour'"],
            "mood": ["'bad'", "'good'"],
            "pair": [f"ROW({number}, 'b')", "ROW(NULL, NULL)"],
        }
        return self.one(*known.get(kind, ["DEFAULT"]))

    def _type(self) -> str:
        return self.one(*TYPES)

    def _some(self, table: Table) -> str:
        """A condition that some rows meet."""
        if self.chance(0.15):
            return "true"
        ids = any(name == "id" for name, _, _ in table.columns)
        if ids and self.chance(0.5):
            return f"id % 7 = {self.random.randint(0, 6)}"
        return f"abs(hashtext(x::text)) % 5 = {self.random.randint(0, 4)}"

    # --- rows --------------------------------------------------------------------------------------------------------

    def _dml(self) -> str:
        if not self._tables:
            return "SELECT 1"
        return self.random.choice(
            [
                self._insert,
                self._insert,
                self._insert,
                self._update,
                self._update,
                self._update,
                self._delete,
                self._rare,
            ]
        )(self._table())

    def _insert(self, table: Table) -> str:
        columns = [c for c in table.columns if c[2] or c[0] == "id" or self.chance(0.8)]
        if not columns:
            return f"INSERT INTO {self._name(table)} DEFAULT VALUES"
        rows = [
            [self.value(kind, never_null=must) for _, kind, must in columns]
            for _ in range(self.random.choice([1, 2, 12]))
        ]
        listed = ", ".join(name for name, _, _ in columns)
        values = ", ".join(f"({', '.join(row)})" for row in rows)
        again = self.one("", "ON CONFLICT DO NOTHING", "ON CONFLICT DO NOTHING")
        if table.key and any(c[0] == "id" for c in columns) and not table.partition and table.kind == "r":
            again = self.one(again, f"ON CONFLICT (id) DO UPDATE SET {columns[0][0]} = excluded.{columns[0][0]}")
        return f"INSERT INTO {self._name(table)} ({listed}) VALUES {values} {again}"

    def _update(self, table: Table) -> str:
        if not table.columns:
            return f"DELETE FROM {self._name(table)}"
        chosen = self.random.sample(list(table.columns), min(len(table.columns), self.random.randint(1, 2)))
        changes = []
        for name, kind, must in chosen:
            sums = kind in {"integer", "bigint", "numeric", "small"} and name != "part"
            texts = kind in {"text", "character varying"}
            more = f"{name} + {self.one('0', '1', '100')}" if sums else f"{name} || 'x'" if texts else name
            changes.append(f"{name} = {more if self.chance(0.5) else self.value(kind, never_null=must)}")
        return f"UPDATE {self._name(table)} x SET {', '.join(changes)} WHERE {self._some(table)}"

    def _delete(self, table: Table) -> str:
        where = f"WHERE {self._some(table)}"
        if self.chance(0.2):
            gone = f"DELETE FROM {self._name(table)} x {where} RETURNING *"
            return f"WITH d AS ({gone}) INSERT INTO audit (said) SELECT d::text FROM d"
        return f"DELETE FROM {self._name(table)} x {where}"

    def _rare(self, table: Table) -> str:
        name = self._name(table)
        others = ", ".join({name, *(self._name(self._table()) for _ in range(self.random.randint(0, 2)))})
        return self.one(
            f"TRUNCATE {name}",
            f"TRUNCATE {others} {self.one('', 'RESTART IDENTITY')} CASCADE",
            f"TRUNCATE ONLY {name} RESTART IDENTITY",
            "SELECT nextval('s1'), setval('s1', 40 + nextval('s1'))",
            f"INSERT INTO {name} SELECT * FROM {name} LIMIT 3",
            f"DELETE FROM ONLY {name}",
            f"SELECT * FROM {name} FOR UPDATE",
            f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE",
            f"INSERT INTO v1 (id, c1) VALUES ({self.random.randint(60, 99)}, 'by the view')",
            "UPDATE v1 SET c1 = 'by the view' WHERE id % 7 = 3",
            "UPDATE t6 SET n = DEFAULT WHERE id % 7 = 1",
            "INSERT INTO t6 (n, id) OVERRIDING SYSTEM VALUE VALUES (7, 61), (7, 62) ON CONFLICT DO NOTHING",
            "SET CONSTRAINTS ALL DEFERRED",
            f"MERGE INTO {name} x USING (VALUES (5), (61), (63)) v (id) ON x.id = v.id "
            "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (v.id)",
            f"INSERT INTO {name} (id) SELECT generate_series(200, 260) ON CONFLICT DO NOTHING",
            f"COPY {name} TO '/dev/null'",
        )

    # --- the schema --------------------------------------------------------------------------------------------------

    def _ddl(self) -> str:
        if not self._tables or self.chance(0.25):
            return self._create(self._table() if self._tables else None)
        acts: list[Callable[[Table], str]] = [self._column_ddl, self._column_ddl, self._table_ddl, self._table_ddl]
        return self.random.choice([*acts, self._key_ddl, self._object_ddl])(self._table())

    def _create(self, like: Table | None) -> str:
        new, there = self._new(), self._name(like) if like else "t1"
        new = self.one(new, new, f"other.{new}")
        a, b = self._type(), self._type()
        always, twice = "int GENERATED ALWAYS AS IDENTITY", "int GENERATED ALWAYS AS (id * 2) STORED"
        return self.one(
            f"CREATE TABLE {new} (id int PRIMARY KEY, c1 {a}, c2 {b})",
            f"CREATE TABLE {new} (id serial PRIMARY KEY, c1 {a} DEFAULT NULL, c2 {b})",
            f"CREATE TABLE {new} (id {always} PRIMARY KEY, c2 int GENERATED BY DEFAULT AS IDENTITY, c1 {a})",
            f"CREATE TABLE {new} (n {always}, id int PRIMARY KEY, c2 {twice}, c1 {a})",
            f"CREATE TABLE {new} (c1 {a}, c2 {b})",
            f"CREATE TABLE {new} (c1 {a}, c2 {b}); ALTER TABLE {new} REPLICA IDENTITY FULL",
            f"CREATE UNLOGGED TABLE {new} (id int PRIMARY KEY, c1 {a})",
            f"CREATE TABLE {new} (LIKE {there} INCLUDING ALL)",
            f"CREATE TABLE {new} (c8 int) INHERITS ({there})",
            f"CREATE TABLE {new} (id int PRIMARY KEY, r int REFERENCES {there} ON DELETE CASCADE)",
            f"CREATE TABLE {new} (id int PRIMARY KEY DEFERRABLE, c1 {a})",
            f"CREATE TABLE {new} (id int, part int, c1 {a}, PRIMARY KEY (id, part)) PARTITION BY LIST (part); "
            f"CREATE TABLE {new}_0 PARTITION OF {new} FOR VALUES IN (0, 1, 2); "
            f"CREATE TABLE {new}_d PARTITION OF {new} DEFAULT",
            f"CREATE TABLE IF NOT EXISTS {new} (id int PRIMARY KEY, c1 {a})",
            f"CREATE TEMP TABLE temp_{new.split('.')[-1]} (id int) ON COMMIT DROP",
        )

    def _column_ddl(self, table: Table) -> str:
        name, column, new, kind = self._name(table), self._column(table), self._new_column(), self._type()
        return "ALTER TABLE " + self.one(
            f"{name} ADD COLUMN {new} {kind}",
            f"{name} ADD COLUMN {new} int NOT NULL DEFAULT 5",
            f"{name} ADD COLUMN {new} text DEFAULT 'it''s', ADD COLUMN {self._new_column()} {kind}",
            f"{name} DROP COLUMN {column} {self.one('', 'CASCADE')}",
            f"{name} DROP COLUMN {column}, ADD COLUMN {column} {kind}",
            f"{name} RENAME COLUMN {column} TO {new}",
            f"{name} RENAME COLUMN {column} TO {new}",
            f"{name} ALTER {column} SET DEFAULT NULL",
            f"{name} ALTER {column} DROP NOT NULL",
            f"{name} ALTER {column} TYPE bigint",
            f"{name} ALTER {column} TYPE text",
            f"{name} ALTER {column} SET STORAGE EXTERNAL",
            f"{name} ALTER {column} TYPE varchar(2000)",
            f"{name} ALTER {column} TYPE text USING 'x' || {column}",
            f"{name} ALTER {column} SET NOT NULL",
            f"{name} ALTER {column} ADD GENERATED ALWAYS AS IDENTITY",
            f"{name} ALTER n DROP IDENTITY",
            f"{name} ALTER c2 DROP EXPRESSION",
            f"{name} ADD COLUMN {new} pair, DROP COLUMN IF EXISTS {column}",
            f"{name} ADD COLUMN {new} int, ALTER {column} TYPE text",
            f"ONLY {name} ADD COLUMN {new} {kind}",
        )

    def _table_ddl(self, table: Table) -> str:
        name, other, new = self._name(table), self._table(), self._new()
        return self.one(
            f"ALTER TABLE {name} RENAME TO {new}",
            f"ALTER TABLE {name} RENAME TO {new}",
            f"ALTER TABLE {name} RENAME TO {new}; CREATE TABLE {table.text} (id int PRIMARY KEY, c1 text)",
            f"ALTER TABLE {name} RENAME TO swap; ALTER TABLE {other.text} RENAME TO {table.name}; "
            f"ALTER TABLE {table.schema}.swap RENAME TO {other.name}",
            f"ALTER TABLE {name} SET SCHEMA {self.one('other', 'public')}",
            f"DROP TABLE {name}",
            f"DROP TABLE {name} CASCADE; CREATE TABLE {table.text} (id int PRIMARY KEY, c1 text)",
            f"DROP TABLE IF EXISTS {name}, {other.text} CASCADE",
            f"ALTER TABLE {name} SET UNLOGGED",
            f"ALTER TABLE {name} NO INHERIT t8",
            f"ALTER TABLE t7 DETACH PARTITION {name}",
            f"ALTER TABLE t7 ATTACH PARTITION {name} DEFAULT",
            f"ALTER TABLE {name} DISABLE TRIGGER ALL",
            f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {name} INHERIT t8",
            f"ALTER TABLE {name} ADD FOREIGN KEY (id) REFERENCES {other.text} NOT VALID",
            f"ALTER TABLE {name} ADD FOREIGN KEY (id) REFERENCES {other.text} DEFERRABLE INITIALLY DEFERRED",
            f"ALTER TABLE {name} ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED",
            f"CREATE RULE quiet AS ON DELETE TO {name} WHERE old.id = 5 DO INSTEAD NOTHING",
            f"CREATE SCHEMA again CREATE TABLE {new} (id int PRIMARY KEY, c1 text)",
            f"ALTER TABLE again.{new} SET SCHEMA public",
            "DROP SCHEMA again CASCADE",
        )

    def _key_ddl(self, table: Table) -> str:
        name, index = self._name(table), f"i{self.random.randint(1, 999)}"
        return self.one(
            f"ALTER TABLE {name} DROP CONSTRAINT {table.key or 'none'} {self.one('', 'CASCADE')}",
            f"ALTER TABLE {name} DROP CONSTRAINT {table.key or 'none'}, ADD PRIMARY KEY (id)",
            f"ALTER TABLE {name} REPLICA IDENTITY {self.one('FULL', 'DEFAULT', 'NOTHING')}",
            f"ALTER TABLE {name} REPLICA IDENTITY FULL",
            f"CREATE UNIQUE INDEX {index} ON {name} (id); ALTER TABLE {name} REPLICA IDENTITY USING INDEX {index}",
            f"ALTER TABLE {name} ADD PRIMARY KEY (id)",
        )

    def _object_ddl(self, table: Table) -> str:
        name, column, number = self._name(table), self._column(table), self.random.randint(1, 20)
        return self.one(
            f"CREATE INDEX i{number} ON {name} ({column})",
            f"DROP INDEX i{number}",
            f"CREATE VIEW v{number} AS SELECT * FROM {name}",
            f"DROP VIEW v{number}",
            f"CREATE MATERIALIZED VIEW m{number} AS SELECT count(*) AS n FROM {name}",
            "REFRESH MATERIALIZED VIEW m1",
            f"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT {number}'",
            f"CREATE TRIGGER noted AFTER INSERT OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION note()",
            f"COMMENT ON TABLE {name} IS 'number {number}'",
            f"COMMENT ON COLUMN {name}.{column} IS 'it''s {number}'",
            f"GRANT SELECT, UPDATE ({column}) ON {name} TO PUBLIC",
            f"REVOKE ALL ON {name} FROM PUBLIC",
            f"ALTER TYPE mood ADD VALUE IF NOT EXISTS 'm{number}'",
            f"CREATE SEQUENCE s{number}",
            f"ALTER SEQUENCE s1 RESTART {number}",
            f"DROP SEQUENCE s{number} CASCADE",
            f"CREATE STATISTICS st{number} ON id, {column} FROM {name}",
            f"ALTER TABLE {name} ADD CONSTRAINT k{number} CHECK (id > -1) NOT VALID",
            f"REINDEX TABLE {name}",
            "ALTER TYPE pair ADD ATTRIBUTE c int CASCADE",
            f"ALTER TYPE pair RENAME ATTRIBUTE b TO b{number} CASCADE",
            f"ALTER SEQUENCE s1 OWNED BY {name}.{column}",
            f"ALTER SEQUENCE s1 INCREMENT {number}",
            f"CREATE UNIQUE INDEX i{number} ON {name} ({column})",
            f"ALTER VIEW v1 RENAME TO v{number}",
            f"CREATE OR REPLACE VIEW v1 AS SELECT id, c1 FROM {name}",
            "ALTER DOMAIN small DROP CONSTRAINT IF EXISTS small_check",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {table.schema} TO PUBLIC",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        )
