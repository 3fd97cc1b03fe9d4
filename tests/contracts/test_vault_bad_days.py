"""Bad days of the vault: peers that die, freeze or lie, disks that fail, connections that are wrong."""

import hashlib
import logging
import secrets
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fix_peers import STALL, Peers, cid_of, eventually
from pgkeep.adapters.ipfs import Endpoint, IpfsVault, Kubo, PeerAddress
from pgkeep.copies import holders_of
from pgkeep.errors import ConfigError, Unavailable
from pgkeep.model import Cid
from pgkeep.ports import Place

NOWHERE = Cid("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4")
MIB = 1024 * 1024


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"pgkeep/{request.node.name}/1"


def content(seed: str, size: int = 3 * MIB) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def replicated(vault: IpfsVault, data: bytes, name: str) -> Cid:
    cid = vault.add(iter([data]), name=name)
    vault.pin(cid, name=name, copies=3)
    assert eventually(lambda: held(vault, cid) == 3)
    return cid


def held(vault: IpfsVault, cid: Cid) -> int:
    return sum(holder.holds for holder in holders_of(cid, vault))


def gives(vault: IpfsVault, cid: Cid, place: Place, data: bytes) -> bool:
    """Whether these bytes are read there; a damaged object may end early or be refused."""
    try:
        return read(vault, cid, place) == data
    except Unavailable:
        return False


def read(vault: IpfsVault, cid: Cid, place: Place) -> bytes:
    return b"".join(vault.read(cid, at=place))


class Chunks:
    """A long stream that does something half-way, and knows whether it was closed."""

    def __init__(self, accident: str = "", peers: Peers | None = None) -> None:
        self.accident, self.peers = accident, peers
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for number in range(40):
                if number == 20 and self.peers:
                    self._happens(self.peers)
                yield content(str(number), MIB)
        finally:
            self.closed = True

    def _happens(self, peers: Peers) -> None:
        if self.accident == "kill":
            peers.kill("kubo", 1)
        else:
            peers.freeze("kubo", 1)


# --- storing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accident", ["kill", "freeze"])
def test_own_kubo_goes_away_while_it_stores(peers: Peers, name: str, accident: str) -> None:
    chunks = Chunks(accident, peers)
    with pytest.raises(Unavailable):
        peers.vault(stall=2).add(chunks, name=name)
    assert chunks.closed
    peers.start()
    assert not peers.vault().listing(name).names


def test_chunks_are_closed_even_if_none_was_taken(peers: Peers, name: str) -> None:
    def chunks() -> Iterator[bytes]:
        try:
            yield b"first"
        finally:
            closed.append(True)

    closed = list[bool]()
    started = chunks()
    assert next(started) == b"first"
    peers.kill("kubo", 1)
    with pytest.raises(Unavailable):
        peers.vault().add(started, name=name)
    assert closed


def test_a_failing_disk_is_no_backup(peers: Peers, name: str) -> None:
    chunks = Chunks()
    with peers.disk_failing(1), pytest.raises(Unavailable):
        peers.vault().add(chunks, name=name)
    assert chunks.closed
    assert not peers.vault().listing(name).names
    assert peers.vault().add(iter([b"the disk is well again"]), name=name)


def test_what_was_stored_survives_kill_9_of_the_own_peer(peers: Peers, name: str) -> None:
    vault = peers.vault()
    cid = vault.add(iter([content(name)]), name=name)
    peers.kill_peer(1)
    peers.start()
    assert vault.listing(name).names == {name: {cid}}
    assert read(vault, cid, vault.own()) == content(name)


def test_a_pin_that_was_confirmed_survives_kill_9_of_everything(peers: Peers, name: str) -> None:
    cid = peers.vault().add(iter([content(name)]), name=name + "/draft")
    peers.vault().pin(cid, name=name, copies=1)
    for number in (1, 2, 3):
        peers.kill_peer(number)
    peers.start()
    assert peers.vault().listing(name).names.keys() >= {name}


def test_a_pin_dropped_at_once_does_not_come_back(peers: Peers, name: str) -> None:
    """The cluster writes changes in batches: an unpin right after a pin would not find it, and the pin would stay."""
    vault = peers.vault()
    for number in range(5):
        cid = vault.add(iter([content(f"{name}{number}", 1000)]), name=name)
        vault.pin(cid, name=name, copies=1)
        vault.drop(cid)
        assert peers.cluster(1).find(cid) is None


# --- copies ------------------------------------------------------------------------------------------------------


def test_one_of_three_is_down_and_a_later_try_finishes(peers: Peers, name: str) -> None:
    vault = peers.vault()
    peers.kill_peer(3)
    cid = vault.add(iter([content(name)]), name=name)
    assert eventually(lambda: len(peers.cluster(1).free_space()) == 2)
    with pytest.raises(Unavailable, match="3 copies"):
        vault.pin(cid, name=name, copies=3)
    peers.start()
    vault.pin(cid, name=name, copies=3)
    assert eventually(lambda: held(vault, cid) == 3)


def test_a_copy_promised_to_a_dead_peer_does_not_count(peers: Peers, name: str) -> None:
    vault = peers.vault()
    cid = replicated(vault, content(name), name)
    peers.kill_peer(3)
    assert {holder.name for holder in holders_of(cid, vault) if holder.holds} == {"peer-1", "peer-2"}
    third = next(holder for holder in holders_of(cid, vault) if holder.name == "peer-3")
    assert third.status.startswith("cluster_error")
    peers.start()
    assert eventually(lambda: held(vault, cid) == 3)


def test_any_rest_will_do_while_the_own_cluster_peer_is_deaf(peers: Peers, name: str) -> None:
    deaf = replace(peers.address(1), cluster=Endpoint(url="http://127.0.0.1:1"))
    vault = IpfsVault([deaf, peers.address(2), peers.address(3)], stall=STALL)
    cid = replicated(vault, content(name), name)
    listing = vault.listing(name)
    assert listing.names == {name: {cid}}
    assert listing.silent.keys() == {"peer-1"}
    vault.drop(cid)
    assert eventually(lambda: not peers.vault().listing(name).names)


def test_no_pin_is_asked_for_while_the_own_cluster_peer_is_dead(peers: Peers, name: str) -> None:
    """The others would take it, and the own peer would let go of its copy when it comes back."""
    vault = peers.vault()
    cid = vault.add(iter([content(name)]), name=name)
    peers.kill("cluster", 1)
    assert eventually(lambda: len(peers.cluster(2).peers()) == 2)
    with pytest.raises(Unavailable):
        vault.pin(cid, name=name, copies=2)
    assert eventually(lambda: vault.health().able == 2), "three Kubos, of which one can be given nothing"
    assert peers.cluster(2).find(cid) is None
    peers.start()
    vault.pin(cid, name=name, copies=2)
    assert eventually(lambda: held(vault, cid) == 2)
    assert read(vault, cid, vault.own()) == content(name)


def test_a_frozen_cluster_peer_does_not_hide_the_others(peers: Peers, name: str) -> None:
    vault = peers.vault()
    cid = replicated(vault, content(name), name)
    peers.freeze("cluster", 2)
    unknown = [cid_of(f"{name}{i}".encode()) for i in range(200)]
    said = vault.holders([*unknown, cid])
    assert {holder.name for holder in said[cid] if holder.holds} == {"peer-1", "peer-3"}
    assert [holder.name for holder in said[cid] if holder.unsaid] == ["peer-2"]
    assert said.keys() == {*unknown, cid}
    assert not any(holder.holds or holder.wanted for other in unknown for holder in said[other])


def test_dropped_while_the_own_peer_is_down(peers: Peers, name: str) -> None:
    """It may hold a pin that only it knows, so this has to be repeated; what the others hold is let go of already."""
    vault = peers.vault()
    cid = replicated(vault, content(name), name)
    peers.kill_peer(1)
    with pytest.raises(Unavailable):
        vault.drop(cid)
    assert peers.cluster(2).find(cid) is None
    peers.start()
    vault.drop(cid)
    assert eventually(lambda: not vault.listing(name).names)


# --- bytes -------------------------------------------------------------------------------------------------------


def leaf_file(blocks: Path, data: bytes) -> Path:
    """The file in Kubo's flatfs that is the block of the second MiB of `data`."""
    wanted = data[MIB : 2 * MIB]
    files = (path for path in blocks.glob("*/*.data") if path.stat().st_size == MIB)
    return next(path for path in files if path.read_bytes() == wanted)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed"])
def test_damaged_bytes_on_one_peer(peers: Peers, name: str, damage: str) -> None:
    vault, data = peers.vault(), content(name)
    cid = replicated(vault, data, name)
    file = leaf_file(peers.blocks(2), data)
    block = file.read_bytes()
    file.unlink()
    if damage != "removed":
        file.write_bytes(bytes([block[0] ^ 1]) + block[1:] if damage == "flipped" else block[:-1])
    places = {place.name: place for place in vault.places() if place.local}
    assert held(vault, cid) == 3  # the cluster's word is about pins, not about bytes
    whole = {name for name, place in places.items() if gives(vault, cid, place, data)}
    assert whole == {"peer-1", "peer-3"}


def test_a_place_that_reads_through_all_finds_what_its_own_peer_lacks(peers: Peers, name: str) -> None:
    second = IpfsVault([peers.address(2), peers.address(1)], stall=STALL)
    cid = second.add(iter([content(name)]), name=name)
    vault = peers.vault()
    with pytest.raises(Unavailable):
        read(vault, cid, vault.own())
    assert read(vault, cid, vault.places()[-1]) == content(name)


def test_an_object_that_nobody_has_is_not_waited_for_for_ever(peers: Peers) -> None:
    vault = peers.vault(stall=2)
    with pytest.raises(Unavailable):
        read(vault, NOWHERE, vault.places()[-1])


def test_a_reader_that_stops_early_leaves_the_connection_clean(peers: Peers, name: str) -> None:
    vault = peers.vault()
    cid = vault.add(Chunks(), name=name)
    for _ in range(3):
        stream = vault.read(cid, at=vault.own())
        assert next(stream)
        stream.close()  # type: ignore[attr-defined]  # the port promises an Iterator; ours is a generator
    assert sum(map(len, vault.read(cid, at=vault.own()))) == 40 * MIB


# --- connections -------------------------------------------------------------------------------------------------


def test_peers_with_one_door_only(peers: Peers, name: str) -> None:
    """Kubo's RPC is often not reachable from elsewhere; a spare Kubo may have no cluster peer."""
    second = PeerAddress(name="two", kubo=None, cluster=peers.rest(2))
    third = PeerAddress(name="three", kubo=peers.rpc(3), cluster=None)
    vault = IpfsVault([peers.address(1), second, third], stall=STALL)
    cid = replicated(vault, content(name), name)
    assert [place.name for place in vault.places()] == ["peer-1", "three", "peer-1"]
    listing = vault.listing(name)
    assert listing.names == {name: {cid}}
    assert (dict(listing.silent), listing.asked) == ({}, 3)


def test_a_wrong_password_is_named_and_not_shown(peers: Peers, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    password = f"Pässword-{secrets.token_hex(8)}"
    wrong = replace(peers.address(1), name="pgkeep_cluster", cluster=peers.rest(1, password=password))
    vault = IpfsVault([wrong, peers.address(2), peers.address(3)], stall=STALL)
    cid = vault.add(iter([content(name)]), name=name)
    for ask in (lambda: vault.pin(cid, name=name, copies=3), lambda: holders_of(cid, vault)):
        with pytest.raises(ConfigError, match="pgkeep_cluster") as caught:
            ask()
        assert password not in repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert "pgkeep_cluster" in vault.listing(name).silent
    assert password not in caplog.text + repr(wrong)


def test_doors_that_were_swapped_are_no_outage(peers: Peers) -> None:
    swapped = PeerAddress(name="own", kubo=replace(peers.rest(1), login=None), cluster=peers.rpc(1))
    vault = IpfsVault([swapped], stall=STALL)
    for ask in (vault.own, lambda: holders_of(NOWHERE, vault), lambda: vault.add(iter([b"x"]), name="x")):
        with pytest.raises(ConfigError, match="own"):
            ask()


def test_an_own_pair_that_is_none_is_refused(peers: Peers, name: str) -> None:
    crossed = PeerAddress(name="own", kubo=peers.rpc(1), cluster=peers.rest(2))
    vault = IpfsVault([crossed, peers.address(3)], stall=STALL)
    cid = vault.add(iter([content(name)]), name=name)
    with pytest.raises(ConfigError, match="another Kubo"):
        vault.pin(cid, name=name, copies=3)
    assert vault.health().crossed() == ("own",)


def test_one_kubo_under_two_names_is_one_place_and_is_noticed(peers: Peers) -> None:
    twin = replace(peers.address(1), name="twin")
    vault = IpfsVault([peers.address(1), twin, peers.address(2)], stall=STALL)
    assert [place.name for place in vault.places()] == ["peer-1", "peer-2", "peer-1"]
    health = vault.health()
    assert len(health.kubo_ids) == health.able == 2
    assert len(health.shared()) == 2
    assert all("peer-1, twin" in line for line in health.shared())


# --- health ------------------------------------------------------------------------------------------------------


def test_healthy_peers(peers: Peers) -> None:
    health = peers.vault().health()
    assert [peer.failures for peer in health.peers] == [(), (), ()]
    assert {peer.kubo.version for peer in health.peers if peer.kubo} == {"0.43.0"}
    assert {peer.cluster.member.version for peer in health.peers if peer.cluster} == {"1.1.6"}
    assert all(peer.free and peer.kubo for peer in health.peers)
    assert len(health.kubo_ids) == 3
    assert (health.shared(), health.crossed(), dict(health.blind())) == ((), (), {})


def test_health_with_a_dead_peer_and_a_deaf_kubo(peers: Peers) -> None:
    peers.kill_peer(3)
    peers.kill("kubo", 2)
    first, second, third = peers.vault().health().peers
    assert (first.kubo is None, first.cluster is None, len(first.failures)) == (False, False, 0)
    assert (second.kubo is None, second.cluster is None, len(second.failures)) == (True, False, 1)
    assert (third.kubo, third.cluster, third.free, len(third.failures)) == (None, None, None, 2)


def test_a_kubo_without_any_pin_is_empty_and_not_silent(peers: Peers) -> None:
    kubo = peers.kubo(3)
    for cid in kubo.pins():
        kubo.unpin(cid)
    assert dict(kubo.pins()) == {}
    assert dict(peers.vault().listing("").silent) == {}


def test_a_client_can_be_used_alone(peers: Peers) -> None:
    kubo, cluster = Kubo(peers.rpc(2)), peers.cluster(2)
    assert cluster.id().kubo == kubo.id()
    assert {member.name for member in cluster.peers()} == {"peer-1", "peer-2", "peer-3"}
    assert cluster.free_space().keys() == cluster.id().sees
