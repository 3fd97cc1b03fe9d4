"""Waiting for copies: when it fires, and what it does meanwhile."""

import asyncio
import pkgutil
import time
from typing import Any, cast

import pytest
from airflow.triggers.base import TriggerEvent

from in_airflow.world import World
from pgkeep import backup, records
from pgkeep.airflow.triggers import ReplicationTrigger
from pgkeep.errors import ConfigError
from pgkeep.model import Origin, Sealed
from pgkeep.ports import Vault


def sealed(world: World) -> Sealed:
    stored = backup.capture(world.source, world.sealer, world.vault, world.journals, origin=Origin(host="h", by="t"))
    return backup.check(stored, world.sealer, world.vault)


class Waiting(ReplicationTrigger):
    """The trigger over a vault of the test, which changes after each look."""

    def __init__(self, world: World, *, seconds: float = 3600.0, comes_back_after: int = 10**9) -> None:
        record = records.encode(sealed(world))
        super().__init__(sealed=record, copies=3, deadline=time.time() + seconds, pause=0.001)
        self.world = world
        self.looks = 0
        self.comes_back_after = comes_back_after

    def vault(self) -> Vault:
        self.looks += 1
        for peer in self.world.vault.peers:
            peer.up = peer.up or self.looks > self.comes_back_after
        return self.world.vault


class Misplaced(Waiting):
    def vault(self) -> Vault:
        raise ConfigError("PGKEEP_CONFIG is not set", next_step="export it")


async def _first(trigger: ReplicationTrigger) -> TriggerEvent:
    return await anext(aiter(trigger.run()))


def fired(trigger: ReplicationTrigger) -> dict[str, Any]:
    return cast(dict[str, Any], asyncio.run(_first(trigger)).payload)


def test_it_fires_when_the_missing_peer_is_back_and_writes_the_pin_that_could_not_be_written(world: World) -> None:
    trigger = Waiting(world, comes_back_after=3)
    world.vault.peers[2].up = False
    assert fired(trigger) == {"deadline": trigger.deadline, "pause": 0.016, "refused": ""}
    assert trigger.looks == 4
    assert len(world.vault.cluster) > 1


def test_nobody_answering_is_waited_for(world: World) -> None:
    trigger = Waiting(world, comes_back_after=2)
    for peer in world.vault.peers:
        peer.up = False
    assert not fired(trigger)["refused"]
    assert trigger.looks == 3


def test_it_fires_at_the_deadline(world: World) -> None:
    world.vault.peers[2].up = False
    trigger = Waiting(world, seconds=0.2)
    assert not fired(trigger)["refused"]
    assert time.time() >= trigger.deadline


def test_a_triggerer_that_is_not_set_up_says_so_at_once(world: World) -> None:
    assert "PGKEEP_CONFIG is not set" in fired(Misplaced(world))["refused"]


def test_it_travels(world: World) -> None:
    kwargs: dict[str, Any] = {"sealed": records.encode(sealed(world)), "copies": 3, "deadline": 1.5, "pause": 15.0}
    path, again = ReplicationTrigger(**kwargs).serialize()
    assert pkgutil.resolve_name(path) is ReplicationTrigger
    assert again == kwargs


@pytest.mark.parametrize("pause", [15.0, 600.0])
def test_pauses_grow_but_not_for_ever(world: World, pause: float) -> None:
    trigger = Waiting(world, seconds=1.0)
    trigger.pause = pause
    world.vault.peers[2].up = False
    assert fired(trigger)["pause"] == min(2 * pause, 600.0)
