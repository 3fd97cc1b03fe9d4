"""A database and its copy, in which what is judged exact is done twice."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from fix_postgres import Rows, new_database
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.csvlog.judgement.catalog import Catalog
from pgkeep.adapters.postgres.csvlog.judgement.survey import survey
from pgkeep.adapters.postgres.csvlog.model import Exact

Connection = psycopg.Connection[tuple[object, ...]]

SCHEMA = """
CREATE SCHEMA other;
CREATE SCHEMA "My Schema";
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE item (
    id int PRIMARY KEY, name text, amount numeric(12, 2), free numeric, ratio float8, small float4, at timestamptz,
    local timestamp, day date, hour time, done bool, code varchar(8), fixed char(8), data bytea, about jsonb, raw json,
    many int[], words text[], moments timestamptz[], token uuid, mood mood, net inet, card macaddr, big int8, tiny int2,
    span interval, bytewise text COLLATE "C", bits varbit, path cidr, place point, zoned timetz
);
CREATE TABLE pair (a int, b text, c int DEFAULT 7, PRIMARY KEY (a, b));
CREATE TABLE other.away (id bigint PRIMARY KEY, note text DEFAULT 'none');
CREATE TABLE "My Schema"."Odd ""Name" (id int PRIMARY KEY, "Größe" int);
CREATE TABLE serial (id serial PRIMARY KEY, at timestamptz DEFAULT now(), n int GENERATED ALWAYS AS (id_of(1)) STORED);
CREATE TABLE referring (id int PRIMARY KEY, pair_a int, pair_b text, FOREIGN KEY (pair_a, pair_b) REFERENCES pair);
"""
FUNCTION = "CREATE FUNCTION id_of(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';"

OWN = "INSERT INTO item (id, {columns}) VALUES ({id}, {values})"
BASELINE = {
    "name": ["x", "x ", "t", "10.0.0.1", "m", "", "true"],
    "amount": ["5", "12345.67", "0.1", "-1.50", "123456.7", "0.5"],
    "free": ["5", "0.1", "0.30000000000000004", "0.3", "5.00000000000000000001", "1e20"],
    "ratio": ["5", "0.1", "0.10000000149011612", "0.30000000000000004", "0.5", "NaN"],
    "small": ["5", "0.1", "0.5", "16777216", "-1", "Infinity"],
    "at": [
        "2020-05-04 10:00:00+00",
        "2020-05-04 01:00:00+00",
        "infinity",
        "2020-03-29 01:30:00+00",
        "2020-05-03 15:00:00+00",
    ],
    "local": ["2020-05-04 10:00:00", "2020-10-25 02:30:00", "2020-03-29 02:30:00", "-infinity", "2020-05-04"],
    "day": ["2020-05-04", "2020-04-05", "2020-01-01", "infinity"],
    "hour": ["10:00:00", "24:00:00", "00:00:00"],
    "done": ["t", "f"],
    "code": ["x", "x ", "b ", "t", "101"],
    "fixed": ["x", "x ", "t", "b a"],
    "data": ["a", "x", "101"],
    "token": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "mood": ["good", "bad"],
    "net": ["10.0.0.1", "10.0.0.1/24"],
    "big": ["5", "-1", "9007199254740993", "99999999999", "16777217"],
    "tiny": ["5", "-1", "7"],
    "bytewise": ["x", "m", "Z"],
}
"""Values that rows have before, by column."""
FIXED = (
    "SET LOCAL DateStyle = ISO; SET LOCAL TimeZone = UTC; SET LOCAL IntervalStyle = postgres;"
    "SET LOCAL bytea_output = hex; SET LOCAL extra_float_digits = 3; SET LOCAL search_path = pg_catalog"
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A session of a database, one of its copy, and what decides in both."""

    source: Connection
    copy: Connection
    catalog: Catalog

    def contents(self) -> tuple[list[Rows], list[Rows]]:
        for connection in (self.source, self.copy):
            connection.execute(FIXED)
        return contents(self.source), contents(self.copy)


@contextmanager
def pair_of(server: Server) -> Iterator[Pair]:
    made = FUNCTION + SCHEMA + ";".join(baseline())
    with (
        new_database(server, made=made) as origin,
        new_database(server, made=made) as other,
        origin.session() as source,
        other.session() as copy,
    ):
        copy.execute("SET session_replication_role = replica")
        yield Pair(source=source, copy=copy, catalog=survey(source))


def baseline() -> Iterator[str]:
    for i in range(1, 8):
        row = {column: values[i % len(values)] for column, values in BASELINE.items()}
        values = ", ".join("'" + value + "'" for value in row.values())
        yield OWN.format(columns=", ".join(row), id=i, values=values)
    yield "INSERT INTO item (id, big, tiny) VALUES (-3, -3, -3)"
    yield "INSERT INTO pair VALUES (1, 'x', 4), (2, 'y', 5)"
    yield "INSERT INTO other.away VALUES (1, 'x'), (5, 'y')"
    yield 'INSERT INTO "My Schema"."Odd ""Name" VALUES (1, 2), (2, 3)'


def contents(connection: Connection) -> list[Rows]:
    tables = ("public.item", "public.pair", "other.away", '"My Schema"."Odd ""Name"', "public.referring")
    return [connection.execute(f"SELECT r::text FROM {table} r ORDER BY 1".encode()).fetchall() for table in tables]


def quoted(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"E'{doubled}'".replace("\\", "\\\\") if "\\" in value else f"'{doubled}'"


def numbers(before: Rows, after: Rows) -> set[str]:
    """The keys of the items that are new, gone or other ones."""
    return {re.findall(r"-?\d+", str(row))[0] for row in {*before} ^ {*after}}


def check_keys(found: Exact, changed: set[str]) -> None:
    """No other rows than those that the keys name."""
    items = [write for write in found.writes if write.name == "item"]
    assert items or not changed
    assert all(write.keys is None or changed <= {*write.keys} for write in items)
