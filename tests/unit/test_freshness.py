"""What is late, wrong, or about to be: judged by the journal's own numbers and times, whatever the clocks say."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.errors import ConfigError, Corrupted, NotReplicated, Overdue
from pgkeep.freshness import Facts, Limits, Recollection, Seen, Shortage, error, judge, later, sight
from pgkeep.journal import Head, Journal
from pgkeep.model import Cid, instant
from unit.test_plan import at, journal
from unit.test_retention import judged

HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(newest=3 * HOUR, proven=8 * DAY, audit=3 * DAY, retained=1000)
DAYS = judged(journal(("gap", 1), ("full", 1), ("changes", 2), ("changes", 3)), 2)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is wrong with a key."""

    what: str
    next_step: str
    fatal: bool


def facts(of: Journal, *, hour: float, audited: float | None = None) -> Facts:
    """So many hours after the beginning, and all well otherwise. Entries are recorded at the moment that they show."""
    entries = tuple(replace(entry, recorded=entry.backup.cut.time) for entry in of.entries)
    of = replace(of, entries=entries, written=max((entry.recorded for entry in entries), default=of.written))
    return Facts(
        head=Head(journal=of, cid=Cid("head")),
        now=BEGIN + hour * HOUR,
        remembered=(),
        lineage={of.sequence: Cid("head")},
        audited=None if audited is None else at(audited),
        damage=None,
        lost=(),
        drills=True,
        retained=None,
        shortages=(),
        keys=(),
    )


def topics(found: Facts, limits: Limits = LIMITS) -> list[str]:
    return [concern.topic for concern in judge(found, limits)]


def remembering(found: Facts, sequence: int, cid: str | None = None) -> Facts:
    seen = Seen(sequence=sequence, cid=None if cid is None else Cid(cid), moment=None, entry=None)
    return replace(found, remembered=(Recollection(seen=seen, where="a notebook", forget="burn it"),))


def test_all_is_well() -> None:
    assert judge(facts(DAYS, hour=5), LIMITS) == ()


def test_a_newest_moment_that_is_too_old_is_named_with_its_entry() -> None:
    (concern,) = judge(facts(DAYS, hour=6.5), LIMITS)
    assert concern.topic == "newest"
    assert concern.kind is Overdue
    assert f"{at(3)} (entry 4), 3 h 30 min ago; 3 h are allowed" in concern.what
    assert "pgkeep backup shop" in concern.next_step


def test_only_what_can_be_restored_counts() -> None:
    """A gap whose full backup never came: the moment before it is the newest."""
    broken = judged(journal(("gap", 1), ("full", 1), ("gap", 9), ("changes", 10)), 2)
    (concern,) = judge(facts(broken, hour=10), LIMITS)
    assert f"{at(1)} (entry 2)" in concern.what


def test_a_journal_without_any_backup_is_late_in_the_end() -> None:
    assert topics(facts(journal(), hour=2)) == []
    assert topics(facts(journal(), hour=4)) == ["newest"]
    assert topics(facts(journal(("gap", 0)), hour=4)) == ["newest"]


def test_drills_and_audits_that_do_not_come() -> None:
    late = facts(DAYS, hour=24 * 9, audited=24 * 8)
    late = replace(late, head=replace(late.head, journal=replace(late.journal, verdicts=())))
    assert topics(late) == ["newest", "proven"]
    assert topics(replace(late, drills=False)) == ["newest"], "without a scratch server, nobody expects any"
    assert "no drill has proven any" in error("shop", judge(late, LIMITS)).what
    assert topics(facts(DAYS, hour=24 * 4)) == ["newest", "audit"]
    assert topics(facts(DAYS, hour=24 * 4, audited=20)) == ["newest", "audit"]
    assert topics(facts(DAYS, hour=24 * 4, audited=30)) == ["newest"]
    assert topics(facts(DAYS, hour=24 * 9, audited=24 * 9)) == ["newest", "proven"]


def test_what_an_audit_left_damaged_is_grave_whatever_its_age() -> None:
    found = replace(facts(DAYS, hour=7, audited=3), damage="dump of entry 2 (bafy): no whole copy is left")
    assert topics(found) == ["damaged", "newest"]
    said = error("shop", judge(found, LIMITS))
    assert isinstance(said, Corrupted)
    assert f"which ended at {at(3)}, found what it could not mend: dump of entry 2" in said.what
    assert "see docs/operating.md, 'The audit'; then: pgkeep audit shop --share 1" in said.next_step


def test_a_source_that_keeps_too_much() -> None:
    found = facts(DAYS, hour=4)
    assert topics(replace(found, retained=500)) == []
    assert topics(replace(found, retained=501)) == ["retained"]


def test_missing_copies_are_one_error_with_the_worst_of_them() -> None:
    shortages = (Shortage(entry=2, have=2, want=3), Shortage(entry=4, have=0, want=3))
    found = error("shop", judge(replace(facts(DAYS, hour=4), shortages=shortages), LIMITS))
    assert isinstance(found, NotReplicated)
    assert (found.have, found.want) == (0, 3)
    assert "entry 4, which the newest moment needs, has 0 copies instead of 3 (fewer than wanted: 2, 4)" in found.what


def test_missing_copies_are_waited_for_beside_anything_else() -> None:
    shortages = (Shortage(entry=2, have=2, want=3),)
    concerns = judge(replace(facts(DAYS, hour=7, audited=3), shortages=shortages), LIMITS)
    assert [concern.topic for concern in concerns] == ["newest", "copies"]
    waiting, last = (error("shop", concerns, last_try=last) for last in (False, True))
    assert isinstance(waiting, NotReplicated)
    assert (waiting.have, waiting.want, waiting.transient) == (2, 3, True)
    assert isinstance(last, Overdue)
    assert str(waiting) == str(last)
    assert isinstance(error("shop", concerns[:1], last_try=False), Overdue), "waiting does not make it younger"


def test_keys_that_expire_and_keys_that_have() -> None:
    soon = Said(what="the recipient expires", next_step="extend it", fatal=False)
    spent = Said(what="the node's own key has expired", next_step="extend that", fatal=True)
    assert isinstance(error("shop", judge(replace(facts(DAYS, hour=4), keys=(soon,)), LIMITS)), Overdue)
    both = error("shop", judge(replace(facts(DAYS, hour=4), keys=(soon, spent)), LIMITS))
    assert isinstance(both, ConfigError)
    assert str(both) == "shop: the node's own key has expired; the recipient expires. Next: extend that; extend it"


def test_a_journal_that_is_older_than_one_seen_before_is_the_gravest() -> None:
    found = remembering(facts(DAYS, hour=24), sequence=5)
    concerns = judge(found, LIMITS)
    assert [concern.topic for concern in concerns] == ["rollback", "newest"]
    said = error("shop", concerns)
    assert isinstance(said, Corrupted)
    assert "its journal is at version 4 (head), but what was seen before is version 5 (a notebook)" in said.what
    assert "burn it" in said.next_step
    short = judge(replace(found, shortages=(Shortage(entry=2, have=2, want=3),)), LIMITS)
    assert isinstance(error("shop", short, last_try=False), Corrupted), "that waits for no peer"


def test_another_journal_of_the_same_number_is_noticed() -> None:
    found = facts(DAYS, hour=4)
    assert topics(remembering(found, sequence=4, cid="head")) == []
    assert topics(remembering(found, sequence=4)) == []
    assert topics(remembering(found, sequence=3, cid="other")) == []
    assert topics(remembering(found, sequence=4, cid="other")) == ["rollback"]


def test_a_journal_that_has_gone_on_from_an_older_version_is_noticed() -> None:
    """What is remembered is no version that the newest one comes after: another 3 was in its place."""
    found = replace(facts(DAYS, hour=4), lineage={4: Cid("head"), 3: Cid("three")})
    assert topics(remembering(found, sequence=3, cid="three")) == []
    assert topics(remembering(found, sequence=3)) == []
    assert topics(remembering(found, sequence=2, cid="nobody knows any more")) == []
    assert topics(remembering(found, sequence=3, cid="other")) == ["rollback"]


def test_a_clock_that_is_a_year_behind_is_said_and_not_believed() -> None:
    found = facts(DAYS, hour=4, audited=3)
    assert topics(replace(found, now=found.now - YEAR)) == ["clock"]
    (concern,) = judge(replace(found, now=found.now - YEAR), LIMITS)
    assert instant(found.now - YEAR) in concern.what
    old = facts(judged(journal(("full", 1), ("full", 24 * 30)), 1), hour=0, audited=24 * 30)
    assert topics(replace(old, now=old.now - YEAR)) == ["clock", "proven"], "the journal's own times tell"


def test_a_clock_that_is_a_year_ahead_is_told_as_late() -> None:
    found = facts(DAYS, hour=4, audited=3)
    assert set(topics(replace(found, now=found.now + YEAR))) == {"newest", "proven", "audit"}


def test_a_source_whose_clock_is_ahead_does_not_hide_that_nothing_new_comes() -> None:
    found = facts(DAYS, hour=7, audited=3)
    *before, last = found.journal.entries
    ahead = replace(last, backup=replace(last.backup, cut=replace(last.backup.cut, time=at(24 * 365))))
    head = replace(found.head, journal=replace(found.journal, entries=(*before, ahead)))
    assert topics(replace(found, head=head)) == ["newest"]


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(0, 9))
def test_the_highest_number_ever_seen_decides(numbers: list[int], head: int) -> None:
    memory = None
    for number in numbers:
        memory = later(memory, Seen(sequence=number, cid=None, moment=None, entry=None))
    assert memory is not None
    found = facts(replace(DAYS, sequence=head), hour=4)
    assert ("rollback" in topics(remembering(found, sequence=memory.sequence))) == (head < max(numbers))


@given(st.integers(-400, 400), st.integers(0, 400))
def test_whoever_waits_long_enough_is_told_whatever_the_clock_said_before(days: int, more: int) -> None:
    """Later is never better: what is late stays so until somebody has done something."""
    found = facts(DAYS, hour=4 + 24 * days, audited=3)
    after = replace(found, now=found.now + more * DAY)
    assert set(topics(found)) - {"clock"} <= set(topics(after))
    assert ("newest" in topics(after)) == (days + more > 0)


def test_what_is_seen_names_the_newest_moment() -> None:
    found = facts(DAYS, hour=4)
    assert sight(found.head) == Seen(sequence=4, cid=Cid("head"), moment=at(3), entry=4)
    nothing = facts(journal(), hour=4)
    assert sight(nothing.head) == Seen(sequence=0, cid=Cid("head"), moment=None, entry=None)


@pytest.mark.parametrize(("hour", "late"), [(5.9, False), (6, False), (6.1, True)])
def test_the_limit_itself_is_not_late(hour: float, late: bool) -> None:
    assert (topics(facts(DAYS, hour=hour)) == ["newest"]) is late
