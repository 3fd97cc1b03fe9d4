"""What the Vault port promises of damaged copies, over the double and over three real peers alike."""

import hashlib
from pathlib import Path
from typing import Protocol

import pytest

from fix_peers import Peers, eventually
from pgkeep.copies import holders_of
from pgkeep.errors import Unavailable
from pgkeep.model import Cid
from pgkeep.ports import Place, Vault
from pgkeep.testing import MemoryVault

MIB = 1024 * 1024
DAMAGE = ("leaf rotten", "leaf gone", "root gone", "pin gone", "disk replaced")


class World(Protocol):
    """Three peers of which the second can be damaged."""

    @property
    def vault(self) -> Vault: ...

    def damage(self, how: str, cid: Cid, data: bytes) -> None: ...

    def pin_name(self, cid: Cid) -> str | None: ...

    def stop(self) -> None:
        """The second peer answers no more."""


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemoryVault()

    @property
    def vault(self) -> Vault:
        return self.memory

    def damage(self, how: str, cid: Cid, data: bytes) -> None:
        bob = self.memory.peers[1]
        if how == "leaf rotten":
            bob.flip(cid)
        elif how == "pin gone":
            bob.unpin(cid)
        elif how == "disk replaced":
            bob.new_disk()
        else:
            bob.lose(cid)

    def pin_name(self, cid: Cid) -> str | None:
        peer = self.memory.peers[1]
        return None if cid in peer.unpinned else peer.pins.get(cid, "")  # a cluster pins without a name

    def stop(self) -> None:
        self.memory.peers[1].up = False


class RealWorld:
    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self.real = peers.vault()

    @property
    def vault(self) -> Vault:
        return self.real

    def damage(self, how: str, cid: Cid, data: bytes) -> None:
        if how == "pin gone":
            self.peers.kubo(2).unpin(cid)
        elif how == "disk replaced":
            self.peers.replace_disk(2)
        elif how == "root gone":
            self.peers.block(2, cid).unlink()
        else:
            spoil(self._leaf(data), rotten=how == "leaf rotten")

    def _leaf(self, data: bytes) -> Path:
        """The block of the second MiB of `data`."""
        wanted = data[MIB : 2 * MIB]
        files = (path for path in self.peers.blocks(2).glob("*/*.data") if path.stat().st_size == MIB)
        return next(path for path in files if path.read_bytes() == wanted)

    def pin_name(self, cid: Cid) -> str | None:
        return self.peers.kubo(2).pins().get(cid)

    def stop(self) -> None:
        self.peers.kill_peer(2)


def spoil(file: Path, *, rotten: bool) -> None:
    block = file.read_bytes()
    file.unlink()
    if rotten:
        file.write_bytes(bytes([block[0] ^ 1]) + block[1:])


@pytest.fixture(params=["memory", "real"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    peers: Peers = request.getfixturevalue("peers")
    return RealWorld(peers)


@pytest.fixture
def data(request: pytest.FixtureRequest) -> bytes:
    return hashlib.shake_128(request.node.name.encode()).digest(3 * MIB)


def replicated(vault: Vault, data: bytes) -> Cid:
    cid = vault.add(iter([data]), name="pgkeep/shop/full/1/dump")
    vault.pin(cid, name="pgkeep/shop/full/1/dump", copies=3)
    assert eventually(lambda: sum(holder.holds for holder in holders_of(cid, vault)) == 3)
    return cid


def second(vault: Vault) -> Place:
    return vault.places()[1]


def gives(vault: Vault, cid: Cid, data: bytes) -> bool:
    try:
        return b"".join(vault.read(cid, at=second(vault))) == data
    except Unavailable:
        return False


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_peer_gets_back_what_it_lacks(world: World, data: bytes, damage: str) -> None:
    vault = world.vault
    cid = replicated(vault, data)
    world.damage(damage, cid, data)
    assert gives(vault, cid, data) == (damage == "pin gone")
    name = "pgkeep/shop/recorded/1/dump"
    try:
        vault.fetch(cid, name=name, at=second(vault))
        assert damage != "leaf rotten"
    except Unavailable:
        assert damage == "leaf rotten"
        assert world.pin_name(cid) is not None, "what counts copies does not see one less while it is mended"
        vault.scrub(second(vault))
        vault.fetch(cid, name=name, at=second(vault))
    assert gives(vault, cid, data)
    assert world.pin_name(cid) == name
    assert eventually(lambda: sum(holder.holds for holder in holders_of(cid, vault)) == 3)


def test_a_peer_that_lost_a_pin_is_still_wanted(world: World, data: bytes) -> None:
    cid = replicated(world.vault, data)
    world.damage("pin gone", cid, data)
    peer = second(world.vault).peer
    assert eventually(
        lambda: [(h.wanted, h.holds) for h in holders_of(cid, world.vault) if h.peer == peer] == [(True, False)],
        seconds=10,
    )


def test_nothing_is_done_to_what_is_whole(world: World, data: bytes) -> None:
    cid = replicated(world.vault, data)
    for _ in range(2):
        world.vault.fetch(cid, name="pgkeep/shop/recorded/1/dump", at=second(world.vault))
        world.vault.scrub(second(world.vault))
    assert gives(world.vault, cid, data)


def test_a_peer_that_does_not_answer_is_unavailable(world: World, data: bytes) -> None:
    vault = world.vault
    cid, place = replicated(vault, data), second(vault)
    world.stop()
    with pytest.raises(Unavailable):
        vault.fetch(cid, name="x", at=place)
    with pytest.raises(Unavailable):
        vault.scrub(place)


def test_every_peer_says_what_room_it_has(world: World) -> None:
    room = world.vault.room()
    assert len(room) == 3
    assert all(free > 0 for free in room.values())
    assert {place.name for place in world.vault.places()} == room.keys()


def test_what_is_nowhere_is_not_waited_for_for_ever(peers: Peers) -> None:
    vault = peers.vault(stall=2)
    nowhere = Cid("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4")
    with pytest.raises(Unavailable, match="no progress"):
        vault.fetch(nowhere, name="x", at=second(vault))
