"""Which statements of a log give the same when they are run again, by a catalog that is made by hand."""

import struct
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.adapters.postgres.csvlog.judgement.catalog import Catalog, Column, Relation
from pgkeep.adapters.postgres.csvlog.judgement.doubtful import Doubtful
from pgkeep.adapters.postgres.csvlog.judgement.judge import Judge
from pgkeep.adapters.postgres.csvlog.judgement.literals import Literal, check_quotes, template
from pgkeep.adapters.postgres.csvlog.judgement.survey import is_constant
from pgkeep.adapters.postgres.csvlog.judgement.values import check_stored, elements, key_text
from pgkeep.adapters.postgres.csvlog.model import Doubt, Exact, Judgement

ID = Column(name="id", type="int4")
ALL = frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE"})


def relation(name: str, *columns: Column, schema: str = "public", key: tuple[str, ...] = ("id",)) -> Relation:
    return Relation(schema=schema, name=name, columns=(ID, *columns), key=key)


ITEM = relation(
    "item",
    Column(name="name", type="text"),
    Column(name="amount", type="numeric", modifier=(12 << 16 | 2) + 4),
    Column(name="ratio", type="float8"),
    Column(name="small", type="float4"),
    Column(name="at", type="timestamptz", immutable=False),
    Column(name="local", type="timestamp", immutable=False),
    Column(name="day", type="date", immutable=False),
    Column(name="hour", type="time", immutable=False),
    Column(name="done", type="bool"),
    Column(name="code", type="varchar", modifier=4 + 4),
    Column(name="fixed", type="bpchar", modifier=4 + 4),
    Column(name="data", type="bytea"),
    Column(name="about", type="jsonb"),
    Column(name="span", type="interval", immutable=False),
    Column(name="cash", type="money", immutable=False),
    Column(name="many", type="_int4", immutable=False),
    Column(name="words", type="_text", immutable=False),
    Column(name="token", type="uuid"),
    Column(name="mood", type="mood", system=False, enum=True, immutable=False),
    Column(name="bits", type="varbit"),
    Column(name="bytewise", type="text", collation="bytes"),
    Column(name="loose", type="text", collation="loose"),
    Column(name="kind", type="reg", system=False, immutable=False),
    Column(name="net", type="inet"),
)
RELATIONS = (
    ITEM,
    replace(ITEM, name="keyed", columns=(Column(name="key", type="int4"), *ITEM.columns), key=("key",)),
    relation("pair", Column(name="b", type="text"), Column(name="c", type="int4"), key=("id", "b")),
    relation("keyless", key=()),
    relation("by_uuid", replace(ID, name="u", type="uuid"), key=("u",)),
    relation("by_code", Column(name="code", type="varchar", modifier=4 + 4), key=("code",)),
    relation("by_char", Column(name="fixed", type="bpchar", modifier=8), key=("fixed",)),
    replace(relation("two_keys", Column(name="b", type="int4")), unique=True),
    replace(relation("deferred"), deferrable=True),
    relation("stamped", Column(name="at", type="timestamptz", default="computed")),
    relation("defaulted", Column(name="b", type="text", default="constant")),
    relation("made", Column(name="b", type="int4", default="computed", generated=True)),
    replace(relation("triggered", Column(name="b", type="int4")), triggers=frozenset({"UPDATE"})),
    replace(relation("ruled"), rules=True),
    replace(relation("secured"), row_security=True),
    replace(relation("parent"), on_delete=True),
    replace(relation("moved", Column(name="b", type="int4")), on_update=frozenset({"id"})),
    replace(relation("part"), family=True),
    replace(relation("quick"), unlogged=True),
    replace(relation("extended"), of_extension=True),
    replace(relation("checked"), calling=True),
    relation("twice"),
    relation("twice", schema="other"),
    relation("away", schema="other"),
    relation('Odd "Name', Column(name="Größe", type="int4"), schema="My Schema"),
    Relation(schema="public", name="seen", kind="v"),
    Relation(schema="public", name="restless", kind="v", restless=True),
    Relation(schema="public", name="abroad", kind="f"),
    Relation(schema="public", name="parts", kind="p", family=True),
    relation("cache", Column(name="b", type="text")),
    replace(relation("noisy_cache"), triggers=ALL),
    replace(relation("mother"), family=True, parent=True),
    relation("hidden"),
    relation("pg_thing"),
)  # fmt: skip
CATALOG = Catalog(
    relations={(each.schema, each.name): each for each in RELATIONS},
    others=frozenset({"item_pkey"}),
    system=frozenset({"pg_class", "pg_thing"}),
    temporary=frozenset({"hidden", "scratch", "scratch_view"}),
    busy=frozenset({"scratch_view"}),
    functions=frozenset({"now", "count", "lower", "nextval", "setval", "lo_unlink", "set_config", "query_to_xml"}),
    users_functions=frozenset({"writes", "reads"}),
    volatile=frozenset({"writes"}),
    volatile_operators=frozenset({"@@@"}),
    types=frozenset({"mood", "tricky"}),
)
IGNORED = [("public", "mother"), ("public", "cache"), ("public", "noisy_cache")]


def verdict(sql: str, *, bound: bool = False, catalog: Catalog = CATALOG) -> Judgement:
    return Judge(catalog=catalog, ignored=IGNORED, temporary={"window_temp"}).judge(sql.encode(), bound=bound)


NOTHING = """
SELECT 1
SELECT * FROM item
SELECT i.id, count(*) FROM public.item i JOIN pair p ON p.id = i.id GROUP BY 1 ORDER BY 1 LIMIT 5
SELECT * FROM seen WHERE id IN (SELECT id FROM item)
SELECT lower(name), now(), current_date FROM item FOR UPDATE SKIP LOCKED
SELECT nextval('item_id_seq'), setval('item_id_seq', 5)
SELECT pg_catalog.now()
SELECT reads(1)
SELECT $1 + 1
SELECT name ~ '\\d+' FROM item
WITH a AS (SELECT 1 AS n) SELECT * FROM a
SELECT * FROM pg_catalog.pg_stat_activity
SELECT * FROM information_schema.tables
SELECT * FROM pg_class
SELECT * FROM scratch
SELECT * FROM window_temp
TABLE item
VALUES (1), (2)
SHOW search_path
SET application_name = 'x'
SET LOCAL statement_timeout = '5s'
SET search_path TO other, public
SET TIME ZONE 'Asia/Tokyo'
SET DateStyle = 'German'
SET my.variable = 'x'
SET enable_seqscan = off
SET extra_float_digits = 3
SET ROLE somebody
SET SESSION AUTHORIZATION somebody
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
RESET ALL
RESET search_path
DISCARD ALL
DEALLOCATE ALL
PREPARE a AS INSERT INTO item (id) VALUES ($1)
LISTEN a
NOTIFY a, 'b'
UNLISTEN *
DECLARE c CURSOR FOR SELECT * FROM item
FETCH 5 FROM c
MOVE 5 FROM c
CLOSE c
COPY item TO STDOUT
COPY (SELECT * FROM item) TO STDOUT
EXPLAIN DELETE FROM item
EXPLAIN ANALYZE SELECT * FROM item
LOCK TABLE item
VACUUM ANALYZE item
ANALYZE
REINDEX TABLE item
CHECKPOINT
CREATE TEMP TABLE fresh (id int, b text DEFAULT now())
CREATE TEMPORARY TABLE fresh AS SELECT * FROM item
INSERT INTO scratch SELECT * FROM item
DELETE FROM pg_temp.scratch
TRUNCATE scratch
DROP TABLE scratch
CREATE INDEX ON scratch (id)
COPY scratch FROM STDIN
INSERT INTO cache SELECT id, lower(name) FROM item
INSERT INTO public.cache (id) VALUES (1) ON CONFLICT DO NOTHING RETURNING *
UPDATE cache SET b = now()
DELETE FROM cache
TRUNCATE cache
COPY cache FROM STDIN
""".strip().split("\n")


@pytest.mark.parametrize("sql", NOTHING)
def test_what_writes_nothing_that_is_kept_is_exact_without_sql(sql: str) -> None:
    assert verdict(sql) == Exact(sql=b"", writes=())


EXACT: list[tuple[str, str, tuple[str, ...] | None]] = [
    ("INSERT INTO item (id) VALUES (1)", 'INSERT INTO "public"."item" (id) VALUES (1)', ("1",)),
    ("INSERT INTO item VALUES (007, 'a')", 'INSERT INTO "public"."item" VALUES (007, \'a\')', ("7",)),
    ("insert into Item(id) values('-5'),(6)", 'insert into "public"."item"(id) values(\'-5\'),(6)', ("-5", "6")),
    ("DELETE FROM item WHERE id = - 5", 'DELETE FROM "public"."item" WHERE id = - 5', ("-5",)),
    ("DELETE FROM item WHERE 5 = id", 'DELETE FROM "public"."item" WHERE 5 = id', ("5",)),
    ("DELETE FROM item WHERE id = '5'::bigint", 'DELETE FROM "public"."item" WHERE id = \'5\'::bigint', ("5",)),
    ("DELETE FROM ONLY public . item AS i WHERE i.id IN (1, '2')",
     'DELETE FROM ONLY "public"."item" AS i WHERE i.id IN (1, \'2\')', ("1", "2")),
    ("DELETE FROM item WHERE id = ANY ('{3,4}'::int[])",
     'DELETE FROM "public"."item" WHERE id = ANY (\'{3,4}\'::int[])', ("3", "4")),
    ("DELETE FROM item WHERE id = ANY (ARRAY[3,4])", 'DELETE FROM "public"."item" WHERE id = ANY (ARRAY[3,4])',
     ("3", "4")),
    ("UPDATE item SET name = 'it''s' WHERE id = 1 AND done",
     'UPDATE "public"."item" SET name = \'it\'\'s\' WHERE id = 1 AND done', ("1",)),
    ("UPDATE item SET name = E'a\\\\b', done = DEFAULT WHERE item.id = 1 RETURNING id, name",
     'UPDATE "public"."item" SET name = E\'a\\\\b\', done = DEFAULT WHERE item.id = 1 ', ("1",)),
    ("UPDATE item SET name = $x$a\\b$x$ WHERE id = 1", 'UPDATE "public"."item" SET name = $x$a\\b$x$ WHERE id = 1',
     ("1",)),
    ("UPDATE item SET id = 2 WHERE id = 1", 'UPDATE "public"."item" SET id = 2 WHERE id = 1', None),
    ("UPDATE item SET name = NULL", 'UPDATE "public"."item" SET name = NULL', None),
    ("DELETE FROM item WHERE id = 1 OR id = 2", 'DELETE FROM "public"."item" WHERE id = 1 OR id = 2', None),
    ("DELETE FROM item WHERE NOT id = 1", 'DELETE FROM "public"."item" WHERE NOT id = 1', None),
    ("DELETE FROM item WHERE id <> 1", 'DELETE FROM "public"."item" WHERE id <> 1', None),
    ("DELETE FROM item WHERE amount BETWEEN 1.5 AND 2", 'DELETE FROM "public"."item" WHERE amount BETWEEN 1.5 AND 2',
     None),
    ("DELETE FROM item WHERE at < '2020-01-01T00:00:00Z'",
     'DELETE FROM "public"."item" WHERE at < \'2020-01-01T00:00:00Z\'', None),
    ("DELETE FROM item WHERE name LIKE 'a%' AND name IS NOT NULL AND mood = 'good'",
     'DELETE FROM "public"."item" WHERE name LIKE \'a%\' AND name IS NOT NULL AND mood = \'good\'', None),
    ("DELETE FROM item WHERE bytewise < 'm'", 'DELETE FROM "public"."item" WHERE bytewise < \'m\'', None),
    ("DELETE FROM item WHERE done IS TRUE AND done = true",
     'DELETE FROM "public"."item" WHERE done IS TRUE AND done = true', None),
    *((f"INSERT INTO item {rest}", f'INSERT INTO "public"."item" {rest}', ("1",)) for rest in (
        "(id, data, many) VALUES (1, E'\\\\x00ff', '{1,2}')",
        "(id, words) VALUES (1, '{a,\"NULL\",\"b, c\"}')",
        "(id, token) VALUES (1, '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}')",
        "(id, at, local) VALUES (1, '2020-05-04 10:00:00+09', '2020-05-04 10:00:00.5')",
        "(id, day, hour) VALUES (1, DATE '2020-05-04', '10:00')",
    )),
    ("INSERT INTO pair VALUES (1, 'a:b', 3)", 'INSERT INTO "public"."pair" VALUES (1, \'a:b\', 3)', ("1:13:a:b",)),
    ("DELETE FROM pair WHERE b IN ('x','y') AND id = 1",
     'DELETE FROM "public"."pair" WHERE b IN (\'x\',\'y\') AND id = 1', ("1:11:x", "1:11:y")),
    ("DELETE FROM pair WHERE id = 1", 'DELETE FROM "public"."pair" WHERE id = 1', None),
    ("INSERT INTO keyless VALUES (1)", 'INSERT INTO "public"."keyless" VALUES (1)', None),
    ("INSERT INTO two_keys VALUES (1, 2)", 'INSERT INTO "public"."two_keys" VALUES (1, 2)', None),
    ("DELETE FROM by_uuid WHERE u = '{A0EEBC999C0B4EF8BB6D6BB9BD380A11}'",
     'DELETE FROM "public"."by_uuid" WHERE u = \'{A0EEBC999C0B4EF8BB6D6BB9BD380A11}\'',
     ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",)),
    ("INSERT INTO by_code (id, code) VALUES (1, 'abcd')",
     'INSERT INTO "public"."by_code" (id, code) VALUES (1, \'abcd\')', ("abcd",)),
    ("INSERT INTO by_code (id, code) VALUES (1, 'abcd  ')",
     'INSERT INTO "public"."by_code" (id, code) VALUES (1, \'abcd  \')', None),
    ("DELETE FROM by_char WHERE fixed = 'a'", 'DELETE FROM "public"."by_char" WHERE fixed = \'a\'', None),
    ("INSERT INTO stamped VALUES (1, '2020-01-01 00:00+00')",
     'INSERT INTO "public"."stamped" VALUES (1, \'2020-01-01 00:00+00\')', ("1",)),
    ("INSERT INTO defaulted (id, b) VALUES (1, DEFAULT)",
     'INSERT INTO "public"."defaulted" (id, b) VALUES (1, DEFAULT)', ("1",)),
    ("INSERT INTO made (id, b) VALUES (1, DEFAULT)", 'INSERT INTO "public"."made" (id, b) VALUES (1, DEFAULT)', ("1",)),
    ("INSERT INTO triggered VALUES (1, 2)", 'INSERT INTO "public"."triggered" VALUES (1, 2)', ("1",)),
    ("UPDATE moved SET b = 1 WHERE id = 1", 'UPDATE "public"."moved" SET b = 1 WHERE id = 1', ("1",)),
    ("INSERT INTO parent VALUES (1)", 'INSERT INTO "public"."parent" VALUES (1)', ("1",)),
    ("UPDATE away SET id = 1 WHERE id = 1", 'UPDATE "other"."away" SET id = 1 WHERE id = 1', None),
    ("DELETE FROM other.twice WHERE id = 1", 'DELETE FROM "other"."twice" WHERE id = 1', ("1",)),
    ("DELETE FROM public.hidden WHERE id = 1", 'DELETE FROM "public"."hidden" WHERE id = 1', ("1",)),
    ('UPDATE "My Schema"."Odd ""Name" SET "Größe" = 1 WHERE id = 1',
     'UPDATE "My Schema"."Odd ""Name" SET "Größe" = 1 WHERE id = 1', ("1",)),
    ("/* 'ü */ -- it's\nDELETE /* FROM item */ FROM item -- '\nWHERE id = 1 -- the end",
     "DELETE /* FROM item */ FROM \"public\".\"item\" -- '\nWHERE id = 1 -- the end", ("1",)),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "emitted", "keys"), EXACT)
def test_literals_into_columns_are_exact(sql: str, emitted: str, keys: tuple[str, ...] | None) -> None:
    found = verdict(sql)
    assert isinstance(found, Exact), found
    assert (found.sql.decode(), found.writes[0].keys) == (emitted, keys)


def test_several_statements_of_one_string_are_one() -> None:
    found = verdict(
        "SELECT 1; INSERT INTO pair VALUES (1, 'ü;', 2) -- no; end\n; SELECT 2; DELETE FROM item WHERE id=3;"
    )
    assert isinstance(found, Exact)
    assert [(write.name, write.keys, write.inserted) for write in found.writes] == [
        ("pair", ("1:12:ü;",), 1),
        ("item", ("3",), 0),
    ]
    assert [part.strip() for part in found.sql.decode().split("\n;\n")] == [
        'INSERT INTO "public"."pair" VALUES (1, \'ü;\', 2) -- no; end',
        'DELETE FROM "public"."item" WHERE id=3',
    ]


DOUBTS = """
INSERT INTO item (id) VALUES (1 + 1) | a value is computed (A_Expr)
INSERT INTO item (id, at) VALUES (1, now()) | a value is computed (FuncCall)
INSERT INTO item (id, day) VALUES (1, CURRENT_DATE) | a value is computed (SQLValueFunction)
INSERT INTO item (id) VALUES ((SELECT 1)) | a value is computed (SubLink)
INSERT INTO item (id) VALUES ($1) | a value is computed (ParamRef)
INSERT INTO item (id) VALUES (nextval('s')) | a value is computed (FuncCall)
INSERT INTO item (id, at) VALUES (1, 'now') | in a notation that depends on settings
INSERT INTO item (id, at) VALUES (1, 'today 10:00') | in a notation that depends on settings
INSERT INTO item (id, at) VALUES (1, '2020-01-01 10:00:00') | in a notation that depends on settings
INSERT INTO item (id, at) VALUES (1, '2020-01-01 10:00:00 CET') | in a notation that depends on settings
INSERT INTO item (id, at) VALUES (1, '2020-01-01 10:00:00 Asia/Tokyo') | in a notation that depends on settings
INSERT INTO item (id, at) VALUES (1, '01.02.2020 10:00:00+01') | in a notation that depends on settings
INSERT INTO item (id, day) VALUES (1, '01/02/2020') | in a notation that depends on settings
INSERT INTO item (id, day) VALUES (1, 'tomorrow') | in a notation that depends on settings
INSERT INTO item (id, day) VALUES (1, DATE 'yesterday') | in a notation that depends on settings
INSERT INTO item (id, local) VALUES (1, 'now'::timestamp) | in a notation that depends on settings
INSERT INTO item (id, hour) VALUES (1, 'allballs') | in a notation that depends on settings
INSERT INTO item (id, span) VALUES (1, '1 day') | may depend on settings
INSERT INTO item (id, cash) VALUES (1, '12.50') | may depend on settings
INSERT INTO item (id, kind) VALUES (1, 'x') | may depend on settings
INSERT INTO item (id, bits) VALUES (1, B'101') | a bit string
INSERT INTO item (id, name) VALUES (1, 'a\\b') | standard_conforming_strings
INSERT INTO item (id, data) VALUES (1, '\\x00ff') | standard_conforming_strings
INSERT INTO item (id, name) VALUES (1, U&'\\0041') | depends on settings
INSERT INTO item (id, many) VALUES (1, '{1,NULL}') | with NULL
INSERT INTO item (id, words) VALUES (1, '{a,null}') | with NULL
INSERT INTO item (id, many) VALUES (1, '[0:1]={1,2}') | an unusual notation
INSERT INTO item (id, many) VALUES (1, ARRAY[1]) | a value is computed (A_ArrayExpr)
INSERT INTO item (id) VALUES (0x1F) | a notation that not every server knows
INSERT INTO item (id) VALUES (1_000) | a notation that not every server knows
INSERT INTO item (id, mood) VALUES (1, 'good'::mood) | a type of this database
INSERT INTO item (id, name) VALUES (1, 'x'::tricky) | a type of this database
INSERT INTO item (id, name) VALUES (1, 'today'::date) | cast to another type
INSERT INTO item (id, name) VALUES (1, 'now'::timestamp::text) | a value is computed (TypeCast)
INSERT INTO item (id, code) VALUES (1, 'abcdef'::varchar(4)) | a type with a length
INSERT INTO item (many[1]) VALUES (1) | a part of a column
INSERT INTO item (ctid) VALUES ('(0,1)') | a column that is not known
INSERT INTO item DEFAULT VALUES | DEFAULT VALUES
INSERT INTO item SELECT 1 | rows that are selected
INSERT INTO item VALUES (1) LIMIT 1 | rows that are selected
INSERT INTO item (id) VALUES (1) ON CONFLICT DO NOTHING | ON CONFLICT
INSERT INTO item (id) VALUES (1) RETURNING writes(id) | RETURNING
INSERT INTO item (id) OVERRIDING USER VALUE VALUES (1) | OVERRIDING USER VALUE
WITH a AS (SELECT 1) INSERT INTO item (id) VALUES (1) | WITH
INSERT INTO stamped (id) VALUES (1) | no value for at, whose default is computed
INSERT INTO stamped VALUES (1, DEFAULT) | DEFAULT for at
UPDATE stamped SET at = DEFAULT | DEFAULT for at
UPDATE item SET id = id + 1 | a value is computed
UPDATE item SET name = lower(name) | a value is computed
UPDATE item SET name = code | a value is computed
UPDATE item SET (name, code) = ('a', 'b') | a value is computed
UPDATE item SET name = 'x' FROM pair WHERE item.id = pair.id | UPDATE .. FROM
UPDATE item SET name = 'x' WHERE CURRENT OF c | CurrentOfExpr
UPDATE item SET name = 'x' WHERE id = (SELECT 1) | a value is computed
UPDATE item SET name = 'x' WHERE id IN (SELECT 1) | comparisons with literals
UPDATE item SET name = 'x' WHERE EXISTS (SELECT 1) | comparisons with literals
UPDATE item SET name = 'x' WHERE writes(id) | comparisons with literals
UPDATE item SET name = 'x' WHERE lower(name) = 'x' | something is computed
UPDATE item SET name = 'x' WHERE id + 1 = 2 | something is computed
UPDATE item SET name = 'x' WHERE id = ratio | a value is computed
UPDATE item SET name = 'x' WHERE at < now() | a value is computed
UPDATE item SET name = 'x' WHERE at < 'now' | depends on settings
UPDATE item SET name = 'x' WHERE at < '2020-01-01' | depends on settings
UPDATE item SET name = 'x' WHERE name = NULL | transform_null_equals
UPDATE item SET name = 'x' WHERE name < 'm' | the order
UPDATE item SET name = 'x' WHERE loose = 'm' | may come out otherwise
UPDATE item SET name = 'x' WHERE mood > 'good' | the order
UPDATE item SET name = 'x' WHERE about = '{}' | may come out otherwise
UPDATE item SET name = 'x' WHERE name ~ 'x' | a WHERE with ~
UPDATE item SET name = 'x' WHERE name ILIKE 'x' | a WHERE with
UPDATE item SET name = 'x' WHERE fixed LIKE 'x' | LIKE on something
UPDATE item SET name = 'x' WHERE id OPERATOR(public.=) 1 | may be one of this database
UPDATE item SET name = 'x' WHERE ctid = '(0,1)' | other than the table's columns
UPDATE item SET name = 'x' WHERE item IS NULL | other than the table's columns
UPDATE item SET name = 'x' WHERE item.writes | other than the table's columns
UPDATE item SET name = 'x' WHERE id = 99999999999 AND name = 5 | is of another type
UPDATE item SET name = 'x' WHERE id = '99999999999' | does not fit
UPDATE item SET name = 'x' WHERE id = '5.5' | does not fit
UPDATE item SET name = 'x' WHERE local < '2020-01-01 00:00:00+00' | a moment of another type
UPDATE item SET name = 'x' WHERE id = ALL ('{1}') | a WHERE with =
DELETE FROM item USING pair WHERE item.id = pair.id | DELETE .. USING
DELETE FROM parent WHERE id = 1 | rows of another table
UPDATE moved SET id = 1 WHERE id = 2 | rows of another table
UPDATE triggered SET b = 1 WHERE id = 1 | UPDATE public.triggered: it has a trigger
INSERT INTO ruled VALUES (1) | INSERT public.ruled: it has a rule
INSERT INTO secured VALUES (1) | row security
INSERT INTO part VALUES (1) | a partition
INSERT INTO parts VALUES (1) | a partitioned table
INSERT INTO quick VALUES (1) | UNLOGGED
INSERT INTO extended VALUES (1) | an extension
INSERT INTO checked VALUES (1) | calls a volatile function
INSERT INTO seen VALUES (1) | a view
INSERT INTO abroad VALUES (1) | a foreign table
INSERT INTO twice VALUES (1) | its name alone does not tell which
INSERT INTO hidden VALUES (1) | its name alone does not tell which
INSERT INTO pg_thing VALUES (1) | its name alone does not tell which
INSERT INTO unknown VALUES (1) | its name alone does not tell which
INSERT INTO elsewhere.item VALUES (1) | its name alone does not tell which
INSERT INTO U&"item" VALUES (1) | an unusual way
INSERT INTO noisy_cache VALUES (1) | a trigger
DELETE FROM mother | rows of other tables
INSERT INTO cache SELECT writes(1) | a call of writes()
WITH a AS (DELETE FROM item RETURNING *) INSERT INTO cache SELECT id FROM a | DELETE within
WITH a AS (DELETE FROM item RETURNING *) SELECT * FROM a | DELETE within
WITH a AS (INSERT INTO item VALUES (1) RETURNING *) SELECT * FROM a | INSERT within
WITH a AS (UPDATE item SET id = 1 RETURNING *) SELECT * FROM a | UPDATE within
SELECT * INTO fresh FROM item | SELECT INTO
SELECT writes(1) | a call of writes(), a volatile function
SELECT public.writes(1) | a call of writes(), a volatile function
SELECT i.writes FROM item i | a call of writes(), a volatile function
SELECT (i).writes FROM item i | a call of writes(), a volatile function
SELECT id @@@ 1 FROM item | an operator of this database
SELECT unknown(1) | a function that is not known
SELECT other.now() | a function that is not known
SELECT lo_unlink(5) | a call of lo_unlink()
SELECT pg_catalog.lo_unlink(5) | a call of lo_unlink()
SELECT set_config('session_replication_role', 'x', false) | a call of set_config()
SET TRANSACTION SNAPSHOT '00000003-1B-1' | SET TRANSACTION SNAPSHOT
SELECT set_config('search_' || 'path', 'x', false) | a call of set_config()
SELECT query_to_xml('SELECT writes()', true, true, '') | a call of query_to_xml()
SELECT dblink_exec('DELETE FROM item') | a function that is not known
SELECT * FROM restless | it may call a volatile function
SELECT * FROM scratch_view | a temporary relation
SELECT * FROM nowhere | a relation that is not known
EXPLAIN ANALYZE DELETE FROM item | EXPLAIN ANALYZE
EXPLAIN (ANALYZE) SELECT writes(1) | a call of writes()
DECLARE c CURSOR FOR SELECT writes(1) | a call of writes()
COPY (DELETE FROM item RETURNING *) TO STDOUT | COPY of what
COPY item FROM STDIN | COPY FROM public.item: the rows are not in the log
COPY twice FROM STDIN | COPY FROM into some table
MERGE INTO item USING pair ON item.id = pair.id WHEN MATCHED THEN DELETE | MERGE into public.item
TRUNCATE item | TRUNCATE public.item
TRUNCATE cache, item | TRUNCATE public.item
TRUNCATE cache CASCADE | TRUNCATE public.cache
CALL writes(1) | CALL
DO $$BEGIN END$$ | DO
EXECUTE a(1) | EXECUTE
CREATE TABLE fresh (id int) | CREATE TABLE
CREATE TABLE fresh AS SELECT 1 | CREATE TABLE AS
CREATE TEMP TABLE item (id int) | the name of another relation
CREATE TEMP TABLE item AS SELECT 1 | the name of another relation
CREATE TEMP TABLE fresh AS SELECT writes(1) | a call of writes()
CREATE TEMP VIEW fresh AS SELECT 1 | does not carry (View)
CREATE INDEX ON item (id) | CREATE INDEX
DROP TABLE item | DROP
ALTER TABLE item ADD COLUMN x int | does not carry (AlterTable)
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1' | does not carry (CreateFunction)
GRANT SELECT ON item TO somebody | does not carry (Grant)
REFRESH MATERIALIZED VIEW m | does not carry (RefreshMatView)
COMMENT ON TABLE item IS 'x' | does not carry (Comment)
SET session_replication_role = replica | SET session_replication_role
SET standard_conforming_strings = off | SET standard_conforming_strings
SET log_statement = none | SET log_statement
SET transform_null_equals = on | SET transform_null_equals
SET extra_float_digits = 0 | SET extra_float_digits
SET extra_float_digits = '-3' | SET extra_float_digits
SET CONSTRAINTS ALL DEFERRED | SET CONSTRAINTS
LOAD 'x' | does not carry (Load)
ALTER SYSTEM SET log_statement = none | does not carry (AlterSystem)
PREPARE TRANSACTION 'x' | two-phase commit
COMMIT PREPARED 'x' | two-phase commit
BEGIN; DELETE FROM item; COMMIT | with BEGIN or COMMIT among them
SELECT 1; SAVEPOINT a | with BEGIN or COMMIT among them
DELETE FROM item WHERE id = 1; DELETE FROM item WHERE id = 1 + 1 | a value is computed
SELEC 1 | the grammar
INSERT INTO item (id, name) VALUES (1, 'a\\'), (2, 'b') | a backslash before a quote
SELECT 'a\\'; DELETE FROM item; --' | a backslash before a quote
""".strip().split("\n")


@pytest.mark.parametrize("line", DOUBTS)
def test_what_may_come_out_otherwise_is_in_doubt(line: str) -> None:
    sql, _, reason = line.replace("\\\\", "\\").rpartition(" | ")
    found = verdict(sql)
    assert isinstance(found, Doubt), found
    assert reason in found.reason


BOUND = [
    ("name", "hello", True), ("name", "t", False), ("name", "f", False), ("name", "true", True),
    ("name", "10.0.0.1", False), ("name", "::1", False), ("name", "10.0.0.1:80", True), ("name", "blank ", False),
    ("amount", "5", True), ("amount", "12.50", True), ("amount", "12.345", True), ("amount", "12345.67", False),
    ("amount", "1234567.89", True), ("amount", "0.30000000000000004", False), ("amount", "1e+20", False),
    ("amount", "12345678901234567.123", True), ("ratio", "0.1", False), ("ratio", "0.5", True),
    ("ratio", "0.30000000000000004", True), ("ratio", "0.12345678912", True), ("ratio", "NaN", True),
    ("small", "0.1", True), ("small", "16777217", False), ("id", "5", True), ("id", "5.5", False),
    ("at", "2020-01-01 00:00:00+00", True), ("at", "2020-01-01 00:00:00", False),
    ("local", "2020-01-01 00:00:00+09", True), ("day", "2020-01-01 00:00:00", False), ("done", "t", True),
    ("bits", "101", False), ("token", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", True), ("about", '{"a": 1}', True),
    ("words", "{t}", False), ("words", "{hello}", True), ("mood", "good", True), ("net", "10.0.0.1", True),
    ("fixed", "x", True), ("fixed", "", False), ("name", "<a/>", False), ("name", "", True), ("many", "{5,7}", True),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "certain"), BOUND)
def test_a_parameter_is_certain_if_it_is_so_with_every_type(column: str, value: str, certain: bool) -> None:
    sql = f"INSERT INTO keyed (key, {column}) VALUES ('1', '{value}')"
    assert isinstance(verdict(sql, bound=True), Exact) == certain


@pytest.mark.parametrize(
    ("condition", "certain"),
    [
        ("id = '5'", True), ("id = '1'::int", False), ("id = '25'::int", False), ("id = '123456789'::int", True),
        ("id = '101010101'::int", False), ("id < '5'", False), ("id <> '5'", True), ("id < '123456789'::int", True),
        ("code = 'x'", False), ("code = 'x'::varchar", True), ("code LIKE 'x%'", True), ("name = 't'::text", False),
        ("name = 't'", True), ("name = ANY ('{t}'::text[])", False), ("name = ANY ('{t}')", True),
        ("id = ANY ('{5}'::int[])", False), ("data = '5'::bytea", False), ("data = '5'", True), ("amount = '5'", True),
        ("amount = '12345.67'", False), ("amount = '0.5'", True), ("small = '0.1'", False), ("small = '0.5'", True),
        ("ratio = '0.1'", False), ("name = 'x '", False), ("fixed = 'x'", True), ("fixed = 'x '", False),
        ("name = '10.0.0.1'", True), ("day = '2020-01-01'", True), ("id = ANY ('{1,2}')", True),
    ],
)  # fmt: skip
def test_a_parameter_in_where_likewise(condition: str, certain: bool) -> None:
    assert isinstance(verdict(f"DELETE FROM item WHERE {condition}", bound=True), Exact) == certain


@pytest.mark.parametrize(
    ("odd", "sql", "reason"),
    [
        (replace(CATALOG, odd_casts=True), "INSERT INTO item (id) VALUES (1)", "casts of this database"),
        (replace(CATALOG, volatile_casts=True), "SELECT 1", "a cast or a domain"),
        (replace(CATALOG, volatile=frozenset({"json_value"})), "SELECT 1", "own syntax"),
        (replace(CATALOG, operators=frozenset({"="})), "DELETE FROM item WHERE id = 1", "one of this database"),
        (replace(CATALOG, operators=frozenset({"<="})), "DELETE FROM item WHERE id BETWEEN 1 AND 2", "this database"),
        (replace(CATALOG, rounding=True), "INSERT INTO item (id) VALUES ('1')", "extra_float_digits"),
        (replace(CATALOG, codec=None), "INSERT INTO pair VALUES (1, 'ü', 1)", "the database's encoding"),
    ],
)
def test_what_users_have_made_of_a_database_counts(odd: Catalog, sql: str, reason: str) -> None:
    found = verdict(sql, bound=True, catalog=odd)
    assert isinstance(found, Doubt)
    assert reason in found.reason


def test_a_text_in_another_encoding_stays_as_it_is() -> None:
    latin = replace(CATALOG, codec="latin-1")
    found = Judge(catalog=latin).judge(b"INSERT INTO pair VALUES (1, 'a\xfc', 1)")
    assert isinstance(found, Exact)
    assert (found.sql, found.writes[0].keys) == (b'INSERT INTO "public"."pair" VALUES (1, \'a\xfc\', 1)', ("1:12:aü",))


def test_bytes_that_are_no_text_are_in_doubt() -> None:
    assert isinstance(Judge(catalog=CATALOG).judge(b"SELECT '\xff'"), Doubt)


def test_a_transaction_command_that_was_not_known_as_one_is_in_doubt() -> None:
    assert isinstance(verdict("BEGIN"), Doubt)


def test_a_temporary_table_is_known_once_it_was_created() -> None:
    judge = Judge(catalog=CATALOG)
    assert isinstance(judge.judge(b"SELECT * FROM fresh"), Doubt)
    assert judge.judge(b"CREATE TEMP TABLE fresh (id int)") == Exact(sql=b"", writes=())
    assert judge.judge(b"SELECT * FROM fresh") == Exact(sql=b"", writes=())
    assert judge.judge(b"INSERT INTO fresh SELECT id FROM item") == Exact(sql=b"", writes=())


def test_a_reason_does_not_show_values() -> None:
    for line in DOUBTS:
        found = verdict(line.rpartition(" | ")[0])
        assert isinstance(found, Doubt)
        assert not {"99999999999", "2020", "good'"} & {*found.reason.replace(":", " ").split()}


def test_literals_do_not_tell_templates_apart() -> None:
    one, other = b"SELECT 'a''b', 1.5, E'\\'' /* x */ FROM t1 -- z", b"SELECT '', 27, E'x' /* y */ FROM t1 -- ab"
    assert template(one) == template(other) == b"SELECT '', 0, E''   FROM t1  "
    assert template(b"SELECT 1 FROM t1") != template(b"SELECT 1 FROM t2")
    assert template(b'SELECT "1"') != template(b'SELECT "2"')
    assert [template(odd) for odd in (b"SELECT $$1$$", b"SELECT U&'1'", b"SELECT /* /* */ */ 1")] == [None] * 3


@pytest.mark.parametrize(
    "certain", [b"SELECT 'a\\b'", b"SELECT 'a\\\\'", b"SELECT E'a\\'b'", b"SELECT \"a\\\" FROM ''"]
)
def test_backslashes_within_a_string_do_not_move_its_end(certain: bytes) -> None:
    check_quotes(certain)


@pytest.mark.parametrize("uneven", [b"SELECT 'a\\'", b"SELECT 'a\\''", b"SELECT '\\\\\\'", b"SELECT /* * ' */ 'a\\'"])
def test_a_backslash_before_a_quote_may(uneven: bytes) -> None:
    with pytest.raises(Doubtful):
        check_quotes(uneven)


@pytest.mark.parametrize(
    ("expression", "type_", "shown", "constant"),
    [
        ("0", "int4", "integer", True), ("'x'::text", "text", "text", True), ("now()", "timestamptz", "x", False),
        ("('now'::text)::date", "date", "date", False), ("'2020-01-01'::date", "date", "date", True),
        ("'2020-01-01'::date", "timestamptz", "timestamp with time zone", False), ("true", "bool", "boolean", True),
        ("ARRAY[]::text[]", "_text", "text[]", True), ("'{}'::jsonb", "jsonb", "jsonb", True),
        ("nextval('s'::regclass)", "int4", "integer", False), ("('a'::text)::character varying", "varchar", "x", True),
        ("(1 + 1)", "int4", "integer", False), ("'-1'::integer", "int8", "bigint", True),
        ("NULL::text", "text", "text", True),
        ("CURRENT_USER", "name", "name", False), ("(now())::date", "date", "date", False),
    ],
)  # fmt: skip
def test_a_default_is_constant_if_it_was_read_at_once(expression: str, type_: str, shown: str, constant: bool) -> None:
    assert is_constant(expression, type_, shown) == constant


@given(st.integers(min_value=-(1 << 31), max_value=(1 << 31) - 1), st.integers(0, 5))
def test_equal_numbers_have_equal_keys(number: int, zeros: int) -> None:
    sign, digits = ("-", str(-number)) if number < 0 else ("", str(number))
    written = Literal(form="text", value=sign + "0" * zeros + digits)
    assert key_text(written, ID) == str(number)


@given(st.uuids(), st.sampled_from(["{%s}", "%s"]), st.booleans())
def test_equal_uuids_have_equal_keys(value: object, braces: str, upper: bool) -> None:
    written = braces % (str(value).upper() if upper else str(value))
    assert key_text(Literal(form="text", value=written), Column(name="u", type="uuid")) == str(value)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5))
def test_the_elements_of_an_array_are_read_as_they_were_written(values: list[str]) -> None:
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    found = elements(Literal(form="text", value="{" + ",".join(quoted) + "}"), Column(name="words", type="_text"))
    assert [each.value for each in found] == values


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_that_was_a_float4_is_no_certain_float8_unless_it_is_the_same(single: float) -> None:
    notation = "g" if abs(single) < 1e6 else "e"  # as PostgreSQL writes them
    texts = (f"{single:.{n}{notation}}" for n in range(1, 10))
    shortest = next(text for text in texts if struct.pack("f", float(text)) == struct.pack("f", single))
    literal = Literal(form="text", value=shortest)
    try:
        check_stored(literal, Column(name="ratio", type="float8"), bound=True)
    except Doubtful:
        return
    assert Fraction(shortest) == Fraction(single)


def test_what_set_config_sets_is_looked_at_each_time() -> None:
    judge = Judge(catalog=CATALOG)
    assert isinstance(judge.judge(b"SELECT set_config('search_path', 'a', false)"), Exact)
    assert isinstance(judge.judge(b"SELECT set_config('session_replication_role', 'replica', false)"), Doubt)
