"""What a window may hold in memory."""

import pytest

from pgkeep.adapters.postgres.csvlog.bounded import EACH, bounded
from pgkeep.adapters.postgres.csvlog.model import Doubt, Exact, Judgement
from pgkeep.ports import Inexact


def as_it_is(sql: bytes) -> Judgement:
    if sql.startswith(b"SELECT"):
        return Exact(sql=b"", writes=())
    return Doubt(reason="odd") if sql == b"DO" else Exact(sql=sql, writes=())


def test_what_holds_nothing_costs_nothing() -> None:
    judge = bounded(as_it_is, most=0)
    assert all(judge(b"SELECT 1") == Exact(sql=b"", writes=()) for _ in range(10))


@pytest.mark.parametrize("sql", [b"INSERT", b"DO"])
def test_more_than_is_carried_at_once_is_a_gap(sql: bytes) -> None:
    judge = bounded(as_it_is, most=4 * EACH - 1)
    assert [judge(sql) for _ in range(3)] == [as_it_is(sql)] * 3
    with pytest.raises(Inexact, match="4 statements or more"):
        judge(sql)


def test_one_long_text_is_a_gap_as_well() -> None:
    with pytest.raises(Inexact, match="more was written than is carried"):
        bounded(as_it_is, most=5000)(b"x" * 5000)
