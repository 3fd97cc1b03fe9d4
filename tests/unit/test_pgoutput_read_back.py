"""Every change can be read back from the SQL, by eyes that know psql and COPY, whatever the values and the chunks."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_pgoutput_messages import COMMIT, Run, Value, begin, delete, insert, relation, update
from pgkeep.adapters.postgres.pgoutput import frames, statements
from pgkeep.ports import Inexact

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12).map(str.encode)
VALUE = st.one_of(
    st.none(), TEXT, st.sampled_from([b"\\N", b"\\.", b"a\n\\.\n", b"it's", b"\t", b"\r\n", b"%b", b"NULL"])
)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), TEXT, VALUE),
        st.tuples(st.just("update"), TEXT, VALUE),
        st.tuples(st.just("delete"), TEXT, st.none()),
    ),
    max_size=40,
)
MAKE = {"insert": insert, "update": update, "delete": delete}


def messages_of(transactions: list[list[tuple[str, bytes, Value]]]) -> list[bytes]:
    messages = list[bytes]()
    for xid, changes in enumerate(transactions):
        messages += [begin(xid), relation(), *(MAKE[kind](key, value) for kind, key, value in changes), COMMIT]
    return messages


@given(transactions=st.lists(CHANGES, max_size=4), size=st.integers(1, 50))
def test_every_change_can_be_read_back(transactions: list[list[tuple[str, bytes, Value]]], size: int) -> None:
    messages = messages_of(transactions)
    run = Run(messages=messages)
    sql = run.sql(sizes=[size])
    assert read_back(sql.decode()) == [change for changes in transactions for change in changes]
    assert run.translation.changes == sum(map(len, transactions))
    assert run.translation.transactions == len(list(filter(None, transactions)))
    assert Run(messages=messages).sql() == sql


@given(transactions=st.lists(CHANGES, max_size=4), size=st.integers(1, 50), piece=st.integers(1, 9))
def test_large_changes_are_written_as_small_ones_are(
    transactions: list[list[tuple[str, bytes, Value]]], size: int, piece: int
) -> None:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(frames, "LARGE", 1)
        changed.setattr(statements, "PIECE", piece)
        sql = Run(messages=messages_of(transactions)).sql(sizes=[size])
    assert read_back(sql.decode()) == [change for changes in transactions for change in changes]


@pytest.mark.parametrize(("limit", "message"), [("LONGEST_ROW", insert), ("LONGEST_STATEMENT", update)])
def test_a_row_too_large_for_sql_is_said(
    monkeypatch: pytest.MonkeyPatch, limit: str, message: Callable[..., bytes]
) -> None:
    messages = [begin(), relation(), message(b"1", b"'" * frames.LARGE), COMMIT]
    monkeypatch.setattr(statements, limit, 2 * frames.LARGE + 100)
    assert len(Run(messages=messages).sql()) > frames.LARGE
    monkeypatch.setattr(statements, limit, 2 * frames.LARGE)
    with pytest.raises(Inexact, match="larger than SQL can be"):
        Run(messages=messages).sql()


QUOTED = r"(NULL|'(?:[^']|'')*')"
STATEMENT = re.compile(
    rf"""(?P<copy>COPY\ "s"\."t"\ \("id",\ "v"\)\ FROM\ stdin;\n(?P<rows>(?:.*\n)*?)\\\.\n)
       | UPDATE\ ONLY\ "s"\."t"\ SET\ "v"\ =\ (?P<set>{QUOTED})\ WHERE\ "id"\ =\ (?P<where>{QUOTED})\\;\n
       | DELETE\ FROM\ ONLY\ "s"\."t"\ WHERE\ "id"\ =\ (?P<gone>{QUOTED})\\;\n
       | INSERT\ INTO\ "s"\."t"\ \("id",\ "v"\)\ OVERRIDING\ SYSTEM\ VALUE\ VALUES\n*
         \ (?P<values>(?:\({QUOTED},\ {QUOTED}\)(?:,\ )?)+)\\;\n
       | (?P<nothing>BEGIN;\n|COMMIT;\n|;\n|--[^\n]*\n|SET[^\n]*\n|SELECT\ [^\n]*\n)""",
    re.VERBOSE,
)  # fmt: skip
PAIR = re.compile(rf"\({QUOTED}, {QUOTED}\)(?:, )?")
ESCAPED = {"\\N": None, "\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


def read_back(sql: str) -> list[tuple[str, bytes, Value]]:
    """The changes in a file, and nothing in it that is none."""
    found, at = list[tuple[str, Value, Value]](), 0
    while at < len(sql):
        part = STATEMENT.match(sql, at)
        assert part, sql[at:]
        at = part.end()
        if part["copy"]:
            rows = [line.split("\t") for line in part["rows"].split("\n")[:-1]]
            found += [("insert", _copied(key), _copied(value)) for key, value in rows]
        elif part["values"]:
            found += [("insert", _unquoted(key), _unquoted(value)) for key, value in PAIR.findall(part["values"])]
        elif part["set"]:
            found.append(("update", _unquoted(part["where"]), _unquoted(part["set"])))
        elif part["gone"]:
            found.append(("delete", _unquoted(part["gone"]), None))
    return found  # type: ignore[return-value]


def _unquoted(text: str) -> Value:
    return None if text == "NULL" else text[1:-1].replace("''", "'").encode()


def _copied(text: str) -> Value:
    if text == "\\N":
        return None
    return re.sub(r"\\.", lambda escape: ESCAPED[escape[0]] or "?", text).encode()
