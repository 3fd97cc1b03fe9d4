"""The values of a statement's parameters, put into its text.

A value may hold anything, `$1` too: so `$1` is replaced only where the server's own scanner (scan.l) sees a parameter,
never in strings, quoted names, names or comments. It scans as under standard_conforming_strings = on, and the literals
are written for that.

Which type a parameter had is not in the log, and its literal has none: true of type boolean is 't' here and becomes the
text `true` in a column of texts, 0.1 of type real becomes 0.10000000149011612 in one of type double precision. Whoever
runs the statement again has to know that (the row of a statement with parameters has a DETAIL).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

NO_VALUE = "a parameter's value is not in the log"
LEFT_OVER = "more parameters are in the log than in the statement"
UNREADABLE = "parameters that cannot be read"
CUT_OFF = "a parameter's value may have been cut off (log_parameter_max_length)"
UNSCANNED = "a statement that ends within a string or a comment"

_VALUES = re.compile(rb"\$(\d+) = (NULL|'[^']*+(?:''[^']*+)*+')(?:, |\Z)", re.ASCII)
_PREFIXES = (b"parameters: ", b"Parameters: ")
_SURROUNDINGS = len(b"$ = ")
_SEPARATOR = len(b", ")
_ELLIPSIS = b"...'"

_CONTINUED = rb"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\f\v\n\r]|--[^\n\r]*+[\n\r])*+'"
_ESCAPED = rb"(?:[^'\\]|\\.|'')*+'"
_NAME = rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*+"
_TOKEN = re.compile(
    rb"""
      (?P<passed> (?:
        [^$'"/\-\w\x80-\xff]++ | \d++
      | [eE]' """
    + _ESCAPED
    + rb"(?:"
    + _CONTINUED
    + _ESCAPED
    + rb""")*+
      | [bBxXnN]?'(?:[^']|'')*+' | (?:[uU]&)?"(?:[^"]|"")*+" | [uU]&'(?:[^']|'')*+'
      | --[^\n\r]*+ | -(?!-) | /(?!\*)
      | """
    + _NAME
    + rb"""
      )++)
    | \$(?P<number>\d++)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*+)?\$)
    | (?P<lone>\$)
    | (?P<comment>/\*)
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_COMMENT = re.compile(rb"/\*|\*/")
_ZEROS = b"0"
_SHORT = 65536


class _Unended(Exception):
    """A string or a comment without its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A statement with gaps. `text`: for `%` with one literal for each of `numbers`, those of its parameters."""

    text: bytes
    numbers: tuple[bytes, ...]


def filled(sql: bytes, detail: bytes, *, whole: bool) -> tuple[bytes, str | None]:
    """The statement with its values, and why it is not certain. `detail`: of its row, empty where it has none.

    `whole`: values that end in `...` are known to be what was sent, since no setting has cut any off.
    """
    template = _template_of_short(sql) if len(sql) <= _SHORT else _template(sql)
    if template is None:
        return sql, UNSCANNED
    if not detail:
        return sql, NO_VALUE if template.numbers else None
    values = parameters(detail)
    if values is None:
        return sql, UNREADABLE
    numbers, literals = values
    if b"\\" in detail:
        literals = tuple(map(_certain, literals))
    if not whole and _ELLIPSIS in detail and any(literal.endswith(_ELLIPSIS) for literal in literals):
        return sql, CUT_OFF
    if numbers != template.numbers:
        return _filled_in_another_order(sql, template, numbers, literals)
    return template.text % literals, None


def _certain(literal: bytes) -> bytes:
    """One that says the same whatever standard_conforming_strings is; as the log has it, a backslash is a backslash."""
    return b" E" + literal.replace(b"\\", b"\\\\") if b"\\" in literal else literal


def _filled_in_another_order(
    sql: bytes, template: Template, numbers: tuple[bytes, ...], literals: tuple[bytes, ...]
) -> tuple[bytes, str | None]:
    values = dict(zip(numbers, literals, strict=True))
    if len(values) != len(literals):
        return sql, UNREADABLE
    if not values.keys() >= set(template.numbers):
        return sql, NO_VALUE
    if len(set(template.numbers)) != len(values):
        return sql, LEFT_OVER
    return template.text % tuple(values[number] for number in template.numbers), None


def parameters(detail: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]] | None:
    """The numbers and the literals of `parameters: $1 = 'x', $2 = NULL`; None if that is not all it says."""
    if not detail.startswith(_PREFIXES):
        return None
    found = _VALUES.findall(detail, len(_PREFIXES[0]))
    if not found:
        return None
    numbers, literals = zip(*found, strict=True)
    # Each as long as what it is made of, and all together as long as the whole: so nothing was passed over.
    size = sum(map(len, numbers)) + sum(map(len, literals)) + len(found) * (_SURROUNDINGS + _SEPARATOR) - _SEPARATOR
    return (numbers, literals) if size == len(detail) - len(_PREFIXES[0]) else None


def _template(sql: bytes) -> Template | None:
    """None if the text ends within a string or a comment."""
    if b"$" not in sql:
        return Template(text=_escaped(sql), numbers=())
    try:
        gaps = list(_gaps(sql))
    except _Unended:
        return None
    parts, at = [], 0
    for start, end in gaps:
        parts += [
            _escaped(sql[at:start]),
            b" %b" if sql[start - 1 : start] == b"&" else b"%b",
        ]  # U&$1 must not become U&'..'
        at = end
    parts.append(_escaped(sql[at:]))
    return Template(text=b"".join(parts), numbers=tuple(sql[start + 1 : end].lstrip(_ZEROS) for start, end in gaps))


_template_of_short = lru_cache(maxsize=256)(_template)


def ends(sql: bytes) -> bool:
    """Whether all of its strings, quoted names and comments come to their ends."""
    try:
        return all(True for _ in _gaps(sql))
    except _Unended:
        return False


def _escaped(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


def _gaps(sql: bytes) -> Iterator[tuple[int, int]]:
    """Where its parameters begin and end. Raises _Unended."""
    at, size = 0, len(sql)
    while at < size:
        token = _TOKEN.match(sql, at)
        if token is None:
            raise _Unended
        if token.lastgroup == "number":
            yield token.span()
        at = token.end()
        if token.lastgroup == "dollar":
            at = _after(sql.find(token[0], at), token[0])
        elif token.lastgroup == "comment":
            at = _after_comment(sql, at)


def _after(found: int, text: bytes) -> int:
    if found < 0:
        raise _Unended
    return found + len(text)


def _after_comment(sql: bytes, at: int) -> int:
    """Comments hold comments."""
    depth = 1
    while depth:
        mark = _COMMENT.search(sql, at)
        if mark is None:
            raise _Unended
        depth += 1 if mark[0] == b"/*" else -1
        at = mark.end()
    return at
