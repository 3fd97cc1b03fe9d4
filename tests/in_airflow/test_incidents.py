"""One letter when something is wrong, one when it is over; and none is lost before every way has taken it."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.airflow import incidents
from pgkeep.airflow.incidents import Incident, LastWords, Said, by_hand, delivered, late, nothing, over, wrong
from pgkeep.model import Instant

WAYS = ("mail", "1: slack")
NOW = Instant("2026-01-31T14:05:00.000000Z")
WELL = nothing("pgkeep_shop_watch")


def fails(incident: Incident, *topics: str) -> Incident:
    return wrong(incident, topics, ways=WAYS, now=NOW, write=lambda: (f"wrong: {', '.join(topics)}", ""))


def ends_well(incident: Incident) -> Incident:
    return over(incident, ways=WAYS, write=lambda: ("over", ""))


def subjects(incident: Incident) -> list[str]:
    return [letter.subject for letter in incident.outbox]


def test_further_failures_are_the_same_incident() -> None:
    broken = fails(fails(fails(WELL, "failed"), "failed"), "failed")
    assert subjects(broken) == ["wrong: failed"]
    assert subjects(ends_well(ends_well(broken))) == ["wrong: failed", "over"]
    again = fails(ends_well(broken), "failed")
    assert subjects(again) == ["wrong: failed", "over", "wrong: failed"]


def test_what_is_well_says_nothing() -> None:
    assert ends_well(WELL) == WELL
    assert WELL.forgettable


def test_another_thing_that_is_wrong_is_told() -> None:
    broken = fails(fails(WELL, "keys"), "keys", "newest")
    assert subjects(broken) == ["wrong: keys", "wrong: keys, newest"]
    less = fails(broken, "newest")
    assert subjects(less) == subjects(broken), "one thing less is no news before all is well"
    assert subjects(fails(less, "keys")) == [*subjects(broken), "wrong: keys"], "it has come back"


def test_a_run_that_hangs_and_then_fails_is_told_twice() -> None:
    hangs = late(WELL, "hangs", ways=WAYS, now=NOW, write=lambda: ("hangs", ""))
    assert subjects(fails(hangs, "failed")) == ["hangs", "wrong: failed"]
    still = late(fails(WELL, "failed"), "hangs", ways=WAYS, now=NOW, write=lambda: ("hangs", ""))
    assert subjects(fails(still, "failed")) == ["wrong: failed", "hangs"]


def test_a_letter_stays_until_every_way_has_taken_it() -> None:
    broken = fails(WELL, "failed")
    (letter,) = broken.outbox
    half = delivered(broken, letter, {"mail"})
    assert [left.ways for left in half.outbox] == [("1: slack",)]
    assert not delivered(half, half.outbox[0], {"1: slack"}).outbox
    assert not ends_well(half).forgettable


def test_words_belong_to_one_try() -> None:
    words = LastWords(run="r", task="t", attempt=2, what="no room left", topics=("failed",))
    said = Said().and_then(words).and_then(replace(words, run="r3"))
    assert said.of(run="r", task="t", attempt=2) == words
    assert said.of(run="r", task="t", attempt=3) is None, "the last try was killed before it could speak"
    assert said.of(run="r2", task="t", attempt=2) is None
    assert said.of(run="r3", task="t", attempt=2) is not None, "another run's do not hide them"


def test_runs_by_hand_are_told_one_by_one() -> None:
    incident = by_hand(WELL, ways=WAYS, write=lambda: ("r1 failed", ""))
    incident = by_hand(incident, ways=WAYS, write=lambda: ("r2 failed", ""))
    assert subjects(ends_well(incident)) == ["r1 failed", "r2 failed"], "and no other run has mended them"


@given(st.lists(st.sampled_from(["failed", "well", "deliver"])))
def test_letters_take_turns_whatever_happens(events: list[str]) -> None:
    """Nobody is ever told twice in a row that something is wrong, nor that it is well."""
    incident, sent = WELL, list[str]()
    for event in events:
        incident = (
            ends_well(incident) if event == "well" else fails(incident, "failed") if event == "failed" else incident
        )
        if event == "deliver":
            sent += subjects(incident)
            for letter in incident.outbox:
                incident = delivered(incident, letter, letter.ways)
    told = (sent + subjects(incident))[-incidents.MOST_LETTERS :]
    assert all(one != other for one, other in itertools.pairwise(told))
    assert (incident.since is not None) == (bool(told) and told[-1] != "over")
