"""What is judged exact, done twice: by an odd session in one database, as it is emitted in another. Nothing differs."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_csvlog_judgement import FIXED, Pair, check_keys, contents, numbers, pair_of, quoted
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.csvlog.judgement.judge import Judge
from pgkeep.adapters.postgres.csvlog.model import Exact

Connection = psycopg.Connection[tuple[object, ...]]

SETTINGS = {
    "DateStyle": ["German", "SQL, DMY", "Postgres, MDY", "ISO, YMD"],
    "TimeZone": ["'Asia/Tokyo'", "'America/St_Johns'", "'Europe/Berlin'", "'UTC'"],
    "IntervalStyle": ["iso_8601", "sql_standard", "postgres"],
    "search_path": [
        'other, "My Schema", public',
        '"My Schema", public, other, pg_catalog',
        'public, other, "My Schema"',
    ],
    "array_nulls": ["off", "on"],
    "transform_null_equals": ["on", "off"],
    "bytea_output": ["escape", "hex"],
    "standard_conforming_strings": ["off", "on"],
    "extra_float_digits": ["3", "1"],
}


def words(text: str) -> list[str]:
    """The words of a list; `_` is a blank."""
    return [word.replace("_", " ") for word in text.split()]


ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)
NUMBERS = (
    st.sampled_from(
        words("""
        NaN Infinity 0 1 -1 5 007 1.5 12345.67 0.1 1e5 1e-7 123456789.123 -0.30000000000000004 16777217
        9007199254740993 99999999999 0.5 123456.7 1.000 12.50 0.10000000149011612 3.4e38 12.345 1e+20 1234567
        5_ 0x1F 1_000
    """)
    )
    | st.integers(-(1 << 33), 1 << 33).map(str)
    | st.integers(-9, 9).map(str)
    | st.decimals(-(10**9), 10**9, places=3).map(str)
    | st.floats(width=32).map(str)
    | st.floats().map(str)
)
MOMENTS = (
    st.sampled_from(
        words("""
        now today tomorrow infinity -infinity epoch allballs 2020-05-04 2020-05-04T10:00:00Z 04.05.2020
        05/04/2020 10:00:00 24:00:00 10:00:00+09 2020-05-04_10:00:00 2020-05-04_10:00:00.123456+09:30
        2020-05-04_10:00:00-03:30 2020-05-04_10:00:00_BC 2020-05-04_24:00:00+00 20200504 2020-03-29_02:30:00+01
        2020-10-25_02:30:00 10:00 now_10:00 2020-05-04_10:00:00_CET 2020-05-04_10:00:00_Asia/Tokyo J2451187
        1_day 0020-01-01 2020-05-04_10:00:00.1234567+00
    """)
    )
    | st.datetimes().map(str)
    | st.dates().map(str)
    | st.times().map(str)
)
STRINGS = ANY | st.sampled_from(
    words("t f true on 10.0.0.1 10.0.0.1/24 ::1 good bad 101 \\\\x00ff \\\\ a\\\\b ü x x_ m b_ a_____ x' % 5 now $1")
)
LISTS = st.sampled_from(
    words("""
        {1,2} {3} {NULL} {} {a,b} {t} {"x_y"} {"NULL",null} [0:0]={1} {{1},{2}} {1,_2} {10.0.0.1} {now}
        {"2020-05-04_10:00:00+00"} {2020-05-04T10:00:00Z} {"2020-05-04_10:00:00"} {0.1,12345.67} {"a\\\\\\"b"}
    """)
)
OTHERS = st.uuids().map(str) | st.sampled_from(
    words("""
        A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11 {a0eebc999c0b4ef8bb6d6bb9bd380a11} {"a":1.50} "text" [1,null]
        10.0.0.1 10.0.0.1/24 10.0.0.0/8 08:00:2b:01:02:03 good bad 101 (1,2) t f true off \\\\x00ff abc 1_day
        P1D $5.00 5
    """)
)
KINDS = {
    "number": (NUMBERS, words("id amount free ratio small big tiny"), words("int2 int4 int8 numeric float4 float8")),
    "moment": (
        MOMENTS,
        words("at local day hour span zoned"),
        words("date time timetz timestamp timestamptz interval"),
    ),
    "string": (
        STRINGS,
        words("name code fixed bytewise"),
        words('text varchar bpchar name bool inet int4 float8 "char"'),
    ),
    "list": (LISTS, words("many words moments"), words("int4[] int8[] text[] numeric[] bool[] timestamptz[] float8[]")),
    "other": (
        OTHERS,
        words("done data about raw token mood net card bits path place"),
        words("bool uuid bytea json jsonb inet cidr macaddr varbit money interval public.mood oid"),
    ),
}
"""Values, columns and types that go together more often than not."""
TRIED = 1500
TRIES = st.one_of(
    *(st.tuples(values, st.sampled_from(columns), st.sampled_from(types)) for values, columns, types in KINDS.values()),
    st.tuples(
        st.one_of(*(values for values, _, _ in KINDS.values())),
        st.sampled_from([column for _, columns, _ in KINDS.values() for column in columns]),
        st.sampled_from([type_ for _, _, types in KINDS.values() for type_ in types]),
    ),
)


@pytest.fixture(scope="module", params=[13, 15, 18])
def pair(request: pytest.FixtureRequest, server_of: Callable[[int], Server]) -> Iterator[Pair]:
    with pair_of(server_of(request.param)) as found:
        yield found


def _set(connection: Connection, chosen: Mapping[str, str]) -> None:
    for name, value in chosen.items():
        try:
            connection.execute(f"SET LOCAL {name} = {value}".encode())
        except psycopg.Error as error:
            raise AssertionError(f"{name}: {error}") from error


def _agree(pair: Pair, run: Callable[[], bytes], *, bound: bool, seen: Counter[str]) -> None:
    """`run` does something in the source and gives the text that is in its log."""
    with pair.source.transaction(force_rollback=True), pair.copy.transaction(force_rollback=True):
        pair.source.execute(FIXED)
        before = contents(pair.source)[0]
        try:
            logged = run()
        except (psycopg.Error, UnicodeDecodeError):  # the latter: half a letter, of type "char"
            seen["failed"] += 1
            return
        found = Judge(catalog=pair.catalog).judge(logged, bound=bound)
        seen[type(found).__name__] += 1
        if isinstance(found, Exact):
            pair.copy.execute(found.sql or b"SELECT 1")
            one, two = pair.contents()
            assert one == two, logged
            check_keys(found, numbers(before, one[0]))


EVERYWHERE = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SETTINGS.items()})
OPERATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "LIKE", "IS DISTINCT FROM"])
WRITTEN = st.sampled_from(
    ["{q}", "{q}", "{q}", "{v}", "{q}::{t}", "{t} {q}", "CAST({q} AS {t})", "N{q}", "E{q}", "$x${v}$x$"]
)


def test_any_literal_for_any_column(pair: Pair) -> None:
    seen = Counter[str]()

    @settings(max_examples=TRIED)
    @given(TRIES, WRITTEN, EVERYWHERE, OPERATORS | st.just(""))
    def check(tried: tuple[str, str, str], form: str, chosen: Mapping[str, str], operator: str) -> None:
        value, column, type_ = tried
        written = form.format(q=quoted(value), v=value, t=type_)
        if operator:
            sql = f"UPDATE item SET code = 'hit', many = '{{3}}' WHERE {column} {operator} {written} AND id <> 0"
        else:
            sql = f"UPDATE item SET {column} = {written} WHERE id = 3"

        def run() -> bytes:
            _set(pair.source, chosen)
            pair.source.execute(sql.encode())
            return sql.encode()

        _agree(pair, run, bound=False, seen=seen)

    check()
    assert min(seen["Exact"], seen["Doubt"]) > 100, seen


def test_a_parameter_of_any_type_for_any_column(pair: Pair) -> None:
    seen = Counter[str]()

    @settings(max_examples=TRIED)
    @given(TRIES, EVERYWHERE, OPERATORS | st.just(""), st.booleans())
    def check(tried: tuple[str, str, str], chosen: Mapping[str, str], operator: str, cast: bool) -> None:
        value, column, type_ = tried
        target = f"::{type_}" if cast else ""
        if operator:
            template = f"DELETE FROM item WHERE {column} {operator} {{}}{target} AND id <> 0"
        else:
            template = f"UPDATE item SET {column} = {{}}{target} WHERE id = 3"
        _agree(pair, lambda: _with_parameter(pair.source, template, value, type_, chosen), bound=True, seen=seen)

    check()
    assert min(seen["Exact"], seen["Doubt"]) > 100, seen


def _with_parameter(source: Connection, template: str, value: str, type_: str, chosen: Mapping[str, str]) -> bytes:
    """Does it with a parameter of that type, and gives its text with the parameter as a log shows it."""
    _set(source, chosen)
    path = chosen["search_path"].encode()
    source.execute(b"SET LOCAL standard_conforming_strings = on; SET LOCAL search_path = " + path)
    source.execute(b"DEALLOCATE ALL; PREPARE p (" + type_.encode() + b") AS " + template.format("$1").encode())
    source.execute(f"EXECUTE p ({quoted(value)})".encode())
    row = source.execute(f"SELECT format('%s', {quoted(value)}::{type_})".encode()).fetchone()
    assert row
    return template.format(quoted(str(row[0]))).encode()


STATEMENTS = """
INSERT INTO item (id, name) VALUES (50, 'a'), (51, 'b') RETURNING id, name
insert into Public . Item as i (id, "at", many, words) values (50, '2020-05-04T10:00:00.5Z', '{1,2}', '{a,"b, c"}')
INSERT INTO pair (b, a) VALUES ('new', 3)
INSERT INTO pair VALUES (4, 'four', DEFAULT)
INSERT INTO away VALUES (77)
INSERT INTO "My Schema"."Odd ""Name" ("Größe", id) VALUES (-5, - 6)
INSERT INTO referring VALUES (1, 1, 'x')
INSERT INTO item (id, day, local) VALUES (60, '2020-02-01', '2020-02-01 10:00'); DELETE FROM pair WHERE a = 2 -- gone
UPDATE item SET name = 'it''s', amount = 1e3, done = false WHERE id IN (1, 2, 99)
UPDATE item SET mood = 'bad' WHERE mood = 'good' AND at BETWEEN '2019-01-01 00:00:00+09' AND '2021-01-01 00:00:00+00'
UPDATE item SET raw = '{"a": 1}', about = '{"b": 2.0}', net = '::1', card = '08:00:2b:01:02:03' WHERE id = 5
UPDATE away SET note = DEFAULT WHERE id = 5
UPDATE "Odd ""Name" SET id = 9 WHERE "Odd ""Name".id = 1
DELETE FROM item WHERE id = ANY ('{1,3}')
DELETE FROM item WHERE NOT done OR name LIKE 'x%' OR name IS NULL
DELETE FROM item i WHERE i.ratio >= 0.5 AND ratio <> 'NaN'
DELETE FROM pair
SELECT count(*) FROM item WHERE name ~ '^x' AND at < now()
SELECT nextval('serial_id_seq')
EXPLAIN DELETE FROM item
CREATE TEMP TABLE passing AS SELECT * FROM item
""".strip().split("\n")


@pytest.mark.parametrize("sql", STATEMENTS)
@pytest.mark.parametrize("odd", range(3))
def test_what_an_odd_session_did_is_done_again_by_a_plain_one(pair: Pair, sql: str, odd: int) -> None:
    seen = Counter[str]()

    def run() -> bytes:
        _set(pair.source, {name: values[odd % len(values)] for name, values in SETTINGS.items()})
        pair.source.execute(sql.encode())
        return sql.encode()

    _agree(pair, run, bound=False, seen=seen)
    assert seen == {"Exact": 1}
