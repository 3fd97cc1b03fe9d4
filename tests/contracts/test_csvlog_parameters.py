"""Parameters of every type, for every column, in every place where one may stand: what is judged exact is so.

The log shows a parameter's text and not its type. So each text that a value of some type has is judged first; where
that is exact, the statement is done with a parameter of that very type, and as the log shows it. Nothing differs.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from fix_csvlog_judgement import FIXED, Connection, Pair, pair_of, quoted
from fix_postgres import Rows
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.csvlog.judgement.judge import Judge
from pgkeep.adapters.postgres.csvlog.model import Doubt, Exact

WHOLE = "5 -1 0 7 -5 10 101 12 123456789 2147483647"
BROKEN = """0.1 0.3 0.30000000000000004 12345.67 123456.7 0.5 1.000 12.50 NaN 1e20 5.00000000000000000001
    0.10000000149011612 -1.5"""
MOMENTS = "2020-05-04_10:00:00 2020-10-25_02:30:00+02 2020-10-25_02:30:00+01 infinity 2020-05-04"
SAID = """x x_ t f true 5 -1 101 0.1 10.0.0.1 ::1 2020-05-04 10:00:00 {} {x} <a/> null good
    a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 08:00:2b:01:02:03 \\x35"""
VALUES: dict[str, str] = {
    "int2": "5 -1 0 7 10 101 12 16777",
    "int4": f"{WHOLE} 16777217",
    "int8": f"{WHOLE} 16777217 9007199254740993 99999999999",
    "numeric": f"{WHOLE} {BROKEN} 16777217",
    "float4": f"{WHOLE} {BROKEN} Infinity 16777216",
    "float8": f"{WHOLE} {BROKEN} Infinity 16777217 9007199254740993",
    "bool": "t f",
    "text": SAID,
    "varchar": SAID,
    "bpchar": SAID,
    "name": SAID,
    '"char"': "@ x t 5 1 \\302",
    "date": "2020-05-04 2020-10-25 infinity",
    "time": "10:00:00 24:00:00",
    "timetz": "10:00:00+09 10:00:00",
    "timestamp": MOMENTS,
    "timestamptz": MOMENTS,
    "interval": "10:00:00 24:00:00 -01:00:00 1_day 00:00:05",
    "inet": "10.0.0.1 10.0.0.1/24 ::1",
    "cidr": "10.0.0.1 10.0.0.0/8",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:ff:fe:01:02:03",
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "bytea": "5 12 x @ \\x00ff 123456789",
    "json": '5 0.1 "x" {} {"a":1.0} true null 1.50',
    "jsonb": '5 0.1 "x" {} {"a":1.0} true null 1.50',
    "xml": '<a/> <?xml_version="1.0"?><a/> x <?xml_version="1.0"_encoding="UTF-8"?>_<a/>',
    "money": "5 0.1",
    "bit": "1",
    "varbit": "101 1 10",
    "oid": "5 7 0 4294967295",
    "xid": "5",
    "regclass": "public.item 7 5",
    "regtype": "int4 7",
    "public.mood": "good",
    "point": "(1,2)",
    "pg_lsn": "0/5",
    "int4[]": "{5} {5,-1} {}",
    "int8[]": "{5,99999999999}",
    "oid[]": "{5,7}",
    "numeric[]": "{0.1,0.30000000000000004} {5}",
    "float4[]": "{0.1,12345.67} {5}",
    "float8[]": "{0.1,0.30000000000000004} {5}",
    "bool[]": "{t} {f}",
    "text[]": '{x} {"x_"} {t} {10.0.0.1}',
    "bpchar[]": '{x} {"x_"} {t}',
    '"char"[]': '{x} {""} {t}',
    "inet[]": "{10.0.0.1}",
    "varbit[]": "{101}",
    "timestamptz[]": '{"2020-05-04_10:00:00+00"}',
    "timestamp[]": '{"2020-05-04_10:00:00"}',
    "int2vector": "5_7",
}
"""Types of parameters, and values of each; `_` is a blank, `@` nothing."""
CASTS: dict[str, str] = {
    "id": "int4 int8 int2",
    "name": "text varchar bpchar",
    "amount": "numeric float8",
    "free": "numeric int4",
    "ratio": "float8 float4",
    "small": "float4 float8",
    "at": "timestamptz timestamp",
    "local": "timestamp date",
    "day": "date timestamp",
    "hour": "time interval",
    "done": "bool",
    "code": "varchar text bpchar",
    "fixed": "bpchar text",
    "data": "bytea text",
    "about": "jsonb text",
    "raw": "json text",
    "many": "int4[] int8[]",
    "words": "text[] varchar[]",
    "moments": "timestamptz[]",
    "token": "uuid text",
    "mood": "public.mood",
    "net": "inet",
    "card": "macaddr",
    "big": "int8 int4",
    "tiny": "int2 int4",
    "span": "interval",
    "bytewise": "text varchar",
    "bits": "varbit",
    "path": "cidr",
    "place": "point",
    "zoned": "timetz",
}
"""Columns, and types that a parameter for them may be cast to in the statement."""
PLACES = (
    "UPDATE item SET {column} = {value} WHERE id = 3",
    "DELETE FROM item WHERE {column} = {value}",
    "DELETE FROM item WHERE {column} <> {value}",
    "DELETE FROM item WHERE {column} < {value}",
    "DELETE FROM item WHERE {column} > {value}",
    "DELETE FROM item WHERE {value} >= {column}",
    "DELETE FROM item WHERE {column} IN ({value})",
    "DELETE FROM item WHERE {column} IN ({value}, {value})",
    "DELETE FROM item WHERE {column} BETWEEN {value} AND {value}",
    "DELETE FROM item WHERE {column} = ANY ({value})",
    "DELETE FROM item WHERE {column} LIKE {value}",
    "DELETE FROM item WHERE {column} IS DISTINCT FROM {value}",
)
SHARE = 8
"""Of so many statements one is tried; with 1, all are: some 65,000 for each version."""
SESSIONS = (
    "SET LOCAL bytea_output = escape; SET LOCAL TimeZone = 'Europe/Berlin'; SET LOCAL IntervalStyle = sql_standard",
    "SET LOCAL bytea_output = hex; SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL IntervalStyle = postgres",
)


@dataclass(frozen=True, kw_only=True)
class Given:
    """A parameter: its type, how it is said, and its text in the log of a session."""

    type: str
    value: str
    logged: str


@pytest.fixture(scope="module", params=[13, 15, 18])
def pair(request: pytest.FixtureRequest, server_of: Callable[[int], Server]) -> Iterator[Pair]:
    with pair_of(server_of(request.param)) as found:
        yield found


def given(connection: Connection, session: str) -> Iterator[Given]:
    """Those that this server has; a text that is no text is in no log that can be read."""
    for type_, values in VALUES.items():
        for value in values.split():
            said = value.replace("_", " ").replace("@", "")
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(session.encode())
                    found = connection.execute(f"SELECT format('%s', {quoted(said)}::{type_})".encode()).fetchone()
            except (psycopg.Error, UnicodeDecodeError):
                continue
            assert found
            yield Given(type=type_, value=said, logged=str(found[0]))


def runs(pair: Pair, statement: str, type_: str) -> bool:
    """Whether the source takes the statement with a parameter of that type."""
    try:
        with pair.source.transaction(force_rollback=True):
            pair.source.execute(f"DEALLOCATE ALL; PREPARE p ({type_}) AS {statement}".encode())
    except psycopg.Error:
        return False
    return True


def differs(pair: Pair, statement: str, emitted: str, one: Given, session: str) -> bool | None:
    """Whether the statement gives something else when it is run again; None: it fails with that value."""
    with pair.source.transaction(force_rollback=True), pair.copy.transaction(force_rollback=True):
        try:
            pair.source.execute(f"{session}; DEALLOCATE ALL; PREPARE p ({one.type}) AS {statement}".encode())
            pair.source.execute(f"EXECUTE p ({quoted(one.value)}::{one.type})".encode())
        except psycopg.Error:
            return None
        try:
            pair.copy.execute(emitted.encode())
            return items(pair.source) != items(pair.copy)
        except (psycopg.Error, UnicodeDecodeError):
            return True


def items(connection: Connection) -> Rows:
    connection.execute(FIXED)
    return connection.execute("SELECT i::text FROM public.item i ORDER BY id").fetchall()


def logged(place: str, column: str, cast: str, one: Given) -> str:
    return place.format(column=column, value=quoted(one.logged) + cast)


def casts(place: str, column: str) -> Iterator[str]:
    brackets = "[]" if "ANY" in place else ""
    yield ""
    yield from (f"::{type_}{brackets}" for type_ in CASTS[column].split())


def certain(judge: Judge, parameters: list[Given], place: str, column: str, cast: str) -> Iterator[Given]:
    """The parameters with which a statement is judged exact."""
    verdicts = dict[str, bool]()
    for one in parameters:
        if one.logged not in verdicts:
            found = judge.judge(logged(place, column, cast, one).encode())
            verdicts[one.logged] = isinstance(found, Exact)
        if verdicts[one.logged]:
            yield one


def different(pair: Pair, parameters: list[Given], place: str, session: str, seen: Counter[object]) -> Iterator[str]:
    """The statements that are judged exact, and are not."""
    judge = Judge(catalog=pair.catalog)
    chance = random.Random(place + session)
    for column, cast in ((each, cast) for each in CASTS for cast in casts(place, each)):
        statement, taken = place.format(column=column, value=f"$1{cast}"), dict[str, bool]()
        for one in certain(judge, parameters, place, column, cast):
            if one.type not in taken:
                taken[one.type] = runs(pair, statement, one.type)
            if taken[one.type] and not chance.randrange(SHARE):
                emitted = logged(place, column, cast, one)
                found = differs(pair, statement, emitted, one, session)
                seen[found] += 1
                if found:
                    yield f"{one} in {emitted}"


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("place", PLACES)
def test_no_parameter_is_exact_that_may_be_another_value(pair: Pair, place: str, session: str) -> None:
    parameters, seen = list(given(pair.source, session)), Counter[object]()
    assert len(parameters) > 250
    found = list(different(pair, parameters, place, session, seen))
    assert found == []
    assert seen[False] > 200 / SHARE


HAZARDS = [
    ("UPDATE item SET name = {value} WHERE id = 3", "bool", "t"),
    ("UPDATE item SET name = {value} WHERE id = 3", "inet", "10.0.0.1"),
    ("UPDATE item SET name = {value} WHERE id = 3", "bpchar", "x "),
    ("UPDATE item SET free = {value} WHERE id = 3", "float4", "12345.67"),
    ("UPDATE item SET free = {value} WHERE id = 3", "float8", "0.30000000000000004"),
    ("UPDATE item SET ratio = {value} WHERE id = 3", "float4", "0.1"),
    ("UPDATE item SET hour = {value} WHERE id = 3", "interval", "24:00:00"),
    ("UPDATE item SET fixed = {value} WHERE id = 3", '"char"', ""),
    ("UPDATE item SET card = {value} WHERE id = 3", "macaddr8", "08:00:2b:ff:fe:01:02:03"),
    ("UPDATE item SET many = {value}::int4[] WHERE id = 3", "bit(3)[]", "{101}"),
    ("UPDATE item SET words = {value} WHERE id = 3", "bool[]", "{t}"),
    ("DELETE FROM item WHERE code = {value}", "bpchar", "x"),
    ("DELETE FROM item WHERE code = ANY ({value})", "bpchar[]", "{x}"),
    ("DELETE FROM item WHERE id < {value}", "oid", "5"),
    ("DELETE FROM item WHERE name = {value}::text", "bool", "t"),
    ("DELETE FROM item WHERE free = {value}", "float8", "5"),
    ("DELETE FROM item WHERE free = {value}::numeric", "float8", "0.30000000000000004"),
    ("DELETE FROM item WHERE small = {value}", "float8", "0.1"),
    ("DELETE FROM item WHERE ratio = {value}", "float4", "0.1"),
]


@pytest.mark.parametrize(("place", "type_", "value"), HAZARDS)
def test_the_text_of_a_parameter_may_be_another_value(pair: Pair, place: str, type_: str, value: str) -> None:
    statement, one = place.format(value="$1"), Given(type=type_, value=value, logged=value)
    emitted = place.format(value=quoted(value))
    assert differs(pair, statement, emitted, one, SESSIONS[0])
    assert isinstance(Judge(catalog=pair.catalog).judge(emitted.encode()), Doubt)
