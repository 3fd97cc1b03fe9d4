"""What is kept: never too few proven full backups, never a moment without its plan, whatever the clocks said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep import chain
from pgkeep.errors import Corrupted, NotRestorable
from pgkeep.journal import Journal
from pgkeep.losses import bereft, surviving
from pgkeep.model import Cid, Cut, Digest, Entry, Kind, Origin, Part, PeerId, Verdict, Way, instant
from pgkeep.plan import Point, bases, plan
from pgkeep.retention import Policy, choose, last_of_each, require_harmless, steady
from unit.test_plan import at, journal

NOTHING = Policy(last=1, hourly=0, daily=0, weekly=0, monthly=0, yearly=0, min_full=1)
YEAR = timedelta(days=365)


def verdict(entry: int, *, failure: str | None = None) -> Verdict:
    return Verdict(
        entry=entry,
        time=at(0),
        origin=Origin(host="h", by="test"),
        peer=PeerId("p"),
        name="alice",
        ways=(Way(base=entry, last=entry, seconds=1.0, failure=failure),),
    )


def judged(of: Journal, *proven: int) -> Journal:
    return replace(of, verdicts=tuple(map(verdict, proven)))


def left(of: Journal, policy: Policy) -> Journal:
    """The journal with what stays."""
    return replace(of, entries=tuple(fate.entry for fate in choose(of, policy) if fate.stays))


def numbers(of: Journal) -> list[int]:
    return [entry.sequence for entry in of.entries]


def daily(days: int) -> Journal:
    """A full backup a day, and nothing else."""
    return journal(*((("full", 24 * day)) for day in range(days)))


def hourly(days: int) -> Journal:
    """A full backup a day, changes every six hours."""
    kinds: list[tuple[Kind, int]] = [("gap", 0), ("full", 0)]
    for hour in range(6, 24 * days, 6):
        kinds.append(("changes", hour))
        if hour % 24 == 0:
            kinds.append(("full", hour))
    return journal(*kinds)


def test_without_enough_proofs_nothing_goes() -> None:
    fates = choose(judged(daily(40), 1, 2), replace(NOTHING, min_full=3))
    assert all(fate.stays for fate in fates)
    assert fates[0].reasons == ("only 2 of 3 full backups are proven: nothing goes before drills prove more",)
    assert all(fate.stays for fate in choose(daily(3), NOTHING))


def test_a_refuted_backup_is_not_proven_whatever_was_said_before() -> None:
    found = judged(daily(5), 3)
    found = replace(found, verdicts=(*found.verdicts, verdict(3, failure="came back different")))
    assert all(fate.stays for fate in choose(found, NOTHING))


def test_the_newest_proven_full_backups_stay_and_all_since_the_last_of_them() -> None:
    assert numbers(left(judged(daily(9), 2, 5), NOTHING)) == [5, 6, 7, 8, 9]
    assert numbers(left(judged(daily(9), 2, 5), replace(NOTHING, min_full=2))) == [2, 5, 6, 7, 8, 9]


def test_rules_keep_the_last_of_each_day_week_month_and_year() -> None:
    found = judged(daily(800), 800)
    days = replace(NOTHING, daily=3)
    assert numbers(left(found, days)) == [797, 798, 799, 800]
    months = [entry.backup.cut.time[:7] for entry in left(found, replace(NOTHING, monthly=12)).entries]
    assert len(months) == len(set(months)) == 13
    years = [entry.backup.cut.time[:10] for entry in left(found, replace(NOTHING, yearly=5)).entries]
    assert years == ["2026-12-31", "2027-12-31", "2028-03-10"]
    weeks = left(found, replace(NOTHING, weekly=2)).entries
    assert [datetime.fromisoformat(entry.backup.cut.time).isoweekday() for entry in weeks] == [7, 7, 5]
    assert numbers(left(found, replace(NOTHING, last=2))) == [799, 800]


def test_every_moment_of_the_last_hours_stays_with_its_whole_plan() -> None:
    found = hourly(10)
    proven = judged(found, found.entries[-4].sequence)  # the newest full backup
    assert proven.entries[-4].backup.kind == "full"
    kept = left(proven, replace(NOTHING, hourly=4))  # one of them was the day before
    assert [entry.backup.kind for entry in kept.entries] == [
        "changes",
        "full",
        *["changes"] * 4,
        "full",
        *["changes"] * 3,
    ]
    assert len(bases(kept)) == len(kept.entries), "all of it can be reached"
    assert plan(kept, Point(time=at(24 * 8 + 2.5))).base.backup.cut.time == at(24 * 8)
    with pytest.raises(NotRestorable):
        plan(kept, Point(time=at(24 * 7 + 2.5)))


def test_every_moment_of_an_hour_stays_though_a_full_backup_was_made_in_it() -> None:
    found = journal(("gap", 1), ("full", 1), ("changes", 2), ("changes", 3), ("full", 3), ("changes", 4))
    found = judged(squeezed(begun_at_their_links(found)), 5)
    assert numbers(left(found, NOTHING)) == [4, 5, 6]
    assert numbers(left(found, replace(NOTHING, hourly=1))) == [1, 2, 3, 4, 5, 6]


def test_what_leads_from_the_proven_backup_to_the_newest_moment_stays() -> None:
    found = hourly(10)
    fulls = [entry.sequence for entry in found.entries if entry.backup.kind == "full"]
    kept = left(judged(found, fulls[3]), NOTHING)
    way = plan(kept, Point(base=fulls[3]))
    assert way.base.sequence == fulls[3]
    assert way.last.backup.cut == found.entries[-1].backup.cut


def test_a_full_backup_that_was_refuted_does_not_stand_for_its_day() -> None:
    found = journal(("full", 0), ("full", 1), ("full", 24), ("full", 48), ("full", 72))
    found = replace(found, verdicts=(verdict(2, failure="different"), verdict(5)))
    assert numbers(left(found, replace(NOTHING, daily=9))) == [1, 3, 4, 5]


def test_a_full_backup_that_an_audit_found_lost_proves_nothing() -> None:
    found = with_dumps(judged(daily(9), 2, 5, 9))
    lost = [part.cid for part in found.entry(9).backup.parts]
    fates = choose(found, NOTHING, lost=lost)
    assert [fate.entry.sequence for fate in fates if fate.stays] == [5, 6, 7, 8, 9]
    two = choose(found, replace(NOTHING, min_full=2), lost=lost)
    assert [fate.entry.sequence for fate in two if fate.stays] == [2, 5, 6, 7, 8, 9]
    assert all(fate.stays for fate in choose(found, replace(NOTHING, min_full=3), lost=lost))
    assert [fate.entry.sequence for fate in choose(found, NOTHING) if fate.stays] == [9]


@given(st.sets(st.integers(1, 9)), st.sets(st.integers(1, 9)), st.integers(1, 3))
def test_however_much_is_lost_what_is_whole_and_proven_stays(proven: set[int], gone: set[int], few: int) -> None:
    found = with_dumps(judged(daily(9), *sorted(proven)))
    lost = [part.cid for number in gone for part in found.entry(number).backup.parts]
    fates = choose(found, replace(NOTHING, min_full=few), lost=lost)
    staying = {fate.entry.sequence for fate in fates if fate.stays}
    whole = sorted(proven - gone)
    assert staying >= set(whole[-few:])
    assert len(whole) >= few or len(staying) == 9


def with_dumps(of: Journal) -> Journal:
    """Each full backup with an object of its own."""

    def stored(entry: Entry) -> Entry:
        cid = Cid(f"dump of {entry.sequence}")
        part = Part(name="dump", cid=cid, size=1, digest=Digest(""), plain_size=1, plain_digest=Digest(""))
        return replace(entry, backup=replace(entry.backup, parts=(part,)))

    return replace(of, entries=tuple(map(stored, of.entries)))


def test_a_full_backup_without_its_link_is_not_taken_for_a_newer_one() -> None:
    late = journal(("gap", 1), ("changes", 2), ("full", 2), ("changes", 3), ("full", 1), ("changes", 4))
    late = begun_at_their_links(late)
    kept = left(judged(late, 3), replace(NOTHING, yearly=1, last=2))
    assert numbers(kept) == [2, 3, 4, 5, 6]
    assert plan(kept, Point()).last.sequence == 6
    assert plan(replace(kept, entries=kept.entries[:-1]), Point()).last.sequence == 4


def test_changes_beside_a_full_backup_that_stands_alone_keep_what_they_begin_at() -> None:
    found = begun_at_their_links(journal(("gap", 1), ("full", 1), ("full", 2), ("changes", 3), ("full", 4)))
    fates = choose(judged(found, 3), NOTHING)
    assert [fate.entry.sequence for fate in fates if fate.stays] == [1, 2, 3, 4, 5]
    why = "all is kept from entry 2 on: the changes beside the newest proven full backup begin at it"
    assert fates[3].reasons == (why,)
    without = begun_at_their_links(journal(("gap", 1), ("full", 1), ("full", 2), ("gap", 3), ("full", 4)))
    assert numbers(left(judged(without, 3), NOTHING)) == [3, 4, 5]


def test_the_last_look_refuses_to_lose_a_way() -> None:
    found = judged(hourly(3), 2)
    with pytest.raises(Corrupted, match="no way to 3"):
        require_harmless(found, found.entries[2:], min_full=0)
    with pytest.raises(Corrupted, match="with 0 proven"):
        require_harmless(found, found.entries[5:], min_full=1)


# --- clocks ------------------------------------------------------------------------------------------------------


def test_times_that_never_go_back_are_the_longest_run() -> None:
    times = [at(hour) for hour in (1, 2, 9, 9, 3, 4, 5)]
    assert steady(times) == {0, 1, 4, 5, 6}
    assert steady([]) == frozenset()
    assert steady([at(2), at(2)]) == {0, 1}


def shifted(of: Journal, first: int, last: int, by: timedelta) -> Journal:
    """The same journal where the source's clock was wrong for a while."""

    def shown(entry: Entry) -> Entry:
        time = instant(datetime.fromisoformat(entry.backup.cut.time) + by)
        wrong = first <= entry.sequence <= last
        return (
            replace(entry, backup=replace(entry.backup, cut=replace(entry.backup.cut, time=time))) if wrong else entry
        )

    return replace(of, entries=tuple(map(shown, of.entries)))


@given(st.integers(1, 90), st.integers(0, 90), st.sampled_from([YEAR, -YEAR, YEAR / 2, -YEAR / 2]), st.integers(1, 30))
def test_a_clock_that_jumps_a_year_loses_no_day(first: int, length: int, by: timedelta, count: int) -> None:
    """Of each of the last days that were asked for there is a full backup, by what the day really was."""
    truly = judged(daily(90), 90)
    kept = left(shifted(truly, first, first + length, by), replace(NOTHING, daily=count))
    assert set(range(max(1, 91 - count), 91)) <= set(numbers(kept))


@pytest.mark.parametrize("by", [YEAR, -YEAR])
def test_what_a_wrong_clock_has_written_goes_in_its_turn(by: timedelta) -> None:
    truly = judged(daily(90), 90)
    kept = left(shifted(truly, 10, 20, by), replace(NOTHING, daily=14))
    assert numbers(kept) == list(range(76, 91))


# --- any journal -------------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 5)
POLICIES = st.builds(
    Policy,
    last=st.integers(1, 3),
    hourly=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    yearly=COUNTS,
    min_full=st.integers(1, 3),
)


@st.composite
def journals(draw: st.DrawFn) -> Journal:
    """Links and full backups, some recorded late, some beside the chain, some proven and some refuted, with clocks that
    jump.
    """
    kinds: list[tuple[Kind, int]] = [("gap", 1)]
    hour, ends = 1, [1]
    which = st.sampled_from(["full", "full", "late", "alone", "changes", "changes", "gap"])
    for kind in draw(st.lists(which, max_size=30)):
        if kind in ("changes", "gap"):
            hour += draw(st.sampled_from([1, 5, 24, 800]))
            ends.append(hour)
            kinds.append(("gap" if kind == "gap" else "changes", hour))
        elif kind == "alone":
            hour += 1
            kinds.append(("full", hour))
        elif full := draw(st.sampled_from(ends[-3:])) if kind == "late" else hour:
            kinds.append(("full", full))
    found = begun_at_their_links(journal(*kinds))
    for _ in range(draw(st.integers(0, 2))):
        first = draw(st.integers(0, len(found.entries)))
        found = consistent(found, first, first + draw(st.integers(0, 10)), draw(st.sampled_from([YEAR, -YEAR])))
    if draw(st.booleans()):
        found = squeezed(found)
    fulls = [entry.sequence for entry in found.entries if entry.backup.kind == "full"]
    verdicts = draw(st.lists(st.tuples(st.sampled_from(fulls), st.booleans()), max_size=12)) if fulls else []
    return replace(found, verdicts=tuple(verdict(n, failure=None if good else "different") for n, good in verdicts))


def begun_at_their_links(of: Journal) -> Journal:
    """A full backup's number is that of the version after the link at whose end it was begun, or its own."""
    ends = {entry.backup.cut: entry.sequence for entry in of.entries if entry.backup.link}
    begun = {e.sequence: ends.get(e.backup.cut, e.sequence - 1) + 1 for e in of.entries if e.backup.kind == "full"}
    return replace(
        of,
        entries=tuple(
            replace(e, backup=replace(e.backup, number=begun[e.sequence])) if e.sequence in begun else e
            for e in of.entries
        ),
    )


def consistent(of: Journal, first: int, last: int, by: timedelta) -> Journal:
    """As `shifted`, by cuts: links begin at the very cut at which the one before ended."""
    cuts = sorted({e.backup.cut for e in of.entries}, key=lambda cut: int(cut.snapshot.split(":")[0]))
    wrong = {
        cut: replace(cut, time=instant(datetime.fromisoformat(cut.time) + by)) if first <= i <= last else cut
        for i, cut in enumerate(cuts)
    }
    return replace(of, entries=tuple(_recut(entry, wrong) for entry in of.entries))


def squeezed(of: Journal) -> Journal:
    """What was an hour is six minutes."""
    begun = datetime.fromisoformat(at(0))
    return replace(of, entries=tuple(_recut(entry, _Squeezed(begun)) for entry in of.entries))


class _Squeezed(dict[Cut, Cut]):
    def __init__(self, begun: datetime) -> None:
        self.begun = begun

    def __missing__(self, cut: Cut) -> Cut:
        return replace(cut, time=instant(self.begun + (datetime.fromisoformat(cut.time) - self.begun) / 10))


def _recut(entry: Entry, cuts: Mapping[Cut, Cut]) -> Entry:
    backup = entry.backup
    link = backup.link
    if link is not None and link.since is not None:
        link = replace(link, since=cuts[link.since])
    return replace(entry, backup=replace(backup, cut=cuts[backup.cut], link=link))


def proven(of: Journal) -> list[int]:
    return [entry.sequence for entry in of.entries if of.is_proven(entry)]


@given(journals(), POLICIES)
def test_no_plan_ever_loses_the_only_proven_chain(before: Journal, policy: Policy) -> None:
    after = left(before, policy)
    assert len(proven(after)) >= min(policy.min_full, len(proven(before))), "I7"
    assert {e.sequence for e in after.entries if e.sequence in bases(before)} <= bases(after).keys(), "whole plans"
    if bases(before):
        assert plan(after, Point()).last == plan(before, Point()).last, "the newest moment"
    assert set(lately(before, policy.hourly)) <= bases(after).keys() or not policy.hourly, "every moment of these hours"
    for full in newest(proven(before), before):
        assert full in numbers(after)
        assert furthest(after, full) == furthest(before, full), "what the proven one leads to"


def lately(of: Journal, hours: int) -> list[int]:
    """What can be brought back and is of the last hours that have any, and of the newest. Where all clocks were right:
    nothing else is said of others.
    """
    order, ways = chain.order(of), bases(of)
    reached = sorted((e for e in of.entries if e.sequence in ways), key=lambda e: (order[e.sequence], e.sequence))
    times = [entry.backup.cut.time for entry in reached]
    if times != sorted(times):
        return []
    wanted = sorted({time[:13] for time in times})[-hours - 1 :]
    return [entry.sequence for entry in reached if entry.backup.cut.time[:13] in wanted]


def newest(fulls: Sequence[int], of: Journal) -> list[int]:
    """The one of them that shows the latest moment, in the chain's order."""
    order = chain.order(of)
    return sorted(fulls, key=lambda full: (order[full], full))[-1:]


def furthest(of: Journal, full: int) -> list[int]:
    """From that full backup, by all changes, as far as they carry."""
    try:
        way = plan(of, Point(base=full))
    except NotRestorable:
        return []
    return [way.base.sequence, *(step.sequence for step in way.steps)]


@given(journals(), POLICIES)
def test_retiring_again_lets_go_of_nothing_more(before: Journal, policy: Policy) -> None:
    once = left(before, policy)
    again = left(once, policy)
    assert len(proven(again)) >= min(policy.min_full, len(proven(before)))
    assert bases(once).keys() & set(numbers(again)) <= bases(again).keys()


@given(st.lists(st.integers(0, 2000), max_size=40), st.integers(0, 6))
def test_of_many_only_the_last_of_each_bucket(hours: Sequence[int], count: int) -> None:
    entries = journal(*(("full", hour) for hour in sorted(hours))).entries
    kept = last_of_each(entries, count, lambda time: time[:10])
    days = sorted({entry.backup.cut.time[:10] for entry in entries}, reverse=True)
    wanted = days[: count + 1] if count else []
    assert sorted((entry.backup.cut.time[:10] for entry in kept), reverse=True) == wanted
    for entry in kept:
        assert entry.sequence == max(
            e.sequence for e in entries if e.backup.cut.time[:10] == entry.backup.cut.time[:10]
        )


@pytest.mark.parametrize("give_up", [False, True])
@given(before=journals(), policy=POLICIES, gone=st.sets(st.integers(1, 31)))
def test_what_is_lost_costs_nothing_that_is_whole(
    *, give_up: bool, before: Journal, policy: Policy, gone: set[int]
) -> None:
    before = with_dumps(before)
    lost = [part.cid for entry in before.entries if entry.sequence in gone for part in entry.backup.parts]
    whole = surviving(before, lost)
    fates = choose(before, policy, lost=lost, give_up=lost if give_up else ())
    after = replace(before, entries=tuple(fate.entry for fate in fates if fate.stays))
    assert not give_up or not [entry for entry in bereft(after, lost) if entry.backup.kind == "full"]
    assert set(numbers(after)) & bases(whole).keys() <= bases(surviving(after, lost)).keys(), "whole plans"
    assert len(proven(after)) >= min(policy.min_full, len(proven(whole))), "I7"
    if bases(whole):
        assert plan(surviving(after, lost), Point()).last == plan(whole, Point()).last, "the newest moment"
