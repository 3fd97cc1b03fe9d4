"""The Source port's promises, over the double and over real PostgreSQL alike."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from fix_postgres import LARGE, SAMPLE, children, new_database, server
from pgkeep.adapters.postgres import PostgresSource
from pgkeep.errors import Unavailable
from pgkeep.model import Backup, Entry, Instant, KeyFingerprint, Origin
from pgkeep.ports import Snapshot, Source
from pgkeep.testing import MemorySource


class World(Protocol):
    """A source whose pg_dump can be killed."""

    @property
    def source(self) -> Source: ...

    def killed_dump(self, snapshot: Snapshot) -> Iterator[bytes]:
        """A dump that is killed when its first bytes have come."""


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemorySource()

    @property
    def source(self) -> Source:
        return self.memory

    def killed_dump(self, snapshot: Snapshot) -> Iterator[bytes]:
        self.memory.dies_after = 100
        with self.memory.snapshot() as dying:
            yield from dying.dump()


class RealWorld:
    def __init__(self, source: PostgresSource) -> None:
        self.real = source

    @property
    def source(self) -> Source:
        return self.real

    def killed_dump(self, snapshot: Snapshot) -> Iterator[bytes]:
        for chunk in snapshot.dump():
            for child in children("pg_dump"):
                child.kill()
            yield chunk


@pytest.fixture(params=["memory", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=SAMPLE + LARGE) as database:
        yield RealWorld(database.source())


def test_a_snapshot_dumps_and_measures_one_moment(world: World) -> None:
    with world.source.snapshot() as snapshot:
        assert sum(map(len, snapshot.dump())) > 0
        assert b"".join(snapshot.globals()).count(b"CREATE ROLE") > 0
        inventory = snapshot.inventory()
        assert inventory.cut == snapshot.cut
        assert inventory.server_version == snapshot.server_version >= 150_000
        assert inventory.totals.tables == len(inventory.tables) > 0


def test_two_looks_at_a_quiet_source_measure_the_same(world: World) -> None:
    with world.source.snapshot() as first, world.source.snapshot() as second:
        assert first.inventory().totals == second.inventory().totals


def test_a_killed_dump_never_ends_as_if_it_were_whole(world: World) -> None:
    with world.source.snapshot() as snapshot, pytest.raises(Unavailable, match="pg_dump"):
        for _ in world.killed_dump(snapshot):
            pass


def test_a_dump_may_be_left_early(world: World) -> None:
    with world.source.snapshot() as snapshot, ExitStack() as stack:
        chunks = snapshot.dump()
        stack.callback(getattr(chunks, "close"))  # noqa: B009 - what every generator has, and the port's type has not
        assert next(chunks)
    assert children("pg_dump") == []


def test_only_one_writes_at_a_time(world: World) -> None:
    inside, order = threading.Event(), list[str]()

    def second() -> None:
        inside.wait()
        with world.source.exclusively():
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with world.source.exclusively():
        inside.set()
        other.join(0.3)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_a_source_is_at_rest_unless_a_dump_runs(world: World) -> None:
    with world.source.at_rest() as resting:
        assert resting
    with world.source.snapshot() as snapshot, ExitStack() as stack:
        chunks = snapshot.dump()
        stack.callback(getattr(chunks, "close"))  # noqa: B009 - what every generator has, and the port's type has not
        next(chunks)
        with world.source.at_rest() as resting:
            assert not resting
        for _ in chunks:
            pass
        with world.source.at_rest() as resting:
            assert not resting, "what it wrote is still measured"
    with world.source.at_rest() as resting:
        assert resting


def test_nobody_writes_while_a_source_is_at_rest(world: World) -> None:
    order = list[str]()

    def writer() -> None:
        with world.source.exclusively():
            order.append("written")

    other = threading.Thread(target=writer)
    with world.source.at_rest():
        other.start()
        other.join(0.3)
        order.append("rested")
    other.join()
    assert order == ["rested", "written"]


def test_the_writers_lock_is_free_again_after_an_error(world: World) -> None:
    with pytest.raises(ZeroDivisionError), world.source.exclusively():
        raise ZeroDivisionError
    with world.source.exclusively():
        held = True
    assert held


def test_releasing_is_safe_to_repeat(world: World) -> None:
    with world.source.snapshot() as snapshot:
        entry = entry_of(snapshot)
    for _ in range(2):
        world.source.release(entry)
    with world.source.snapshot() as snapshot:
        assert snapshot.inventory().totals == entry.backup.totals


def entry_of(snapshot: Snapshot) -> Entry:
    inventory = snapshot.inventory()
    backup = Backup(
        database="shop",
        kind="full",
        number=1,
        cut=inventory.cut,
        server_version=inventory.server_version,
        parts=(),
        totals=inventory.totals,
        link=None,
        origin=Origin(host="here", by="test"),
        seconds=1.0,
    )
    return Entry(
        sequence=1,
        recorded=Instant("2026-01-02T03:04:05.000000Z"),
        backup=backup,
        recipients=(),
        signer=KeyFingerprint("A" * 40),
        copies=1,
        holders={},
    )
