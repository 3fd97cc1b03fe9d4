"""Which of the server's words may be shown to anybody: those that are known to hold names of objects and no values.

A message that is not known here is not shown: a function may have raised it, in words of its own and with any SQLSTATE,
and what stands in it, in quotes or not, may be somebody's data. A SQLSTATE, where there is one, can always be told.
"""

import re

import psycopg

NAME = '"[^"]*"'
FUNCTION = r'[\w.$"]+\([^()]*\)'
KIND = (
    "(?:access method|collation|constraint|conversion|database|domain|event trigger|extension"
    "|foreign-data wrapper|foreign table|function|index|language|large object|materialized view"
    "|operator(?: class| family)?|policy|procedure|publication|relation|role|rule|schema|sequence|server"
    "|statistics object|subscription|table|tablespace|text search (?:configuration|dictionary|parser|template)"
    "|trigger|type|view)"
)
OF = f"(?: (?:of|for|on|in) {KIND} {NAME}| for encoding {NAME})?"
MISSING = (
    f"{KIND} {NAME}{OF} (?:does not exist|already exists){OF}",
    rf"(?:function|procedure|aggregate) {FUNCTION} (?:does not exist|is not unique)",
    # A column by itself may be a value that somebody has put in the wrong quotes.
    rf"column {NAME} of relation {NAME} (?:does not exist|already exists)|large object \d+ does not exist",
    r'operator does not exist: [\w.<>=~!@#%^&|`?+*/\-\[\]" ]+',
    rf"data type [\w.]+ has no default operator class for access method {NAME}",
    f"extension {NAME} is not available|required extension {NAME} is not installed",
    f"extension {NAME} has no installation script nor update path for version {NAME}",
    f'could not (?:open extension control file|access file|load library) {NAME}: [^"]*',
    f"could not find function {NAME} in file {NAME}",
    f"unrecognized (?:configuration )?parameter {NAME}",
    f"{NAME} is (?:not )?an? {KIND}",
)
RIGHTS = (
    rf"permission denied for {KIND} (?:{NAME}|[\w.$-]+)",
    f"permission denied to (?:create|alter|set|change|drop|grant) [a-z -]+(?: {NAME})?",
    f"permission denied: {NAME} is a system catalog",
    rf"must be (?:owner|member) of (?:{KIND} )?(?:{NAME}|[\w.$-]+)",
    f"must be (?:a )?superuser(?: to [a-z -]+)?|must be able to SET ROLE {NAME}",
    "cannot execute [A-Z ]+ in a read-only transaction",
)
INTEGRITY = (
    f"duplicate key value violates unique constraint {NAME}",
    f"conflicting key value violates exclusion constraint {NAME}",
    f"could not create (?:unique index|exclusion constraint) {NAME}",
    f"insert or update on table {NAME} violates foreign key constraint {NAME}",
    f"update or delete on table {NAME} violates foreign key constraint {NAME} on table {NAME}",
    f"new row for relation {NAME} violates (?:check constraint {NAME}|partition constraint)",
    f"check constraint {NAME} (?:of relation {NAME} )?is violated by some row",
    f"partition constraint of relation {NAME} is violated by some row|no partition of relation {NAME} found for row",
    f"null value in column {NAME} of relation {NAME} violates not-null constraint",
    f"column {NAME} of (?:relation|table) {NAME} contains null values",
    rf"value for domain [\w.]+ violates check constraint {NAME}|domain [\w.]+ does not allow null values",
    f"cannot insert (?:a non-DEFAULT value )?into (?:column|view) {NAME}",
)
RESOURCES = (
    rf'could not (?:open|read|write|extend|create|fsync|stat|truncate)(?: to)? (?:[a-z-]+ )?file {NAME}[\w ]*: [^"]*',
    f'could not resize shared memory segment {NAME} to [0-9]+ bytes: [^"]*',
    r"out of (?:shared )?memory|invalid memory alloc request size \d+|stack depth limit exceeded",
    r"temporary file size exceeds temp_file_limit \(\d+kB\)",
    "(?:canceling statement|terminating connection) (?:due to|because of) [a-z -]+|deadlock detected",
    "the database system is [a-z ]+|sorry, too many clients already",
    "remaining connection slots are reserved for [a-z_ -]+",
    "current transaction is aborted, commands ignored until end of transaction block",
    rf"index row size \d+ exceeds (?:btree version \d+ )?maximum \d+ for index {NAME}",
    r"index row requires \d+ bytes, maximum size is \d+|row is too big: size \d+, maximum size \d+",
    r'invalid page in block \d+ of relation [\w/"]+',
)
VALUES = (
    f"extra data after last expected column|missing data for column {NAME}|division by zero|numeric field overflow",
    r"value too long for type [a-z ]+\(\d+\)|(?:smallint|integer|bigint|timestamp|date|interval) out of range",
    r"bit string (?:length \d+ does not match|too long for) type bit(?: varying)?\(\d+\)",
    f"column {NAME} is of type [a-z ]+ but expression is of type [a-z ]+",
    "syntax error at end of input|INSERT has more (?:expressions than target columns|target columns than expressions)",
)
HARMLESS = re.compile("|".join((*MISSING, *RIGHTS, *INTEGRITY, *RESOURCES, *VALUES)))
"""Whole messages."""
BEFORE_A_VALUE = re.compile(
    r"invalid input syntax for type [a-z0-9 ]+:?|invalid input value for enum [\w.]+:|syntax error at or near"
    r"|(?:date/time|time zone displacement|interval) field value out of range:"
    "|malformed (?:array|record|range) literal:"
    f"|invalid value for parameter {NAME}:|invalid byte sequence for encoding {NAME}:"
)
"""How messages begin that go on with a value."""
OF_OBJECTS = re.compile("42P0[1-7]|42710|42723|42883|42704|3F000|3D000")
"""SQLSTATEs of objects that are missing, or there already: their messages name them, in any language."""
OF_THE_CODE = "P0"
"""Class of what functions raise themselves, in words of their own."""


def known(message: str) -> str | None:
    """The message as far as it may be shown; None: it is not known what is in it."""
    if HARMLESS.fullmatch(message):
        return message
    found = BEFORE_A_VALUE.match(message)
    return f"{found[0]} ..." if found else None


def with_state(state: str, message: str) -> str:
    """What may be shown of a message with that SQLSTATE, and the SQLSTATE."""
    if state.startswith(OF_THE_CODE):
        return f"a function or trigger raised {state}"
    said = message if OF_OBJECTS.fullmatch(state) else known(message)
    return f"{said or _name(state)} ({state})"


def _name(state: str) -> str:
    """What the SQLSTATE is called: `check violation`."""
    try:
        return re.sub("(?<=[a-z])(?=[A-Z])", " ", psycopg.errors.lookup(state).__name__).rstrip("_").lower()
    except KeyError:
        return "the server refuses it"
