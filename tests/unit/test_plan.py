"""Recovery plans: one full backup and what touches it; gaps are never skipped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep import chain
from pgkeep.errors import Corrupted, JournalMovedOn, NotRestorable
from pgkeep.journal import Journal
from pgkeep.model import (
    Backup,
    Cut,
    Digest,
    Entry,
    Instant,
    KeyFingerprint,
    Kind,
    Link,
    Origin,
    PeerId,
    Totals,
    Verdict,
    Way,
    instant,
)
from pgkeep.plan import Point, Stop, plan, reachable
from pgkeep.testing import sample_position

NONE = Digest("0" * 64)


def at(hour: float) -> Instant:
    return instant(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour))


def cut(hour: int) -> Cut:
    """At every hour, 100 transactions more are seen."""
    return Cut(snapshot=f"{100 * hour}:{100 * hour}:", lsn=f"0/{hour:X}", time=at(hour))


def entry(sequence: int, kind: Kind, hour: int, since: int | None = None) -> Entry:
    before = None if since is None else cut(since)
    gap = "the slot was lost" if kind == "gap" else None
    link = (
        None
        if kind == "full"
        else Link(
            since=before,
            position=sample_position(),
            gap=gap,
            exact=None if gap else "proven",
            transactions=1,
            changes=1,
            stale=(),
        )
    )
    backup = Backup(
        database="shop",
        kind=kind,
        number=sequence,
        cut=cut(hour),
        server_version=150018,
        parts=(),
        totals=Totals(tables=1, rows=1, sequences=0, large_objects=0, fingerprint=NONE) if kind == "full" else None,
        link=link,
        origin=Origin(host="h", by="test"),
        seconds=0.0,
    )
    return Entry(
        sequence=sequence,
        recorded=at(hour),
        backup=backup,
        recipients=(),
        signer=KeyFingerprint("N"),
        copies=3,
        holders={},
    )


def journal(*kinds: tuple[Kind, int]) -> Journal:
    """Entries at these hours; each link begins where the last one ended."""
    entries, last = list[Entry](), None
    for sequence, (kind, hour) in enumerate(kinds, start=1):
        entries.append(entry(sequence, kind, hour, last))
        last = last if kind == "full" else hour
    return Journal(
        format=1,
        database="shop",
        sequence=len(entries),
        previous=None,
        written=at(0),
        entries=tuple(entries),
        verdicts=(),
        leaving=(),
    )


DAY = journal(
    ("gap", 1),
    ("full", 1),
    ("changes", 2),
    ("changes", 3),
    ("full", 3),
    ("changes", 4),
    ("gap", 6),
    ("full", 6),
    ("changes", 7),
)


def test_a_full_backup_that_is_recorded_late_is_not_the_newest_that_is_proven() -> None:
    kinds: list[tuple[Kind, int]] = [("gap", 1), ("full", 1), ("changes", 2), ("changes", 3), ("full", 3), ("full", 2)]
    late = journal(*kinds)
    ways = (Way(base=1, last=1, seconds=1.0, failure=None),)
    verdicts = tuple(
        Verdict(entry=of, time=at(9), origin=late.entry(of).backup.origin, peer=PeerId("p"), name="alice", ways=ways)
        for of in (5, 6)
    )
    late = replace(late, verdicts=verdicts)
    assert [entry.sequence for entry in chain.fulls(late)] == [2, 6, 5]
    assert [entry.sequence for entry in chain.proven(late)] == [6, 5]


def test_an_older_full_backup_may_be_the_base() -> None:
    assert numbers(Point(entry=5, base=2)) == [2, 3, 4]
    assert numbers(Point(entry=6, base=2)) == [2, 3, 4, 6]
    with pytest.raises(NotRestorable, match="gap"):
        numbers(Point(base=2))
    with pytest.raises(
        NotRestorable, match="entry 8 cannot be brought back to entry 3: it shows a later moment"
    ) as error:
        numbers(Point(entry=3, base=8))
    assert error.value.next_step == "leave out --base, or begin with entry 2: --base 2"
    with pytest.raises(NotRestorable, match="entry 3, which is no full backup") as error:
        numbers(Point(base=3))
    assert error.value.next_step == "--base with one of these: 2, 5, 8; or leave out --base"


def numbers(point: Point, of: Journal = DAY) -> list[int]:
    found = plan(of, point)
    return [found.base.sequence, *(step.sequence for step in found.steps)]


def test_the_last_transaction() -> None:
    assert numbers(Point()) == [8, 9]


@pytest.mark.parametrize(
    ("number", "way"), [(1, [2]), (2, [2]), (3, [2, 3]), (4, [5]), (5, [5]), (6, [5, 6]), (7, [8])]
)
def test_to_an_entry_from_the_nearest_full_backup(number: int, way: list[int]) -> None:
    assert numbers(Point(entry=number)) == way


@pytest.mark.parametrize(
    ("hour", "way", "stop"),
    [
        (1, [2], None),
        (1.5, [2, 3], 1.5),
        (2, [2, 3], None),
        (2.5, [2, 3, 4], 2.5),
        (3.5, [5, 6], 3.5),
        (6.5, [8, 9], 6.5),
    ],
)
def test_to_a_time(hour: float, way: list[int], stop: float | None) -> None:
    assert numbers(Point(time=at(hour))) == way
    assert plan(DAY, Point(time=at(hour))).stop == (None if stop is None else Stop(time=at(stop)))


def test_a_moment_in_a_gap_names_its_neighbours() -> None:
    with pytest.raises(NotRestorable, match="slot was lost") as error:
        plan(DAY, Point(time=at(5)))
    assert error.value.next_step == (
        f"restore the last moment before it, {at(4)}, or the first moment after it, {at(6)}"
    )
    assert numbers(Point(time=at(4))) == [5, 6]
    assert numbers(Point(time=at(6))) == [8]


EARLY = ("it is before the first backup", f"restore the first moment after it, {at(1)}")
LATE = (f"nothing after {at(7)} was kept yet", f"restore the last moment before it, {at(7)}")


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (Point(time=at(0.5)), EARLY),
        (Point(xid=50), EARLY),
        (Point(time=at(8)), LATE),
        (Point(xid=750), LATE),
    ],
)
def test_what_nothing_covers_names_the_one_neighbour_that_it_has(point: Point, says: tuple[str, str]) -> None:
    with pytest.raises(NotRestorable) as error:
        plan(DAY, point)
    assert (error.value.what, error.value.next_step) == (f"shop cannot be brought back to {point}: {says[0]}", says[1])


@pytest.mark.parametrize("point", [Point(), Point(time=at(1)), Point(xid=1)])
def test_without_any_backup_that_is_what_is_said(point: Point) -> None:
    with pytest.raises(NotRestorable, match="has no backup yet"):
        plan(journal(), point)


def test_to_a_transaction() -> None:
    assert numbers(Point(xid=250)) == [2, 3, 4]
    assert plan(DAY, Point(xid=250)).stop == Stop(xid=250)
    with pytest.raises(NotRestorable, match="entry 7 is a gap"):
        plan(DAY, Point(xid=450))


def test_without_a_full_backup_after_the_gap_the_last_moment_is_before_it() -> None:
    broken = journal(("gap", 1), ("full", 1), ("changes", 2), ("gap", 3), ("changes", 4))
    assert chain.lacks_full(broken)
    assert plan(broken, Point()).last.sequence == 3
    with pytest.raises(NotRestorable, match="slot was lost"):
        plan(broken, Point(entry=5))
    assert reachable(broken) == {at(1), at(2)}


def test_a_full_backup_may_be_recorded_long_after_its_moment() -> None:
    late = journal(("gap", 1), ("changes", 2), ("changes", 3), ("full", 1), ("changes", 4))
    assert numbers(Point(), late) == [4, 2, 3, 5]
    assert not chain.lacks_full(late)


def test_a_clock_that_was_ahead_for_a_while_changes_nothing() -> None:
    ahead = journal(("gap", 1), ("full", 1), ("changes", 9), ("changes", 3))
    assert numbers(Point(), ahead) == [2, 3, 4]
    ahead = journal(("gap", 9), ("full", 9), ("changes", 2), ("changes", 3), ("full", 3))
    assert numbers(Point(base=2), ahead) == [2, 3, 4], "the newest is the chain's, also from a base that was named"
    *before, last = journal(("gap", 1), ("full", 1), ("changes", 9)).entries
    recorded = replace(ahead, entries=(*before, replace(last, recorded=at(2))))
    assert chain.covering(recorded, at(2)) == recorded.entries[-1]
    assert chain.covering(recorded, at(3)) is None, "by our own clock that moment has not come"


def test_full_backups_alone_are_plans_of_their_own() -> None:
    fulls = journal(("full", 1), ("full", 2))
    assert numbers(Point(), fulls) == [2]
    assert numbers(Point(time=at(1)), fulls) == [1]
    for point in (Point(time=at(1.5)), Point(xid=150)):
        with pytest.raises(NotRestorable, match=f"no changes were kept from {at(1)} to {at(2)}") as error:
            plan(fulls, point)
        assert f"{at(1)}, or the first moment after it, {at(2)}" in error.value.next_step


def test_links_that_do_not_touch_are_never_joined() -> None:
    torn = journal(("gap", 1), ("full", 1), ("changes", 2))
    torn = replace(torn, sequence=4, entries=(*torn.entries, entry(4, "changes", 4, since=3)))
    with pytest.raises(Corrupted, match="does not begin where entry 3 ends"):
        plan(torn, Point())
    with pytest.raises(JournalMovedOn):
        chain.require_next(entry(5, "changes", 6, since=5).backup, after=torn)


KINDS = st.lists(st.sampled_from(["full", "changes", "changes", "gap"]), max_size=12)


@given(KINDS, st.integers(0, 30))
def test_every_plan_touches_and_ends_where_it_should(kinds: list[Kind], half_hours: int) -> None:
    """Full backups at the end of the link before them; each link takes an hour."""
    entries, hour = list[tuple[Kind, int]](), 1
    for kind in kinds:
        hour += kind != "full"
        entries.append((kind, hour))
    found = journal(("gap", 1), *entries)
    time = at(half_hours / 2)
    try:
        way = plan(found, Point(time=time))
    except NotRestorable:
        assert time not in reachable(found)
        return
    at_cut = way.base.backup.cut
    for step in way.steps:
        assert step.backup.kind == "changes"
        assert step.backup.link is not None
        assert step.backup.link.since == at_cut
        at_cut = step.backup.cut
    assert (at_cut.time == time) == (way.stop is None)
    assert at_cut.time >= time
