"""When something is told, and when it is no news."""

import pytest

from pgkeep.airflow import incidents
from pgkeep.airflow.incidents import Incident
from pgkeep.model import Instant

WAYS = ("mail",)


def at(hour: int) -> Instant:
    return Instant(f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00.000000Z")


def told(*runs: tuple[int, str]) -> list[int]:
    """The hours of the runs that were told, of runs that failed at these hours because of these topics; "": one ended
    well."""
    incident, hours = incidents.nothing("pgkeep_shop_watch"), list[int]()

    def write() -> tuple[str, str]:
        hours.append(hour)
        return "subject", "text"

    for hour, topics in runs:
        incident = (
            incidents.wrong(incident, topics.split(), ways=WAYS, now=at(hour), write=write)
            if topics
            else incidents.over(incident, ways=WAYS, write=write)
        )
    return hours


@pytest.mark.parametrize(
    ("runs", "hours"),
    [
        ([(0, "copies"), (1, "copies"), (200, "copies")], [0]),
        ([(0, "copies"), (1, "copies keys"), (2, "copies keys")], [0, 1]),
        ([(0, "copies"), (1, "keys"), (2, "copies"), (3, "keys"), (4, "copies keys")], [0, 1]),
        ([(0, "copies keys"), (1, "keys"), (24, "keys"), (26, "copies keys")], [0, 26]),
        ([(0, "copies keys"), (1, "keys"), (24, "copies keys"), (25, "keys"), (48, "copies keys")], [0]),
        ([(0, "copies"), (1, ""), (2, ""), (3, "copies")], [0, 1, 3]),
    ],
)
def test_what_was_told_is_no_news_within_a_day(runs: list[tuple[int, str]], hours: list[int]) -> None:
    assert told(*runs) == hours


def test_a_run_that_hangs_is_told_beside_what_is_wrong() -> None:
    def write() -> tuple[str, str]:
        return "subject", "text"

    found: Incident = incidents.nothing("pgkeep_shop_full")
    for hour in (0, 1):
        found = incidents.late(found, "hangs", ways=WAYS, now=at(hour), write=write)
    found = incidents.wrong(found, ["failed"], ways=WAYS, now=at(2), write=write)
    assert (found.since, len(found.outbox), found.topics) == (at(0), 2, ("failed",))
