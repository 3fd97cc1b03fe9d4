"""Doubles of the ports, all in memory, for tests of the stories and of anything built on them.

They keep the ports' contracts (the contract suites run over them and over the real adapters alike) and can be told to
have a bad day: a peer that is down, a flipped byte, a source that dies half-way.
"""

import hashlib
import itertools
import json
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from pgkeep.errors import ConfigError, Corrupted, Unavailable
from pgkeep.inventory import Inventory, LargeObjects, Properties, SequenceState, Table
from pgkeep.model import Cid, Cut, Entry, Instant, KeyFingerprint, PeerId
from pgkeep.ports import Audience, Envelope, Fresh, Holder, Listing, Place, Snapshot

END = b"-----END MEMORY MESSAGE-----\n"
NODE = KeyFingerprint("A" * 40)
RECIPIENTS = (KeyFingerprint("B" * 40), KeyFingerprint("C" * 40))


# --- vault -------------------------------------------------------------------------------------------------------


@dataclass
class MemoryPeer:
    """One peer: its blocks, its own pin names, and whether it is there at all."""

    name: str
    up: bool = True
    objects: dict[Cid, bytes] = field(default_factory=dict)
    pins: dict[Cid, str] = field(default_factory=dict)

    @property
    def id(self) -> PeerId:
        return PeerId(f"id-{self.name}")


class MemoryVault:
    """A cluster of peers in memory. `cluster`: the pinset, which every peer that is up knows."""

    def __init__(self, names: Sequence[str] = ("alice", "bob", "carol")) -> None:
        self.peers = [MemoryPeer(name) for name in names]
        self.cluster: dict[Cid, tuple[str, tuple[PeerId, ...]]] = {}

    def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
        self._require_own()
        content = b"".join(chunks)
        self._require_own()
        cid = Cid("bafy" + hashlib.sha256(content).hexdigest())
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
        holding = sorted(up, key=lambda peer: cid not in peer.objects)
        if len(up) < copies:
            raise Unavailable(f"not enough peers for {copies} copies", next_step="bring the others back")
        content = next((peer.objects[cid] for peer in up if cid in peer.objects), None)
        chosen = holding[:copies]
        self.cluster[cid] = (name, tuple(peer.id for peer in chosen))
        for peer in chosen:
            if content is not None:
                peer.objects.setdefault(cid, content)

    def label(self, cid: Cid, *, name: str) -> None:
        self._require_own()
        for peer in self._up():
            if cid in peer.objects:
                peer.pins[cid] = name

    def holders(self, cid: Cid) -> Sequence[Holder]:
        self._up()
        allocated = self.cluster.get(cid, ("", ()))[1]
        return [self._holder(peer, allocated) for peer in self.peers]

    def listing(self, prefix: str) -> Listing:
        up = self._up()
        found: dict[str, set[Cid]] = {}
        for cid, (name, _) in self.cluster.items():
            found.setdefault(name, set()).add(cid)
        for peer in up:
            for cid, name in peer.pins.items():
                found.setdefault(name, set()).add(cid)
        names = {name: frozenset(cids) for name, cids in found.items() if name.startswith(prefix)}
        silent = {peer.name: "down" for peer in self.peers if not peer.up}
        return Listing(names=names, silent=silent, asked=len(self.peers))

    def drop(self, cid: Cid) -> None:
        self._up()
        self.cluster.pop(cid, None)
        for peer in self.peers:
            peer.objects.pop(cid, None)
            peer.pins.pop(cid, None)

    def _holder(self, peer: MemoryPeer, allocated: Sequence[PeerId]) -> Holder:
        status = "cluster_error" if not peer.up else "pinned" if peer.id in allocated else "remote"
        return Holder(peer=peer.id, name=peer.name, holds=status == "pinned", status=status)

    def _require_own(self) -> None:
        if not self.peers[0].up:
            raise Unavailable(f"{self.peers[0].name} does not answer", next_step="start it")

    def _up(self) -> list[MemoryPeer]:
        up = [peer for peer in self.peers if peer.up]
        if not up:
            raise Unavailable("no peer answers", next_step="start one")
        return up


# --- sealer ------------------------------------------------------------------------------------------------------


@dataclass
class MemorySealer:
    """Seals by writing down who may read and who signed, with a checksum at the end. It hides nothing: for tests only.

    `holds`: the keys whose private halves are here. `expired`: keys that seal no more.
    """

    signer: KeyFingerprint = NODE
    recipients: tuple[KeyFingerprint, ...] = RECIPIENTS
    holds: frozenset[KeyFingerprint] = frozenset({NODE, RECIPIENTS[0]})
    trusted: frozenset[KeyFingerprint] = frozenset({NODE})
    expired: frozenset[KeyFingerprint] = frozenset()

    def readers(self, audience: Audience) -> frozenset[KeyFingerprint]:
        return frozenset(self.recipients) | ({self.signer} if audience == "journal" else frozenset())

    def seal(self, plain: Iterable[bytes], *, audience: Audience) -> Iterator[bytes]:
        if spent := self.expired & {*self.readers(audience), self.signer}:
            raise ConfigError(f"key {min(spent)} has expired", next_step="extend it")
        header = {"for": sorted(self.readers(audience)), "by": self.signer, "nonce": secrets.token_hex(8)}
        checksum = hashlib.sha256()
        for chunk in itertools.chain([json.dumps(header).encode() + b"\n"], plain):
            checksum.update(chunk)
            yield chunk
        yield checksum.digest() + END

    def envelope(self, cipher: Iterable[bytes]) -> Envelope:
        header, _ = self._parse(cipher)
        recipients = frozenset(map(KeyFingerprint, header["for"]))
        return Envelope(recipients=recipients, unknown=frozenset(), integrity_protected=True)

    def open(self, cipher: Iterable[bytes]) -> Iterator[bytes]:
        header, content = self._parse(cipher)
        if not self.holds & set(header["for"]):
            raise ConfigError("no private key for this message here", next_step="import one")
        yield content
        if header["by"] not in self.trusted:
            raise Corrupted(f"signed by {header['by']}, whom nobody trusts", next_step="find out who that is")

    def _parse(self, cipher: Iterable[bytes]) -> tuple[dict[str, str], bytes]:
        message = b"".join(cipher)
        signed, checksum = message[: -len(END) - 32], message[-len(END) - 32 : -len(END)]
        if not message.endswith(END) or hashlib.sha256(signed).digest() != checksum:
            raise Corrupted("not a complete message", next_step="read it from another peer")
        header, _, content = signed.partition(b"\n")
        try:
            return json.loads(header), content
        except ValueError as error:
            raise Corrupted("not a message", next_step="read it from another peer") from error


# --- database ----------------------------------------------------------------------------------------------------

SAMPLE_PROPERTIES = Properties(
    owner="keeper",
    encoding="UTF8",
    provider="libc",
    collate="C",
    ctype="C",
    locale=None,
    comment=None,
    default_grants=True,
    grants=(),
    settings=(),
)


def sample_inventory(dbname: str = "shop", *, rows: int = 3) -> Inventory:
    """A small inventory, as plausible as it needs to be."""
    return Inventory(
        dbname=dbname,
        server_version=150018,
        cut=Cut(snapshot="10:12:", lsn="0/16B3748", time=Instant("2026-01-02T03:04:05.000000Z")),
        properties=SAMPLE_PROPERTIES,
        roles=("keeper",),
        ignored=(),
        tables=(Table(schema="public", name="document", rows=rows, fingerprint=str(rows * 7919)),),
        sequences=(SequenceState(schema="public", name="document_id_seq", last_value=rows, is_called=True),),
        large_objects=LargeObjects(count=0, fingerprint=None),
    )


@dataclass
class MemorySource:
    """A database that is nothing but its inventory. `dies_after`: bytes of dump after which pg_dump is killed."""

    holding: Inventory = field(default_factory=sample_inventory)
    dies_after: int | None = None
    released: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        yield MemorySnapshot(self.holding, dies_after=self.dies_after)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=10):
            raise Unavailable("somebody else writes", next_step="wait")
        try:
            yield
        finally:
            self._lock.release()

    def release(self, entry: Entry) -> None:
        self.released.append(entry.sequence)


@dataclass
class MemorySnapshot:
    """The moment of a MemorySource; its dump is the inventory's JSON and some filling."""

    holding: Inventory
    dies_after: int | None = None

    @property
    def cut(self) -> Cut:
        return self.holding.cut

    @property
    def server_version(self) -> int:
        return self.holding.server_version

    def dump(self) -> Iterator[bytes]:
        text = json.dumps({"rows": self.holding.totals.rows, "filling": "x" * 5000}).encode()
        yield text[: self.dies_after]
        if self.dies_after is not None:
            raise Unavailable("pg_dump was killed", next_step="run it again")

    def globals(self) -> Iterator[bytes]:
        yield b"CREATE ROLE keeper;\n"

    def inventory(self) -> Inventory:
        return self.holding


@dataclass
class MemoryTarget:
    """A server with at most one database of interest. `loses_rows`: what pg_restore forgets, to be noticed."""

    database: Inventory | None = None
    loses_rows: int = 0
    leftovers: int = 0
    label: str = "memory/shop"

    def require_free(self, *, replace: bool) -> None:
        if self.database is not None and not replace:
            raise ConfigError(f"{self.label} is not empty", next_step="--replace")

    def fresh(self, inventory: Inventory) -> AbstractContextManager[Fresh]:
        return self._fresh(inventory)

    @contextmanager
    def _fresh(self, inventory: Inventory) -> Iterator[Fresh]:
        self.leftovers += 1
        try:
            yield MemoryFresh(self, inventory)
        finally:
            self.leftovers -= 1


@dataclass
class MemoryFresh:
    """A database beside the target."""

    target: MemoryTarget
    source: Inventory
    rows: int = 0

    def load(self, dump: Iterable[bytes]) -> None:
        self.rows = json.loads(b"".join(dump))["rows"] - self.target.loses_rows

    def inventory(self, like: Inventory) -> Inventory:
        table = replace(like.tables[0], rows=self.rows, fingerprint=str(self.rows * 7919))
        return replace(like, tables=(table,))

    def take_place(self, *, replace: bool) -> str | None:
        self.target.require_free(replace=replace)
        old, self.target.database = self.target.database, self.inventory(self.source)
        return "shop_before" if old else None
