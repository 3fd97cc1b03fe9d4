"""The Capture port's promises, over the double and over real PostgreSQL: every transaction once, in one window."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import pytest
from psycopg import conninfo, pq

from fix_postgres import Database, eventually, new_database, server
from pgkeep import positions
from pgkeep.adapters.postgres import LogicalCapture
from pgkeep.delta import sections
from pgkeep.errors import Unavailable
from pgkeep.model import Backup, Entry, Instant, KeyFingerprint, Link, Origin
from pgkeep.ports import Capture, Source, Window
from pgkeep.testing import MemoryCapture, MemorySource

SLOT = "pgkeep_room_capture"


class World(Protocol):
    """A source to which numbers are committed; the tests' numbers have seven digits."""

    @property
    def source(self) -> Source: ...

    @property
    def capture(self) -> Capture: ...

    def commit(self, number: int) -> None: ...

    def lose_slot(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemorySource()
        self.source: Source = self.memory
        self.slots = MemoryCapture(self.memory)
        self.capture: Capture = self.slots

    def commit(self, number: int) -> None:
        self.memory.commit(number)

    def lose_slot(self) -> None:
        self.slots.slot = None


class RealWorld:
    def __init__(self, database: Database) -> None:
        self.database = database
        source = database.source()
        self.source: Source = source
        self.capture: Capture = LogicalCapture(source=source, slot=SLOT, measured=1 << 20, kept=1 << 30)

    def commit(self, number: int) -> None:
        self.database.run(f"INSERT INTO kept VALUES ({number})")

    def lose_slot(self) -> None:
        self.database.run(f"SELECT pg_drop_replication_slot('{SLOT}')")


@pytest.fixture(params=["memory", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    made = "CREATE TABLE kept (number int PRIMARY KEY)"
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=made) as database:
        yield RealWorld(database)


def backup_of(window: Window, link: Link, *, after: Backup | None = None) -> Backup:
    """As the journal keeps it: what its position leaves out is as it was `after` that one."""
    then = after.link.position if after and after.link else None
    return Backup(
        database="shop",
        kind="changes" if link.gap is None else "gap",
        number=1,
        cut=window.cut,
        server_version=window.server_version,
        parts=(),
        totals=None,
        link=replace(link, position=positions.whole(link.position, then=then)) if after else link,
        origin=Origin(host="here", by="test"),
        seconds=1.0,
    )


def begun(world: World) -> Backup:
    with world.source.exclusively(), world.capture.begin(None) as window:
        return backup_of(window, window.link(gap="the first"))


def carried(world: World, last: Backup) -> tuple[Backup, list[int]]:
    """The next link, and the numbers that it carries."""
    with world.capture.window(last) as window:
        numbers = numbers_in(b"".join(window.changes()))
        return backup_of(window, window.link(gap=None), after=last), numbers


def numbers_in(changes: bytes) -> list[int]:
    pieces = sections([changes]) if changes else ()
    content = b"".join(chunk for section, chunk in pieces if section.kind == "transaction")
    return [int(number) for number in re.findall(rb"\b\d{7}\b", content)]


def entry(backup: Backup) -> Entry:
    return Entry(
        sequence=1,
        recorded=Instant("2026-01-02T03:04:05.000000Z"),
        backup=backup,
        recipients=(),
        signer=KeyFingerprint("A" * 40),
        copies=1,
        holders={},
    )


def test_every_transaction_is_in_one_window(world: World) -> None:
    world.commit(1_000_001)
    last = begun(world)
    assert world.capture.broken(last) is None
    for numbers in ([1_000_002, 1_000_003], [], [1_000_004]):
        for number in numbers:
            world.commit(number)
        last, found = carried(world, last)
        assert found == numbers
        assert last.link
        assert (last.link.transactions, last.link.changes) == (len(numbers), len(numbers))
        world.source.release(entry(last))


def test_a_quiet_window_holds_nothing(world: World) -> None:
    last = begun(world)
    with world.capture.window(last) as window:
        assert b"".join(window.changes()) == b""
        assert window.link(gap=None).since == last.cut


def test_what_is_committed_after_the_cut_belongs_to_the_next_window(world: World) -> None:
    last = begun(world)
    with world.capture.window(last) as window:
        world.commit(1_000_001)
        assert numbers_in(b"".join(window.changes())) == []
        last = backup_of(window, window.link(gap=None), after=last)
    assert carried(world, last)[1] == [1_000_001]


def test_a_window_that_was_not_recorded_is_read_again(world: World) -> None:
    last = begun(world)
    world.commit(1_000_001)
    assert carried(world, last)[1] == [1_000_001]
    world.commit(1_000_002)
    again, found = carried(world, last)
    assert found == [1_000_001, 1_000_002]
    for _ in range(2):
        world.source.release(entry(again))
    assert world.capture.broken(again) is None
    assert carried(world, again)[1] == []


def test_a_window_says_which_tables_it_changed(world: World) -> None:
    last = begun(world)
    world.commit(1_000_001)
    with world.capture.window(last) as window:
        list(window.changes())
        (table,) = window.update().tables
        assert table.schema == "public"
        assert table.rows > 0
        assert window.update().cut == window.cut


def test_a_lost_slot_is_noticed_and_begun_anew(world: World) -> None:
    last = begun(world)
    world.lose_slot()
    assert "slot" in (world.capture.broken(last) or "")
    with world.source.exclusively(), world.capture.begin(last) as window:
        link = window.link(gap="the slot is lost")
        assert link.since == last.cut
        again = backup_of(window, link, after=last)
    world.commit(1_000_001)
    assert world.capture.broken(again) is None
    assert carried(world, again)[1] == [1_000_001]


def test_beginning_anew_lets_go_of_what_was_kept(world: World) -> None:
    old = begun(world)
    world.commit(1_000_001)
    new = begun(world)
    assert carried(world, new)[1] == []
    assert new.link != old.link


def test_a_moment_of_the_window_can_be_dumped(world: World) -> None:
    last = begun(world)
    world.commit(1_000_001)
    with world.capture.window(last) as window:
        list(window.changes())
        world.commit(1_000_002)
        assert window.inventory().cut == window.cut
        assert sum(map(len, window.dump())) > 0


def test_only_one_run_makes_up_for_a_missing_full_backup(request: pytest.FixtureRequest) -> None:
    made = "CREATE TABLE kept (number int PRIMARY KEY)"
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=made) as database:
        world = RealWorld(database)
        last = begun(world)
        with world.capture.window(last) as first:
            assert first.alone()
            with world.capture.window(last) as second:
                assert not second.alone()
        with world.capture.window(last) as third:
            assert third.alone()


def test_a_slot_that_keeps_too_much_is_dropped_before_the_disk_is_full(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    made = "CREATE TABLE kept (number int PRIMARY KEY)"
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=made) as database:
        world = RealWorld(database)
        last = begun(world)
        world.capture.spare_disk()
        assert world.capture.broken(last) is None
        world.capture = LogicalCapture(source=database.source(), slot=SLOT, measured=1, kept=100_000)
        database.run("INSERT INTO kept SELECT generate_series(1, 10000)")
        world.capture.spare_disk()
        assert "slot was dropped" in caplog.text
        assert "is gone" in (world.capture.broken(last) or "")


def test_a_slot_that_somebody_reads_is_left_alone(request: pytest.FixtureRequest) -> None:
    made = "CREATE TABLE kept (number int PRIMARY KEY)"
    with new_database(server(request.getfixturevalue("sandbox"), "source"), made=made) as database:
        world = RealWorld(database)
        last = begun(world)
        with reading(database), world.capture.window(last) as window:
            with pytest.raises(Unavailable, match="run it again"):
                list(window.changes())
            with pytest.raises(Unavailable, match="read by somebody else"):
                begun(world)
        assert carried(world, last)[1] == []


@contextmanager
def reading(database: Database) -> Iterator[None]:
    """Somebody streams from the slot."""
    parameters = database.server.parameters(database.name) | {"replication": "database"}
    connection = pq.PGconn.connect(conninfo.make_conninfo("", **parameters).encode())
    options = "proto_version '1', publication_names 'pgkeep'"
    started = connection.exec_(f"START_REPLICATION SLOT {SLOT} LOGICAL 0/0 ({options})".encode())
    assert started.status == pq.ExecStatus.COPY_BOTH
    try:
        yield
    finally:
        connection.finish()
        assert eventually(lambda: database.ask("SELECT active FROM pg_replication_slots") == [(False,)])
