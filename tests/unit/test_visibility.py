"""Snapshots of PostgreSQL: which transactions they see, and 32-bit ids made whole again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.errors import Corrupted
from pgkeep.visibility import EPOCH, Visible, visible


@st.composite
def snapshots(draw: st.DrawFn) -> Visible:
    xmin = draw(st.integers(3, 1 << 62))
    running = draw(st.frozensets(st.integers(0, 50), max_size=8))
    under_way = frozenset({xmin + i for i in running | {0}}) if running else frozenset[int]()
    xmax = max(under_way, default=xmin - 1) + 1 + draw(st.integers(0, 5)) if under_way else xmin
    return Visible(xmin=xmin, xmax=xmax, under_way=under_way)


def text(snapshot: Visible) -> str:
    return f"{snapshot.xmin}:{snapshot.xmax}:{','.join(map(str, sorted(snapshot.under_way)))}"


@given(snapshots())
def test_the_text_says_it_all(snapshot: Visible) -> None:
    assert visible(text(snapshot)) == snapshot


@given(snapshots())
def test_what_is_under_way_or_in_the_future_is_not_seen(snapshot: Visible) -> None:
    assert not any(xid in snapshot for xid in snapshot.under_way)
    assert snapshot.xmax not in snapshot
    assert snapshot.xmin - 1 in snapshot
    between = set(range(snapshot.xmin, snapshot.xmax)) - snapshot.under_way
    assert all(xid in snapshot for xid in between)


@given(snapshots(), st.integers(-(1 << 31), (1 << 31) - 1))
def test_an_id_of_32_bits_is_the_nearest_whole_one(snapshot: Visible, distance: int) -> None:
    xid = snapshot.xmax + distance
    if xid >= 0:
        assert snapshot.whole(xid % EPOCH) == xid


def test_known_snapshots() -> None:
    found = visible("10:20:10,14,15")
    assert [xid for xid in range(8, 22) if xid in found] == [8, 9, 11, 12, 13, 16, 17, 18, 19]
    assert visible("749:749:").under_way == frozenset()


@pytest.mark.parametrize("odd", ["", "1:2", "a:b:", "5:4:", "1:2:3,", "1:2:,3", "1:2:3\n", "1 :2:"])
def test_anything_else_is_refused(odd: str) -> None:
    with pytest.raises(Corrupted, match="is not a snapshot"):
        visible(odd)
