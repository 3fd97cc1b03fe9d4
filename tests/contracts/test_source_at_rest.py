"""A dump of a real server that begins while litter is swept waits for that, in whichever way it is made."""

import threading
from collections.abc import Iterator

import pytest

from fix_postgres import SAMPLE, Database, new_database, server
from pgkeep.ports import Snapshot


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=SAMPLE) as database:
        yield database


def test_a_dump_waits_until_the_sweep_is_over(database: Database) -> None:
    source, dumped = database.source(), list[bytes]()

    def dump(snapshot: Snapshot) -> None:
        dumped.extend(snapshot.dump())

    with source.snapshot() as snapshot:
        other = threading.Thread(target=dump, args=(snapshot,))
        with source.at_rest() as resting:
            assert resting
            other.start()
            other.join(1.0)
            assert not dumped
        other.join()
        assert dumped
        assert snapshot.inventory().totals.tables > 0


def test_two_dumps_do_not_wait_for_each_other(database: Database) -> None:
    source = database.source()
    with source.snapshot() as first, source.snapshot() as second:
        one, other = first.dump(), second.dump()
        begun = (next(one), next(other))  # a fast one may be whole by now
        assert all(len(begin) + sum(map(len, rest)) for begin, rest in zip(begun, (one, other), strict=True))


def test_another_database_s_dump_is_no_hindrance(database: Database, request: pytest.FixtureRequest) -> None:
    with (
        new_database(server(request.getfixturevalue("sandbox"), "source"), made=SAMPLE) as neighbour,
        neighbour.source().snapshot() as snapshot,
    ):
        assert sum(map(len, snapshot.dump()))
        with database.source().at_rest() as resting:
            assert resting
