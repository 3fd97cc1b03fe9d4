"""Which rows are statements, and how parameters come into them: as the server's scanner sees them, never by text."""

import postgast
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pgkeep.adapters.postgres.csvlog.log import parameters, statements
from pgkeep.adapters.postgres.csvlog.log.parameters import filled
from pgkeep.adapters.postgres.csvlog.log.statements import statement
from pgkeep.adapters.postgres.csvlog.model import LogRow, Statement

PARAM = postgast.pg_query_pb2.PARAM
VALUES = st.none() | st.text(st.sampled_from("a'\"$1%\\\n, =NUL(.)é"), max_size=20)
BESIDE = st.sampled_from((
    " ", "\n", ",", "(", ")", "a", "e", "U&", "$", "1", "%", "%b", "'$1'", "'it''s $2'", "E'\\'$1'", "E'x'\n'\\'$2'",
    "U&'$1'", "b'$1'", '"$1"', 'U&"$1""$2"', "$$ $1 $$", "$a$ $1 $$ $2 $a$", "$é$ $1 $é$",
    "/* $1 */", "/* /* $1 */ $2 */", "-- $1\n", "a$1", "::", "+", "-", "/", "*", ".", ";", "é$1", "N'$1'", "x'$1'",
))  # fmt: skip
PIECES = st.lists(BESIDE | st.integers(1, 12), max_size=12)
"""Of a statement; a number is a parameter."""


def literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def detail(values: dict[int, str | None], *, prefix: str = "parameters") -> bytes:
    return f"{prefix}: {', '.join(f'${number} = {literal(value)}' for number, value in values.items())}".encode()


def row(message: str | bytes, about: str | bytes = b"", *, tag: bytes = b"INSERT", **more: object) -> LogRow:
    found: dict[str, object] = {
        "place": 0,
        "time": b"2026-01-31 14:05:00.123 UTC",
        "database": b"shop",
        "session": b"697e0b1c.1267",
        "line": 1,
        "tag": tag,
        "started": b"2026-01-31 14:00:00 UTC",
        "vxid": b"3/19",
        "xid": 0,
        "severity": b"LOG",
        "state": b"00000",
        "message": message if isinstance(message, bytes) else message.encode(),
        "detail": about if isinstance(about, bytes) else about.encode(),
    }
    return LogRow(**(found | more))  # type: ignore[arg-type]


def seen(message: str | bytes, about: str | bytes = b"", **more: object) -> Statement:
    found = statement(row(message, about, **more))  # type: ignore[arg-type]
    assert found is not None
    return found


@given(values=st.dictionaries(st.integers(1, 99), VALUES, min_size=1), prefix=st.sampled_from(("p", "P")))
def test_the_values_are_read_as_they_were_written(values: dict[int, str | None], prefix: str) -> None:
    found = parameters.parameters(detail(values, prefix=f"{prefix}arameters"))
    assert found is not None
    assert found == (tuple(b"%d" % n for n in values), tuple(literal(value).encode() for value in values.values()))


@given(values=st.dictionaries(st.integers(1, 99), VALUES, min_size=1), data=st.data())
def test_no_other_detail_passes_for_values(values: dict[int, str | None], data: st.DataObject) -> None:
    whole = detail(values)
    at = data.draw(st.integers(0, len(whole)))
    changed = whole[:at] + data.draw(st.sampled_from((b"", b"x", b"'", b", ", b"$1 = "))) + whole[at + 1 :]
    found = parameters.parameters(changed)
    if found is not None:
        assert changed == b"parameters: " + b", ".join(b"$%b = %b" % pair for pair in zip(*found, strict=True))


@given(pieces=PIECES, values=st.lists(VALUES, min_size=12, max_size=12))
def test_the_servers_own_scanner_says_where_parameters_are(pieces: list[str | int], values: list[str | None]) -> None:
    sql = "".join(piece if isinstance(piece, str) else f"${piece}" for piece in pieces)
    try:
        tokens = postgast.scan(sql).tokens
    except postgast.PgQueryError:
        assume(False)
    raw = sql.encode()
    places = [(token.start, token.end) for token in tokens if token.token == PARAM]
    numbers = {int(raw[start + 1 : end]): values[start % len(values)] for start, end in places}
    assume(numbers)
    expected, at = b"", 0
    for start, end in places:
        space = b" " if raw[:start].endswith(b"&") else b""
        value = numbers[int(raw[start + 1 : end])]
        escaped = value is not None and "\\" in value
        text = " E" + literal(value).replace("\\", "\\\\") if escaped else literal(value)
        expected += raw[at:start] + space + text.encode()
        at = end
    assert filled(raw, detail(numbers), whole=True) == (expected + raw[at:], None)


@given(sql=st.binary(max_size=60), about=st.binary(max_size=60))
def test_nothing_fails_whatever_the_bytes_are(sql: bytes, about: bytes) -> None:
    filled(sql, about, whole=False)
    filled(b"$" + sql, b"parameters: " + about, whole=False)
    for message in (b"execute ", b"execute <unnamed>: ", b"duration: 0.123 ms  execute a: ", b"", b"duration: "):
        for severity in (b"LOG", b"LOGG"):
            statement(row(message + sql, about, severity=severity))


@pytest.mark.parametrize(
    ("sql", "about", "reason"),
    [
        ("INSERT INTO t VALUES ($1, $2)", "parameters: $1 = '1'", parameters.NO_VALUE),
        ("INSERT INTO t VALUES ($1)", "", parameters.NO_VALUE),
        ("INSERT INTO t VALUES ($0)", "parameters: $1 = '1'", parameters.NO_VALUE),
        ("INSERT INTO t VALUES ($1)", "parameters: $1 = '1', $2 = '2'", parameters.LEFT_OVER),
        ("INSERT INTO t VALUES (1)", "parameters: $1 = '1'", parameters.LEFT_OVER),
        ("INSERT INTO t VALUES ($1)", "parameters: $1 = '1', $1 = '2'", parameters.UNREADABLE),
        ("INSERT INTO t VALUES ($1)", "parameters: $1 = '1", parameters.UNREADABLE),
        ("INSERT INTO t VALUES ($1)", "parameters: $1 = '1', ", parameters.UNREADABLE),
        ("INSERT INTO t VALUES ($1)", "parameters: $1 = '1' and more", parameters.UNREADABLE),
        ("INSERT INTO t VALUES ($1)", "parameters: ", parameters.UNREADABLE),
        ("INSERT INTO t VALUES ($1)", "Parameter: $1 = '1'", parameters.UNREADABLE),
        ("INSERT INTO t VALUES ($1)", "parameters: $1 = 'abc...'", parameters.CUT_OFF),
        ("INSERT INTO t VALUES ($1, '", "parameters: $1 = '1'", parameters.UNSCANNED),
        ("INSERT INTO t VALUES ($1) /* /* */", "parameters: $1 = '1'", parameters.UNSCANNED),
        ("INSERT INTO t VALUES ($1, $a$ $$)", "parameters: $1 = '1'", parameters.UNSCANNED),
    ],
)
def test_what_is_not_certain_has_a_reason(sql: str, about: str, reason: str) -> None:
    assert filled(sql.encode(), about.encode(), whole=False)[1] == reason
    assert seen(f"execute <unnamed>: {sql}", about).reason == reason


def test_values_that_are_known_to_be_whole_may_end_as_those_that_were_cut_off() -> None:
    found = statement(row("execute a: INSERT INTO t VALUES ($1)", "parameters: $1 = 'to be continued...'"), whole=True)
    assert found is not None
    assert (found.sql, found.reason) == (b"INSERT INTO t VALUES ('to be continued...')", None)


def test_a_string_goes_on_after_a_line_break_and_comments() -> None:
    # The server reads it so; libpg_query's scanner does not, where there are comments between.
    sql = b"SELECT E'a' -- it's\n -- $1\n\t'\\'$1' || $1"
    assert filled(sql, b"parameters: $1 = 'b'", whole=True)[0] == sql[: -len(b"$1")] + b"'b'"


def test_numbers_may_have_zeros_before_them_and_come_in_any_order() -> None:
    found = filled(b"SELECT $02, $1, $2", b"parameters: $1 = 'a', $2 = NULL", whole=False)
    assert found == (b"SELECT NULL, 'a', NULL", None)


def test_a_parameter_does_not_become_part_of_the_token_before_it() -> None:
    assert filled(b"SELECT U&$1", b"parameters: $1 = '0041'", whole=True)[0] == b"SELECT U& '0041'"


def test_a_backslash_means_itself_in_every_session() -> None:
    assert filled(b"SELECT $1", b"parameters: $1 = 'a\\''b'", whole=True)[0].split() == [b"SELECT", b"E'a\\\\''b'"]


@pytest.mark.parametrize(
    "name",
    [
        "<unnamed>",
        "a",
        "a/b",
        "a:b",
        "a: b\nc",
        "fetch",
        "it's",
        "statement",
        "$1",
        "/* */",
        "x" * 300,
        "  ",
        "%s",
        "é",
    ],
)
@pytest.mark.parametrize(
    "sql", ["INSERT INTO t VALUES ($1, ': $1')", "-- why: this\n (SELECT $1::text)", "Update t set a=$1"]
)
def test_a_prepared_statement_has_any_name(name: str, sql: str) -> None:
    found = seen(f"execute {name}: {sql}", "parameters: $1 = 'x'")
    assert (found.sql.decode(), found.reason, found.after) == (
        sql.replace("$1", "'x'").replace(": 'x'", ": $1"),
        None,
        False,
    )


@pytest.mark.parametrize(
    "message",
    [
        "execute a: DELETE FROM t --: INSERT INTO t VALUES (1)",
        "execute <unnamed>: DELETE FROM t /* : INSERT INTO t VALUES (1) */: select 1",
        "execute a: insert into t values ('\\': select 1 -- ')",
        "execute a: /* /* */ */ select ': select 1'; -- : select 2",
        "execute a: insert into t values ('\\': select ')",
        "execute a: /* why */ insert into t values (1) -- : select 2",
        "execute a: " + ": select ''" * 9,
        "execute a: something",
        "execute a",
        "execute ",
    ],
)
def test_a_message_that_can_be_read_in_two_ways_has_a_reason(message: str) -> None:
    assert seen(message).reason == statements.UNNAMED


def test_text_after_a_colon_is_no_second_way_to_read_it_where_it_is_no_statement() -> None:
    sql = "INSERT INTO t VALUES ('he said: select 1', ': insert', 'x')"
    assert seen(f"execute a: {sql}") == Statement(
        row=row(f"execute a: {sql}"), sql=sql.encode(), after=False, reason=None
    )


@pytest.mark.parametrize(
    ("message", "sql", "after"),
    [
        ("statement: SELECT '$1: x'", "SELECT '$1: x'", False),
        ("statement: ", "", False),
        ("statement: execute a: SELECT 1", "execute a: SELECT 1", False),
        ("duration: 0.123 ms  statement: SELECT 1", "SELECT 1", True),
        ("duration: 12345.678 ms  execute <unnamed>: SELECT 1", "SELECT 1", True),
        ("execute fetch from a/b: SELECT * FROM t", "SELECT * FROM t", False),
    ],
)
def test_statements_of_clients(message: str, sql: str, after: bool) -> None:
    found = seen(message)
    assert (found.sql.decode(), found.reason, found.after) == (sql, None, after)


@pytest.mark.parametrize(
    ("message", "about", "reason"),
    [
        ("statement: EXECUTE a(1)", "prepare: PREPARE a AS INSERT INTO t VALUES ($1)", statements.PREPARED),
        ("duration: 0.1 ms", "", None),
        ("duration: 0.123 ms  statement: EXECUTE a(1)", "prepare: PREPARE a AS SELECT $1", statements.PREPARED),
        ("statement: SELECT 1", "something", statements.UNKNOWN_DETAIL),
        ("execute fetch from a: INSERT INTO t VALUES (1) RETURNING *", "", statements.FETCHED),
        ("execute fetch from a: WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "", statements.FETCHED),
        ("execute fetch from a: EXPLAIN ANALYZE TABLE t", "", statements.FETCHED),
        ('fastpath function call: "lowrite" (OID 955)', "", statements.CALLED),
        ('duration: 0.123 ms  fastpath function call: "lowrite" (OID 955)', "", statements.CALLED),
    ],
)
def test_what_cannot_be_run_again_has_a_reason(message: str, about: str, reason: str | None) -> None:
    found = statement(row(message, about))
    assert (found.reason if found else None) == reason


@pytest.mark.parametrize(
    "found",
    [
        row("duration: 0.123 ms"),
        row("duration: 0.123 ms  parse a: INSERT INTO t VALUES ($1)"),
        row("duration: 0.123 ms  bind a: INSERT INTO t VALUES ($1)", "parameters: $1 = '1'"),
        row("duration: 0.123 ms  plan:\nQuery Text: INSERT INTO t VALUES (1)"),
        row("statement: DELETE FROM t", aside=True),
        row("statement: DELETE FROM t", severity=b"NOTICE"),
        row("statement: DELETE FROM t", state=b"P0001"),
        row("disconnection: session time: 0:00:00.014 user=a database=b host=127.0.0.1 port=5", tag=b"idle"),
        row("connection authorized: user=a database=b application_name=psql", tag=b"authentication"),
        row("process 11 still waiting for ShareLock on transaction 735 after 1000.123 ms"),
        row("AUDIT: SESSION,1,1,WRITE,INSERT,,,INSERT INTO t VALUES (1),<not logged>"),
        row("duplicate key value violates unique constraint", severity=b"ERROR", state=b"23505"),
        row('parameter "log_statement" changed to "mod"', database=b"", tag=b""),
        row("checkpoint complete: wrote 3 buffers (0.0%); write=0.002 s", database=b"", tag=b""),
        row("pgkeep cut 123 1", aside=True),
        row(""),
    ],
)
def test_other_messages_are_no_statements(found: LogRow) -> None:
    assert statement(found) is None


FOREIGN = [
    ("Anweisung: SELECT 1", "idle"),
    ("instruction : SELECT 1", "idle in transaction"),
    ("文: SELECT 1", "idle"),
    ("Dauer: 0.123 ms", "INSERT"),
    ("varaktighet 0.123 ms", "INSERT"),
    ("durée : 0.123 ms, instruction : SELECT 1", "SELECT"),
    ("Ausführen <unnamed>: INSERT INTO t VALUES (1)", "INSERT"),
    ("ejecutar fetch desde a: TABLE t", "SELECT"),
]


@pytest.mark.parametrize(("message", "tag"), FOREIGN)
def test_a_log_in_another_language_has_a_reason(message: str, tag: str) -> None:
    assert seen(message, tag=tag.encode()).reason == statements.FOREIGN


def test_another_language_shows_in_severities_and_in_details_too() -> None:
    assert seen("anything", severity="СООБЩЕНИЕ".encode()).reason == statements.FOREIGN
    assert seen("kör a: INSERT INTO t VALUES ($1)", "parametrar: $1 = '1'").reason == statements.FOREIGN
