"""The Vault port's promises, over the double and over three real peers alike."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

import pytest

from fix_peers import Peers, eventually
from pgkeep.copies import holders_of
from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.model import Cid
from pgkeep.ports import Vault
from pgkeep.testing import MemoryVault

NOWHERE = Cid("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4")
ODD_NAMES = (
    'we"ird Name',
    "a b&c=d?e#f%g+h",
    "späße/☃",
    "line\nbreak\ttab",
    "back\\slash'quote",
    "%2F..%2F",
    "../../etc",
    "x" * 63,
)


class World(Protocol):
    """A vault of three peers, the first its own, that can be stopped one by one."""

    @property
    def vault(self) -> Vault: ...

    def stop(self, number: int) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemoryVault()

    @property
    def vault(self) -> Vault:
        return self.memory

    def stop(self, number: int) -> None:
        self.memory.peers[number - 1].up = False


class RealWorld:
    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self.real = peers.vault()

    @property
    def vault(self) -> Vault:
        return self.real

    def stop(self, number: int) -> None:
        self.peers.kill_peer(number)


@pytest.fixture(params=["memory", "real"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    peers: Peers = request.getfixturevalue("peers")
    return RealWorld(peers)


@pytest.fixture
def vault(world: World) -> Vault:
    return world.vault


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Names of this test alone: the real peers live longer than one test."""
    return f"pgkeep/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}/"


def content(seed: str, size: int = 3_000_000) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def holding(vault: Vault, cid: Cid) -> Sequence[str]:
    return [holder.peer for holder in holders_of(cid, vault) if holder.holds]


# --- adding and reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1_000, 65_536, 1_048_576, 5_000_000])
def test_what_was_added_is_read_back_from_the_own_peer(vault: Vault, prefix: str, piece: int) -> None:
    data = content(prefix)
    cid = vault.add(pieces(data, piece), name=prefix + "1")
    assert b"".join(vault.read(cid, at=vault.own())) == data


def test_an_empty_object_is_an_object(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([b"", b""]), name=prefix + "1")
    assert b"".join(vault.read(cid, at=vault.own())) == b""
    assert vault.listing(prefix).names == {prefix + "1": frozenset({cid})}


def test_the_same_bytes_are_the_same_object_however_they_are_cut(vault: Vault, prefix: str) -> None:
    data = content(prefix)
    assert vault.add(pieces(data, 777), name=prefix + "1") == vault.add(iter([data]), name=prefix + "1")


def test_an_added_object_is_listed_under_its_name(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    assert vault.listing(prefix).names == {prefix + "1": frozenset({cid})}


@pytest.mark.parametrize(
    "failure",
    [
        Unavailable("pg_dump ended", next_step="again"),
        ConfigError("key expired", next_step="extend it"),
        BrokenPipeError(32, "gpg is gone"),
        ConnectionResetError(104, "the database is gone"),
        TimeoutError("too long"),
        ValueError("odd"),
        KeyboardInterrupt(),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("size", [0, 100, 4_000_000])
def test_what_the_chunks_raise_comes_out_unchanged_and_nothing_is_pinned(
    vault: Vault, prefix: str, failure: BaseException, size: int
) -> None:
    def chunks() -> Iterator[bytes]:
        yield content(prefix, size)
        raise failure

    with pytest.raises(type(failure)) as caught:
        vault.add(chunks(), name=prefix + "1")
    assert caught.value is failure
    assert not vault.listing(prefix).names


def test_an_object_that_a_peer_does_not_hold_cannot_be_read_there(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    other = vault.places()[1]
    with pytest.raises(Unavailable):
        b"".join(vault.read(cid, at=other))


def test_nothing_is_done_when_the_own_peer_is_down(world: World, prefix: str) -> None:
    world.stop(1)
    with pytest.raises(Unavailable):
        world.vault.add(iter([b"x"]), name=prefix + "1")
    with pytest.raises(Unavailable):
        world.vault.own()
    assert not world.vault.listing(prefix).names


# --- places ------------------------------------------------------------------------------------------------------


def test_places_are_every_peer_for_itself_own_first_then_one_through_all(vault: Vault) -> None:
    places = vault.places()
    assert [place.local for place in places] == [True, True, True, False]
    assert places[0] == vault.own()
    assert len({place.peer for place in places[:3]}) == 3
    assert places[3].peer == places[0].peer


def test_a_silent_peer_is_no_place(world: World) -> None:
    everywhere = world.vault.places()
    world.stop(1)
    places = world.vault.places()
    assert [place.local for place in places] == [True, True, False]
    assert {place.peer for place in places} == {place.peer for place in everywhere[1:3]}


def test_without_any_peer_everything_is_unavailable(world: World) -> None:
    for number in (1, 2, 3):
        world.stop(number)
    vault = world.vault
    for ask in (
        vault.own,
        vault.places,
        lambda: holders_of(NOWHERE, vault),
        lambda: vault.listing(""),
        lambda: vault.pin(NOWHERE, name="x", copies=1),
        lambda: vault.drop(NOWHERE),
    ):
        with pytest.raises(Unavailable):
            ask()


# --- copies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_pin_brings_exactly_so_many_copies_the_own_one_among_them(vault: Vault, prefix: str, copies: int) -> None:
    data = content(prefix)
    cid = vault.add(iter([data]), name=prefix + "1")
    vault.pin(cid, name=prefix + "1", copies=copies)
    assert eventually(lambda: len(holding(vault, cid)) == copies)
    assert vault.own().peer in holding(vault, cid)
    for place in vault.places():
        if place.peer in holding(vault, cid):
            assert b"".join(vault.read(cid, at=place)) == data


def test_holders_name_every_peer_once(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    vault.pin(cid, name=prefix + "1", copies=2)
    holders = holders_of(cid, vault)
    assert len({holder.peer for holder in holders}) == len(holders) == 3


def test_a_pin_may_be_repeated(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    for _ in range(3):
        vault.pin(cid, name=prefix + "1", copies=3)
    assert eventually(lambda: len(holding(vault, cid)) == 3)
    assert vault.listing(prefix).names == {prefix + "1": frozenset({cid})}


def test_a_pin_may_be_renamed(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "draft/1")
    vault.pin(cid, name=prefix + "journal/1", copies=2)
    vault.pin(cid, name=prefix + "journal/2", copies=2)
    assert eventually(lambda: prefix + "journal/1" not in vault.listing(prefix).names)
    assert vault.listing(prefix).names[prefix + "journal/2"] == {cid}
    assert eventually(lambda: len(holding(vault, cid)) == 2)


def test_a_pin_of_fewer_copies_takes_none_away(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    vault.pin(cid, name=prefix + "1", copies=3)
    assert eventually(lambda: len(holding(vault, cid)) == 3)
    for copies in (2, 1):
        vault.pin(cid, name=prefix + "1", copies=copies)
        assert len(holding(vault, cid)) == 3


def test_more_copies_than_peers_are_not_to_be_had(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    with pytest.raises(Unavailable):
        vault.pin(cid, name=prefix + "1", copies=4)


def test_a_silent_peer_holds_nothing_that_came_after_it(world: World, prefix: str) -> None:
    silent = world.vault.places()[2].peer
    world.stop(3)
    cid = world.vault.add(iter([content(prefix)]), name=prefix + "1")
    with suppress(Unavailable):  # the cluster may have noticed already, or not yet
        world.vault.pin(cid, name=prefix + "1", copies=3)

    def two_have_it() -> bool:
        """A pin that is given to the silent peer before that is noticed is given to another by the next one."""
        world.vault.pin(cid, name=prefix + "1", copies=2)
        return len(holding(world.vault, cid)) == 2

    assert eventually(two_have_it)
    assert silent not in holding(world.vault, cid)


def test_an_unknown_object_is_held_by_nobody(vault: Vault) -> None:
    assert not holding(vault, NOWHERE)


def test_an_object_only_added_is_held_by_nobody(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    assert not holding(vault, cid)


# --- listing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_odd_names_come_back_unchanged(vault: Vault, prefix: str, odd: str) -> None:
    name = f"{prefix}{odd}/full/1/dump"
    cid = vault.add(iter([content(prefix)]), name=name)
    assert vault.listing(f"{prefix}{odd}/").names == {name: frozenset({cid})}
    vault.pin(cid, name=f"{name}!", copies=3)
    assert vault.listing(f"{prefix}{odd}/").names.keys() >= {f"{name}!"}


def test_a_name_that_begins_like_another_is_another(vault: Vault, prefix: str) -> None:
    shop = vault.add(iter([content("shop")]), name=f"{prefix}shop/journal/1")
    other = vault.add(iter([content("shop2")]), name=f"{prefix}shop2/journal/1")
    for cid, name in ((shop, "shop"), (other, "shop2")):
        vault.pin(cid, name=f"{prefix}{name}/journal/1", copies=2)
    assert vault.listing(f"{prefix}shop/").names == {f"{prefix}shop/journal/1": frozenset({shop})}
    assert len(vault.listing(f"{prefix}shop").names) == 2
    assert not vault.listing("shop/").names


def test_one_name_may_stand_for_several_objects(vault: Vault, prefix: str) -> None:
    cids = {vault.add(iter([content(f"{prefix}{i}")]), name=prefix + "journal/7") for i in (1, 2)}
    assert vault.listing(prefix).names == {prefix + "journal/7": cids}


def test_a_listing_says_which_peers_name_an_object(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "draft")
    own = vault.own().name
    assert vault.listing(prefix).where == {cid: {own}}
    vault.pin(cid, name=prefix + "1", copies=2)
    assert eventually(lambda: len(vault.listing(prefix).where[cid]) == 3), "all of them know the pinset"
    vault.drop(cid)
    assert eventually(lambda: not vault.listing(prefix).where)


def test_when_all_answer_nobody_is_silent(vault: Vault, prefix: str) -> None:
    listing = vault.listing(prefix)
    assert (dict(listing.names), dict(listing.silent), listing.asked) == ({}, {}, 3)


def test_one_survivor_is_enough_to_find_what_the_cluster_names(world: World, prefix: str) -> None:
    cid = world.vault.add(iter([content(prefix)]), name=prefix + "draft")
    world.vault.pin(cid, name=prefix + "1", copies=3)
    assert eventually(lambda: len(holding(world.vault, cid)) == 3)
    world.stop(1)
    world.stop(2)
    listing = world.vault.listing(prefix)
    assert listing.names == {prefix + "1": frozenset({cid})}
    assert (len(listing.silent), listing.asked) == (2, 3)
    (place, through) = world.vault.places()
    assert (place.local, through.local) == (True, False)
    assert b"".join(world.vault.read(cid, at=place)) == content(prefix)


# --- letting go --------------------------------------------------------------------------------------------------


def test_a_label_is_found_beside_the_clusters_name(vault: Vault, prefix: str) -> None:
    """And it is all there is when the cluster forgets its pinset."""
    cid = vault.add([b"labelled " + prefix.encode()], name=f"{prefix}draft/1")
    vault.pin(cid, name=f"{prefix}full/1", copies=3)
    eventually(lambda: sum(holder.holds for holder in holders_of(cid, vault)) == 3)
    vault.label(cid, name=f"{prefix}recorded/1")
    names = vault.listing(prefix).names
    assert names[f"{prefix}recorded/1"] == names[f"{prefix}full/1"] == {cid}
    assert f"{prefix}draft/1" not in names
    assert sum(holder.holds for holder in holders_of(cid, vault)) == 3


def test_a_label_for_what_is_not_there_is_no_error(vault: Vault, prefix: str) -> None:
    vault.label(NOWHERE, name=f"{prefix}recorded/1")
    assert vault.listing(prefix).names == {}


def test_what_is_dropped_is_gone(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    vault.pin(cid, name=prefix + "1", copies=3)
    vault.drop(cid)
    assert eventually(lambda: not vault.listing(prefix).names)
    assert eventually(lambda: not holding(vault, cid))


def test_what_was_only_added_can_be_dropped(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    vault.drop(cid)
    assert not vault.listing(prefix).names


def test_dropping_twice_or_something_unknown_is_no_error(vault: Vault, prefix: str) -> None:
    cid = vault.add(iter([content(prefix)]), name=prefix + "1")
    vault.drop(cid)
    vault.drop(cid)
    vault.drop(NOWHERE)
    assert not vault.listing(prefix).names


def test_dropping_one_leaves_the_others(vault: Vault, prefix: str) -> None:
    kept, dropped = (vault.add(iter([content(f"{prefix}{i}")]), name=f"{prefix}{i}") for i in (1, 2))
    for cid in (kept, dropped):
        vault.pin(cid, name=f"{prefix}{'1' if cid == kept else '2'}", copies=2)
    vault.drop(dropped)
    assert eventually(lambda: vault.listing(prefix).names == {f"{prefix}1": frozenset({kept})})
    assert eventually(lambda: len(holding(vault, kept)) == 2)


def test_every_refusal_says_what_to_do_next(world: World) -> None:
    for number in (1, 2, 3):
        world.stop(number)
    with pytest.raises(PgkeepError) as caught:
        world.vault.places()
    assert caught.value.next_step
