"""The Target port's promises, over the double and over real PostgreSQL alike."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from fix_postgres import SAMPLE, Database, new_database, no_database, server
from pgkeep.errors import ConfigError, Corrupted
from pgkeep.inventory import Inventory, differences
from pgkeep.ports import Target
from pgkeep.testing import MemorySource, MemoryTarget


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A backup's two parts."""

    dump: bytes
    inventory: Inventory

    def chunks(self, *, size: int = 1000) -> Iterator[bytes]:
        return (self.dump[i : i + size] for i in range(0, len(self.dump), size))


class World(Protocol):
    """A target whose database can be looked at, and a backup of something else."""

    @property
    def target(self) -> Target: ...

    @property
    def captured(self) -> Captured: ...

    def standing(self) -> int | None:
        """The rows in the target's database, None if there is no such database."""

    def leftovers(self) -> int:
        """Databases that stand beside it under a temporary name."""


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemoryTarget()
        with MemorySource().snapshot() as snapshot:
            self.captured = Captured(dump=b"".join(snapshot.dump()), inventory=snapshot.inventory())

    @property
    def target(self) -> Target:
        return self.memory

    def standing(self) -> int | None:
        return self.memory.database.totals.rows if self.memory.database else None

    def leftovers(self) -> int:
        return self.memory.leftovers


class RealWorld:
    def __init__(self, source: Database, place: Database) -> None:
        self.place = place
        with source.source().snapshot() as snapshot:
            self.captured = Captured(dump=b"".join(snapshot.dump()), inventory=snapshot.inventory())

    @property
    def target(self) -> Target:
        return self.place.target()

    def standing(self) -> int | None:
        if not self.place.exists():
            return None
        with self.place.source().snapshot() as snapshot:
            return snapshot.inventory().totals.rows

    def leftovers(self) -> int:
        return len([name for name in self.place.beside() if "_pgkeep_" in name])


@pytest.fixture(params=["memory", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    sandbox = request.getfixturevalue("sandbox")
    with (
        new_database(server(sandbox, "source"), made=SAMPLE) as source,
        no_database(server(sandbox, "scratch")) as place,
    ):
        yield RealWorld(source, place)


def bring_back(world: World, *, replace: bool = False) -> str | None:
    world.target.require_free(replace=replace)
    with world.target.fresh(world.captured.inventory) as fresh:
        fresh.load(world.captured.chunks())
        return fresh.take_place(replace=replace)


def test_an_older_server_than_the_source_is_refused_before_anything_is_made(world: World) -> None:
    world.target.require_able(world.captured.inventory)
    newer = replace(world.captured.inventory, server_version=990_000)
    with pytest.raises(ConfigError, match="is PostgreSQL"):
        world.target.require_able(newer)
    assert (world.standing(), world.leftovers()) == (None, 0)


def test_what_comes_back_measures_as_its_source(world: World) -> None:
    with world.target.fresh(world.captured.inventory) as fresh:
        fresh.load(world.captured.chunks())
        restored = fresh.inventory(world.captured.inventory)
        assert differences(source=world.captured.inventory, restored=restored) == ()
        assert restored.totals == world.captured.inventory.totals


def test_what_comes_back_twice_is_defined_alike(world: World) -> None:
    found = []
    for _ in range(2):
        with world.target.fresh(world.captured.inventory) as fresh:
            fresh.load(world.captured.chunks())
            found.append(fresh.schema())
    assert found[0] == found[1]


def test_it_is_in_nobodys_way_before_it_takes_its_place(world: World) -> None:
    with world.target.fresh(world.captured.inventory) as fresh:
        fresh.load(world.captured.chunks())
        assert world.standing() is None
        assert world.leftovers() == 1
        assert fresh.take_place(replace=False) is None
    assert world.standing() == world.captured.inventory.totals.rows
    assert world.leftovers() == 0


def test_it_is_dropped_unless_it_took_its_place(world: World) -> None:
    with world.target.fresh(world.captured.inventory) as fresh:
        fresh.load(world.captured.chunks())
    assert (world.standing(), world.leftovers()) == (None, 0)


def test_it_is_dropped_on_an_error(world: World) -> None:
    with pytest.raises(ZeroDivisionError), world.target.fresh(world.captured.inventory):
        raise ZeroDivisionError
    assert (world.standing(), world.leftovers()) == (None, 0)


def test_what_the_dump_raises_comes_out_unchanged(world: World) -> None:
    error = Corrupted("a peer gave other bytes", next_step="look")

    def broken() -> Iterator[bytes]:
        yield world.captured.dump[: len(world.captured.dump) // 2]
        raise error

    with pytest.raises(Corrupted) as caught, world.target.fresh(world.captured.inventory) as fresh:
        fresh.load(broken())
    assert caught.value is error
    assert (world.standing(), world.leftovers()) == (None, 0)


def test_what_stands_there_is_not_replaced_unasked(world: World) -> None:
    bring_back(world)
    before = world.standing()
    with pytest.raises(ConfigError, match="not empty"):
        world.target.require_free(replace=False)
    with world.target.fresh(world.captured.inventory) as fresh:
        fresh.load(world.captured.chunks())
        with pytest.raises(ConfigError, match="not empty"):
            fresh.take_place(replace=False)
    assert (world.standing(), world.leftovers()) == (before, 0)


def test_what_is_replaced_stays_under_another_name(world: World) -> None:
    bring_back(world)
    kept = bring_back(world, replace=True)
    assert kept is not None
    assert "_before" in kept
    assert world.standing() == world.captured.inventory.totals.rows


def test_what_stands_there_is_told_and_told_apart(world: World) -> None:
    assert world.target.occupant() is None
    identities = list[str]()
    for _ in range(2):
        with world.target.fresh(world.captured.inventory) as fresh:
            fresh.load(world.captured.chunks())
            identities.append(fresh.identity)
            before = world.target.occupant()
            assert before is None or before.identity == identities[0], "who is beside it is not it"
            assert not world.target.holds(identities[-1]), "half-made"
            fresh.take_place(replace=True)
        found = world.target.occupant()
        assert found is not None
        assert found.identity == identities[-1], "it is the same under every name"
        assert found.tables == len(world.captured.inventory.tables)
        assert found.size
        assert found.sessions == 0
    assert len(set(identities)) == 2
    assert all(map(world.target.holds, identities)), "the first one under another name"
    assert not world.target.holds("0")


def test_its_label_says_where_it_is(world: World) -> None:
    assert "/" in world.target.label
