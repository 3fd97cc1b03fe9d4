"""Whether a literal gives a column the same value, or compares with it in the same way, in every session.

What is not known of a session: DateStyle, IntervalStyle, TimeZone, bytea_output, array_nulls, search_path. And where a
statement had parameters (`bound`), the log shows them as text, but not the types that the program gave them: see
origins.py.
"""

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace

from .catalog import Column
from .doubtful import Doubtful
from .literals import Literal
from .origins import BY_CAST, COMPARED, FLOATS, STORED, STRINGS, TEXTS, UNSIGNED, Rule

INTEGERS: Mapping[str, int] = {"int2": 15, "int4": 31, "int8": 63}
"""Types, and of how many bits a number is."""
NUMBERS = FLOATS | {"numeric", *INTEGERS}
EQUAL = NUMBERS | STRINGS | {"bool", "uuid", "date", "time", "timestamp", "timestamptz", "inet", "macaddr", "bytea"}
"""Types whose values can be told to be equal: by PostgreSQL's own operators, the same way everywhere."""
ORDERED = NUMBERS | {"uuid", "date", "time", "timestamp", "timestamptz"}
ELEMENTS = frozenset({*INTEGERS, "numeric", "text", "varchar", "uuid", "bool", "float8", "date", "timestamptz"})
CERTAIN_IF_BOUND = EQUAL | {"json", "jsonb"}

DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
TIME = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
OFFSET = r" ?[+-]\d\d(?::\d\d(?::\d\d)?)?"
NOTATIONS: Mapping[str, re.Pattern[str]] = {
    "numeric": re.compile(r"-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|NaN)"),
    "float4": re.compile(r"-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Infinity)|NaN"),
    "float8": re.compile(r"-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Infinity)|NaN"),
    "bool": re.compile(r"t|f|true|false", re.IGNORECASE),
    "macaddr": re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}"),
    "date": re.compile(rf"{DATE}|-?infinity"),
    "time": re.compile(TIME),
    "timestamp": re.compile(rf"{DATE}(?:[ T]{TIME}(?:{OFFSET})?)?|-?infinity"),
    "timestamptz": re.compile(rf"{DATE}[ T]{TIME}(?:{OFFSET}|Z)|-?infinity"),
}
"""How a value must be written to be read in one way only."""
INTEGER = re.compile(r"-?\d+")
ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}\\\s]+)')


def check_stored(value: Literal, column: Column, *, bound: bool) -> None:
    """Raises Doubtful if it may become another value of that column."""
    _check_cast(value, column, bound=bound)
    if value.form == "null":
        return
    if value.form != "text":
        _check_unquoted(value, column, among=NUMBERS | TEXTS | {"bool"})
    elif column.type.startswith("_"):
        for element in elements(value, column):
            check_stored(element, _element(column), bound=bound)
    else:
        _check_text(value.value, column, bound=bound)
        _check_parameter(value.value, column, STORED, bound=bound)


def check_compared(value: Literal, column: Column, *, bound: bool, ordered: bool) -> None:
    """Raises Doubtful if a comparison of the column with it may come out otherwise. `ordered`: by < or >."""
    _check_cast(value, column, bound=bound)
    if value.form == "null":
        raise Doubtful("a comparison with NULL depends on transform_null_equals")
    check_comparable(column, ordered=ordered)
    if value.form != "text":
        _check_unquoted(value, column, among=NUMBERS | {"bool"})
        return
    _check_text(value.value, column, bound=bound)
    if column.type == "timestamp" and re.search(rf"{TIME}{OFFSET}$", value.value):
        raise Doubtful("a timestamp is compared with a moment of another type")
    if bound and ordered and value.cast is None and column.type in UNSIGNED:
        raise Doubtful(f"a parameter that {_described(column)} is compared with may have been an oid, without a sign")
    _check_parameter(value.value, column, STORED if value.cast else COMPARED, bound=bound)


def check_comparable(column: Column, *, ordered: bool) -> None:
    """Raises Doubtful if the values of a column are not compared in the same way everywhere."""
    known = (column.system and column.type in EQUAL) or column.enum
    if not known or (column.type in STRINGS and column.collation == "loose"):
        raise Doubtful(f"a comparison of {_described(column)} may come out otherwise elsewhere")
    as_bytes = column.type in TEXTS and column.collation == "bytes"
    if ordered and not as_bytes and (column.type not in ORDERED or column.enum):
        raise Doubtful(f"the order of {_described(column)} may be another one elsewhere")


def key_text(value: Literal, column: Column) -> str | None:
    """A text that equal values of a key have in common, and no others; None where there is none."""
    if value.form not in {"integer", "text"} or column.enum or not column.system:
        return None
    if column.type in INTEGERS and INTEGER.fullmatch(value.value):
        return str(int(value.value))
    if column.type == "uuid" and value.form == "text":
        return str(uuid.UUID(value.value))
    if column.type not in TEXTS or column.collation == "loose" or value.form != "text":
        return None
    fits = column.modifier < 0 or len(value.value) <= column.modifier - 4
    return value.value if fits else None


def elements(array: Literal, column: Column) -> Iterator[Literal]:
    """The elements of an array of one dimension, cast as it is. Raises Doubtful: NULL in it, or no such array."""
    whole, cast = array.value.strip(" "), array.cast.removeprefix("_") if array.cast else None
    if not (whole.startswith("{") and whole.endswith("}")):
        raise Doubtful(f"an array for {_described(column)} in an unusual notation")
    inside, place = whole[1:-1], 0
    while place < len(inside):
        found = ELEMENT.match(inside, place)
        if not found or (found[2] and found[2].lower() == "null"):
            raise Doubtful(f"an array for {_described(column)} with NULL, or of several dimensions")
        value = found[2] or re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)
        yield Literal(form="text", value=value, cast=cast)
        place = found.end()
        if place < len(inside) and (inside[place] != "," or place + 1 == len(inside)):
            raise Doubtful(f"an array for {_described(column)} in an unusual notation")
        place += 1


def _element(column: Column) -> Column:
    element = column.type[1:]
    if not column.system or element not in ELEMENTS:
        raise Doubtful(f"what an array means for {_described(column)} may depend on settings")
    return replace(column, type=element)


# --- what every session reads the same way ---------------------------------------------------------------------------


def _check_cast(value: Literal, column: Column, *, bound: bool) -> None:
    """A cast to the column's own type, or to a wider or narrower one of its kind, adds nothing."""
    if value.cast is None or (value.form == "null" and value.cast == column.type):
        return
    family = next((family for family in (TEXTS, INTEGERS.keys()) if column.type in family), {column.type})
    if not column.system or value.cast not in family or value.form not in {"text", "integer", "null"}:
        raise Doubtful(f"a value for {_described(column)} is cast to another type")
    if value.cast in INTEGERS:
        _check_integer(value.value or "0", value.cast)
    if bound and value.form == "text" and value.cast in BY_CAST and BY_CAST[value.cast](value.value):
        raise Doubtful(f"a parameter that is cast to {value.cast} may have been bits or bytes")


def _check_unquoted(value: Literal, column: Column, *, among: frozenset[str]) -> None:
    wanted = {"bool"} if value.form == "boolean" else NUMBERS | TEXTS
    if not column.system or column.type not in wanted & among:
        raise Doubtful(f"a value for {_described(column)} is of another type")


def _check_text(value: str, column: Column, *, bound: bool) -> None:
    if column.enum:
        return
    known = column.type in CERTAIN_IF_BOUND or (column.immutable and not bound and not column.type.startswith("_"))
    if not column.system or not known:
        raise Doubtful(f"what a text means for {_described(column)} may depend on settings")
    if column.type in INTEGERS:
        _check_integer(value, column.type)
    elif column.type == "uuid":
        _check_uuid(value)
    elif column.type in NOTATIONS and not NOTATIONS[column.type].fullmatch(value):
        raise Doubtful(f"a text for {_described(column)} is in a notation that depends on settings")


def _check_integer(value: str, type_: str) -> None:
    if not INTEGER.fullmatch(value) or not -(1 << INTEGERS[type_]) <= int(value) < 1 << INTEGERS[type_]:
        raise Doubtful("a number that does not fit its column as it is written")


def _check_uuid(value: str) -> None:
    try:
        uuid.UUID(value)
    except ValueError:
        raise Doubtful("a uuid in an unusual notation") from None


def _check_parameter(value: str, column: Column, rules: Mapping[str, Rule], *, bound: bool) -> None:
    if bound and column.type in rules and rules[column.type](value, column):
        raise Doubtful(f"a parameter for {_described(column)} may have been of another type")


def _described(column: Column) -> str:
    return f"a column of type {column.type}"
