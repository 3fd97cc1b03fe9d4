"""The file of changes, cut between two transactions, whatever stands in it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.delta import CLOSING, header, marker, until
from pgkeep.errors import Corrupted, NotRestorable
from pgkeep.model import Instant, instant

NONCE = "0123456789abcdef" * 2
OTHER = "f" * 32
SQL = st.lists(
    st.sampled_from([b"\n", b"-- pgkeep ", OTHER.encode(), b" transaction 7 0/0 x", b"\\.\n", b"x" * 300, b"'", b";"])
).map(lambda pieces: b"".join(pieces) + b"\n")


def at(second: int) -> Instant:
    return instant(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second))


def whole(transactions: list[bytes]) -> bytes:
    body = b"".join(
        marker(NONCE, "transaction", 100 + i, "0/0", at(i)) + b"[%d]" % i + sql for i, sql in enumerate(transactions)
    )
    return (
        header(NONCE)
        + b"SET x;\n"
        + body
        + marker(NONCE, "cut")
        + b"sequences\n"
        + marker(NONCE, "tables")
        + b"tables\n"
    )


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[i : i + size] for i in range(0, len(content), size))


@given(st.lists(SQL, max_size=6), st.integers(0, 7), st.integers(1, 400))
def test_a_stop_at_a_time_keeps_what_was_committed_before(transactions: list[bytes], stop: int, size: int) -> None:
    found = b"".join(until(pieces(whole(transactions), size), time=at(stop), xid=None))
    assert found.startswith(b"\nSET x;\n")
    assert found.endswith(b"\nsequences\n")
    assert b"tables" not in found
    for i, sql in enumerate(transactions):
        assert (b"[%d]" % i + sql in found) == (i < stop)
    assert (CLOSING in found) == (stop < len(transactions))


@given(st.lists(SQL, min_size=1, max_size=6), st.data(), st.integers(1, 400))
def test_a_stop_at_a_transaction_keeps_it_and_all_before(
    transactions: list[bytes], data: st.DataObject, size: int
) -> None:
    last = data.draw(st.integers(0, len(transactions) - 1))
    found = b"".join(until(pieces(whole(transactions), size), time=None, xid=(3 << 32) + 100 + last))
    for i, sql in enumerate(transactions):
        assert (b"[%d]" % i + sql in found) == (i <= last)


def test_a_transaction_that_is_not_in_it() -> None:
    with pytest.raises(NotRestorable, match="transaction 7 changed nothing"):
        list(until([whole([b"x\n"])], time=None, xid=7))


@pytest.mark.parametrize("content", [b"", b"SELECT 1;\n" * 50, header("x" * 32), header(NONCE)[:-1]])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(Corrupted, match="not a file of changes"):
        list(until([content], time=at(0), xid=None))
