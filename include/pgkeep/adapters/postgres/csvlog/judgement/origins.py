"""What a parameter may have been before the log showed it as text.

The log does not tell the types that a program gave its parameters: a float that is stored as numeric loses digits that
its text has, a boolean in a text column is `true`, though its text is `t`. So such a literal is certain only if every
type that it may have had gives the same, by all casts that PostgreSQL has; tests/contracts/test_csvlog_parameters.py
tries them. Left out is xml that begins with a declaration and has no element, in a column for texts.
extra_float_digits is taken to be 1 or more, which it is unless a program asks for less while it connects; where it does
so later, or by a setting, that is seen.
"""

import ipaddress
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .catalog import Column

TEXTS = frozenset({"text", "varchar"})
STRINGS = TEXTS | {"bpchar"}
FLOATS = frozenset({"float4", "float8"})
UNSIGNED = frozenset({"int2", "int4"})
"""Types that are compared with an oid as if they had no sign; an int8 that is no oid is an error."""
LONGEST_BYTES = 8
INTEGER = re.compile(r"-?\d+")
NUMERAL = re.compile(r"-?(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeral:
    """A number without an exponent. `digits`: how many matter. `rounded`: it ends as a float's text never does."""

    whole: int
    fraction: int
    digits: int
    rounded: bool


def _numeral(value: str) -> Numeral | None:
    found = NUMERAL.fullmatch(value)
    if not found:
        return None
    whole, fraction = found[1].lstrip("0"), found[2] or ""
    digits = len((whole + fraction).lstrip("0"))
    return Numeral(whole=len(whole), fraction=len(fraction), digits=digits, rounded=fraction.endswith("0"))


def _maybe_single(value: str) -> bool:
    """Whether a float4 may be written so."""
    number = _numeral(value)
    return number is None or (number.whole <= 6 and number.digits <= 9 and not number.rounded)


def _maybe_double(value: str) -> bool:
    """Whether a float8 may be written so."""
    number = _numeral(value)
    return number is None or (number.whole <= 15 and number.digits <= 17 and not number.rounded)


def _single(value: str) -> float:
    """The float4 next to a number; infinite where there is none."""
    try:
        return float(struct.unpack("f", struct.pack("f", float(value)))[0])
    except OverflowError:
        return float("inf")


def _is_single(value: str) -> bool:
    """Whether it is exactly a float4."""
    if re.search("[aI]", value):
        return True
    single = _single(value)
    return abs(single) != float("inf") and Fraction(single) == Fraction(value)


def _other_if_single(value: str, _: Column) -> bool:
    return _maybe_single(value) and not _is_single(value)


def _no_single(value: str, _: Column) -> bool:
    return not _is_single(value)


def _stored_decimal(value: str, _: Column) -> bool:
    """Floats become numeric with 6 and 15 digits, though their text has up to 9 and 17."""
    number = _numeral(value)
    if number is None:
        return True
    if not number.fraction or number.rounded:
        return False
    return (_maybe_single(value) and number.digits > 6) or (_maybe_double(value) and number.digits > 15)


def _compared_decimal(value: str, column: Column) -> bool:
    """With a float, a numeric is compared as a float."""
    if _numeral(value) is not None and not _maybe_double(value):
        return False
    precision, scale = divmod(column.modifier - 4, 1 << 16) if column.modifier >= 4 else (1000, 1000)
    # A scale may be negative since PostgreSQL 15: 11 bits.
    coarse = precision <= 15 or (scale == 0 and INTEGER.fullmatch(value) is not None)
    return not coarse or _other_if_single(value, column)


def _stored_single(value: str, _: Column) -> bool:
    """A float8 that becomes a float4 is rounded once more than its text."""
    if re.search("[aI]", value):
        return False
    single = _single(value)
    if abs(single) == float("inf"):
        return True
    distance = abs(Fraction(single) - Fraction(value))
    return any(abs(Fraction(other) - Fraction(value)) <= distance for other in _neighbours(single))


def _neighbours(single: float) -> Iterator[float]:
    """The float4s next to it; at zero and at the end there is but one."""
    bits = struct.unpack("I", struct.pack("f", single))[0]
    for other in (bits - 1, bits + 1):
        if other >= 0 and other & 0x7FFFFFFF < 0x7F800000:
            yield float(struct.unpack("f", struct.pack("I", other))[0])


def _stored_string(value: str, column: Column) -> bool:
    """Booleans, addresses, xml and texts with blanks at the end are other texts than the log shows, once cast."""
    return value in {"t", "f"} or _has_blanks(value, column) or _is_address(value) or value.lstrip().startswith("<")


def _stored_padded(value: str, column: Column) -> bool:
    """A "char" becomes the very byte that it is, be it none or half a letter."""
    return _stored_string(value, column) or not value or re.fullmatch(r"\\[0-7]{3}", value) is not None


def _has_blanks(value: str, _: Column) -> bool:
    return value.endswith(" ")


def _padded(_: str, __: Column) -> bool:
    """A varchar that is compared with a bpchar is so without the blanks at its end."""
    return True


def _was_bits(value: str) -> bool:
    """bit, "char" and, since PostgreSQL 18, bytea are cast to integers that their texts do not show."""
    return len(value) <= LONGEST_BYTES or re.fullmatch("[01]+", value) is not None


def _was_integer(value: str) -> bool:
    """Since PostgreSQL 18, an integer can be cast to the bytes that it is made of."""
    return INTEGER.fullmatch(value) is not None


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


Rule = Callable[[str, Column], bool]
STORED: Mapping[str, Rule] = {
    "numeric": _stored_decimal,
    "float4": _stored_single,
    "float8": _other_if_single,
    **dict.fromkeys(TEXTS, _stored_string),
    "bpchar": _stored_padded,
}
COMPARED: Mapping[str, Rule] = {
    "numeric": _compared_decimal,
    "float4": _no_single,
    "float8": _other_if_single,
    "text": _has_blanks,
    "varchar": _padded,
    "bpchar": _has_blanks,
}
BY_CAST: Mapping[str, Callable[[str], bool]] = {
    **dict.fromkeys(("int2", "int4", "int8"), _was_bits),
    "bytea": _was_integer,
}
