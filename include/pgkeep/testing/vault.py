"""A private cluster in memory."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pgkeep.errors import Unavailable
from pgkeep.model import Cid, PeerId
from pgkeep.ports import Holder, Listing, Place


@dataclass
class MemoryPeer:
    """One peer: its blocks, its own pin names, and whether it is there at all. `unpinned`: pins that it has lost.

    `clustered`: its cluster peer answers, not its Kubo alone. `keeps`: it takes no pin away. `worn`: its disk takes no
    new bytes. `room`: bytes it may still be given.
    """

    name: str
    up: bool = True
    clustered: bool = True
    keeps: bool = False
    objects: dict[Cid, bytes] = field(default_factory=dict)
    pins: dict[Cid, str] = field(default_factory=dict)
    unpinned: set[Cid] = field(default_factory=set)
    worn: bool = False
    room: int = 10**12

    @property
    def id(self) -> PeerId:
        return PeerId(f"id-{self.name}")

    def flip(self, cid: Cid) -> None:
        """A bit of that object rots."""
        content = self.objects[cid]
        self.objects[cid] = bytes([content[0] ^ 1]) + content[1:]

    def lose(self, cid: Cid) -> None:
        """Its blocks vanish; the pin stays."""
        del self.objects[cid]

    def unpin(self, cid: Cid) -> None:
        """Its Kubo forgets the pin."""
        self.pins.pop(cid, None)
        self.unpinned.add(cid)

    def new_disk(self) -> None:
        """All that it held is gone."""
        self.unpinned |= self.objects.keys()
        self.objects.clear()
        self.pins.clear()

    def has_whole(self, cid: Cid) -> bool:
        return cid in self.objects and _cid(self.objects[cid]) == cid

    def take(self, cid: Cid, content: bytes | None) -> None:
        """Pins it, and stores what it lacks, if anybody has it and its disk is well."""
        self.unpinned.discard(cid)
        if content is not None and not self.worn:
            self.objects.setdefault(cid, content)


class MemoryVault:
    """A cluster of peers in memory. `cluster`: the pinset, which every peer that is up knows."""

    def __init__(self, names: Sequence[str] = ("alice", "bob", "carol")) -> None:
        self.peers = [MemoryPeer(name) for name in names]
        self.cluster: dict[Cid, tuple[str, tuple[PeerId, ...]]] = {}

    def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
        self._require_own()
        content = b"".join(chunks)
        self._require_own()
        cid = _cid(content)
        self.peers[0].objects[cid] = content
        self.peers[0].pins[cid] = name
        return cid

    def own(self) -> Place:
        self._require_own()
        return Place(peer=self.peers[0].id, name=self.peers[0].name, local=True)

    def places(self) -> Sequence[Place]:
        up = self._up()
        local = [Place(peer=peer.id, name=peer.name, local=True) for peer in up]
        return [*local, Place(peer=up[0].id, name=up[0].name, local=False)]

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        for peer in self._up():
            if cid in peer.objects and (peer.id == at.peer or not at.local):
                content = peer.objects[cid]
                yield from (content[i : i + 1000] for i in range(0, len(content), 1000))
                return
        raise Unavailable(f"{at.name} does not have {cid}", next_step="ask another peer")

    def pin(self, cid: Cid, *, name: str, copies: int) -> None:
        up = self._up()
        holding = sorted(up, key=lambda peer: (peer is not self.peers[0], cid not in peer.objects))
        if len(up) < copies:
            raise Unavailable(f"not enough peers for {copies} copies", next_step="bring the others back")
        before = self.cluster.get(cid, ("", ()))[1]
        content, chosen = self._whole(cid), holding[: max(copies, len(before))]
        self.cluster[cid] = (name, tuple(peer.id for peer in chosen))
        for peer in chosen:
            peer.take(cid, content)

    def label(self, cid: Cid, *, name: str) -> None:
        self._require_own()
        for peer in self._up():
            if cid in peer.objects:
                peer.pins[cid] = name

    def holders(self, cids: Collection[Cid]) -> Mapping[Cid, Sequence[Holder]]:
        self._up()
        return {cid: [self._holder(peer, cid) for peer in self.peers] for cid in cids}

    def listing(self, prefix: str) -> Listing:
        up = self._up()
        seen = [(name, cid, peer.name) for cid, (name, _) in self.cluster.items() for peer in up]
        seen += [(name, cid, peer.name) for peer in up for cid, name in peer.pins.items()]
        names: dict[str, set[Cid]] = {}
        where: dict[Cid, set[str]] = {}
        for name, cid, at in seen:
            if name.startswith(prefix):
                names.setdefault(name, set()).add(cid)
                where.setdefault(cid, set()).add(at)
        return Listing(
            names={name: frozenset(cids) for name, cids in names.items()},
            where={cid: frozenset(peers) for cid, peers in where.items()},
            silent={peer.name: "down" for peer in self.peers if not peer.up},
            asked=len(self.peers),
        )

    def drop(self, cid: Cid) -> None:
        self._up()
        self.cluster.pop(cid, None)
        for peer in self.peers:
            if not peer.keeps:
                peer.objects.pop(cid, None)
                peer.pins.pop(cid, None)
                peer.unpinned.discard(cid)

    def fetch(self, cid: Cid, *, name: str, at: Place) -> None:
        peer = self._at(at)
        if cid in peer.objects and not peer.has_whole(cid):
            raise Unavailable(f"{at.name} has a block with another hash", next_step="scrub it")
        peer.take(cid, self._whole(cid))
        if cid not in peer.objects:
            raise Unavailable(f"{at.name} makes no progress with {cid}", next_step="bring more peers back")
        peer.pins[cid] = name

    def scrub(self, at: Place) -> None:
        peer = self._at(at)
        for cid in [cid for cid in peer.objects if not peer.has_whole(cid)]:
            peer.lose(cid)
            if (content := self._whole(cid)) is not None and not peer.worn:
                peer.objects[cid] = content

    def room(self) -> Mapping[str, int]:
        return {peer.name: peer.room for peer in self._up()}

    def _at(self, place: Place) -> MemoryPeer:
        found = next((peer for peer in self._up() if peer.id == place.peer), None)
        if found is None:
            raise Unavailable(f"{place.name} does not answer", next_step="start it")
        return found

    def _whole(self, cid: Cid) -> bytes | None:
        return next((peer.objects[cid] for peer in self._up() if peer.has_whole(cid)), None)

    def _holder(self, peer: MemoryPeer, cid: Cid) -> Holder:
        unsaid = not (peer.up and peer.clustered)
        wanted = peer.id in self.cluster.get(cid, ("", ()))[1]
        status = "cluster_error" if unsaid else "pinned" if wanted else "remote"
        if status == "pinned" and cid in peer.unpinned:
            status = "unexpectedly_unpinned"
        holds = status == "pinned"
        return Holder(peer=peer.id, name=peer.name, wanted=wanted, holds=holds, unsaid=unsaid, status=status)

    def _require_own(self) -> None:
        if not self.peers[0].up:
            raise Unavailable(f"{self.peers[0].name} does not answer", next_step="start it")

    def _up(self) -> list[MemoryPeer]:
        up = [peer for peer in self.peers if peer.up]
        if not up:
            raise Unavailable("no peer answers", next_step="start one")
        return up


def _cid(content: bytes) -> Cid:
    return Cid("bafy" + hashlib.sha256(content).hexdigest())
