"""An IPFS Cluster peer's REST interface (ipfscluster.io/documentation/reference/api), as far as a vault needs it."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from urllib.parse import quote

from pgkeep.errors import Unavailable
from pgkeep.model import Cid, PeerId

from .answers import lines, names_in, one_line, pick, text_in
from .door import STALL_SECONDS, Door, Endpoint

UNKNOWN = frozenset({404})
"""The status for a CID that is not part of the pinset."""
TOGETHER = 40
"""Objects asked for in one request: what fits into the 4096 bytes of a head that a cluster peer takes."""
AT_ONCE = 8
"""Requests at a time. For a peer that stands still a cluster waits 5 to 15 s at each; so many it answers truly."""
SETTLE_SECONDS = 15.0
SETTLE_POLL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One cluster peer. `kubo`: the daemon it commands, "" if that does not answer; `sees`: cluster ids it counts."""

    id: str
    name: str
    version: str
    kubo: PeerId
    sees: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A line of the pinset. `allocations`: ids of the cluster peers that are to hold it."""

    cid: Cid
    name: str
    allocations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one cluster peer says of one object; `allocated`: the pinset wants it there."""

    member: str
    name: str
    kubo: PeerId
    allocated: bool
    status: str
    error: str

    @property
    def unsaid(self) -> bool:
        """That cluster peer does not answer: this is what another says of it."""
        return self.status == "cluster_error"

    @property
    def pinned(self) -> bool:
        """Wanted there, there, and in a Kubo that can be told from the others. A claim about pins, not about bytes."""
        return self.allocated and self.status == "pinned" and bool(self.kubo)


class Cluster:
    """One cluster peer. `name`: what people know it by, for messages; `stall`: seconds without progress allowed.

    A peer asks the others before it answers, and waits up to 15 s for one that says nothing: be more patient than that.
    All methods raise Unavailable and ConfigError.
    """

    def __init__(self, endpoint: Endpoint, *, name: str | None = None, stall: float = STALL_SECONDS) -> None:
        self._door = Door(endpoint, kind="cluster REST", name=name, stall=stall)

    def __str__(self) -> str:
        return str(self._door)

    def id(self) -> Member:
        """This peer itself."""
        with self._door.ask("GET", "/id") as response:
            return _member(response.json())

    def peers(self) -> Sequence[Member]:
        """All peers that this one counts and that answered it, itself among them."""
        with self._door.ask("GET", "/peers") as response:
            return [_member(line) for line in lines(response.content) if not text_in(line, "error")]

    def free_space(self) -> Mapping[str, int]:
        """Bytes free by cluster id: only peers that said so lately, and only these are given new objects."""
        with self._door.ask("GET", "/monitor/metrics/freespace") as response:
            metrics = [metric for metric in response.json() or () if pick(metric, "valid", bool)]
            return {pick(metric, "peer", str): pick(metric, "weight", int) for metric in metrics}

    def pins(self) -> Sequence[Pin]:
        """The whole pinset as this peer knows it. Empty is not evidence of an empty vault."""
        with self._door.ask("GET", "/allocations", {"filter": "pin"}) as response:
            return [_pin(line) for line in lines(response.content)]

    def find(self, cid: Cid) -> Pin | None:
        """The object's line of the pinset, or None."""
        with self._door.ask("GET", f"/allocations/{quote(cid, safe='')}", expected=UNKNOWN) as response:
            return None if response.status_code in UNKNOWN else _pin(response.json())

    def pin(self, cid: Cid, *, name: str, copies: int, at: str) -> Pin:
        """Asks for `copies` copies, one of them at the cluster peer `at`, and returns when the pinset shows it.

        All parameters are said every time: a repeated request replaces name and options of the pin. Copies that are
        there stay: to have fewer of them, the cluster would take any away, that of `at` as well.
        """
        before = self.find(cid)
        params = {
            "replication-min": str(copies),
            "replication-max": str(max(copies, len(before.allocations) if before else 0)),
            "name": name,
            "user-allocations": at,
        }
        with self._door.ask("POST", f"/pins/{quote(cid, safe='')}", params) as response:
            wanted = _pin(response.json())
        self._settle(cid, lambda found: found is not None and _same(found, wanted))
        return wanted

    def claims(self, cids: Sequence[Cid]) -> Mapping[Cid, Sequence[Claim]]:
        """What every peer says of each of these objects; also of one that is in no pinset."""
        # Not the answer's own allocations: while a change spreads they are those of whoever answered first.
        pins = self.pins() if len(cids) > TOGETHER else filter(None, map(self.find, cids))
        allocated = {pin.cid: pin.allocations for pin in pins}
        groups = [cids[i : i + TOGETHER] for i in range(0, len(cids), TOGETHER)]
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            said = dict(chain.from_iterable(pool.map(self._statuses, groups)))
        if missing := [cid for cid in cids if cid not in said]:  # what failed stands in a trailer that nobody shows
            raise Unavailable(
                f"{self} does not say who holds {missing[0]} (and so of {len(missing)} of {len(cids)} objects)",
                next_step="see that daemon's log; then run it again",
            )
        return {
            cid: [_claim(who, one, allocated=who in allocated.get(cid, ())) for who, one in said[cid].items()]
            for cid in cids
        }

    def _statuses(self, cids: Sequence[Cid]) -> Sequence[tuple[Cid, Mapping[str, object]]]:
        with self._door.ask("GET", "/pins", {"cids": ",".join(cids)}) as response:
            return [(Cid(pick(line, "cid", str)), pick(line, "peer_map", dict)) for line in lines(response.content)]

    def unpin(self, cid: Cid) -> None:
        """Takes an object out of the pinset. That it is not in it is no error."""
        with self._door.ask("DELETE", f"/pins/{quote(cid, safe='')}", expected=UNKNOWN) as response:
            if response.status_code in UNKNOWN:
                return
        self._settle(cid, lambda found: found is None)

    def _settle(self, cid: Cid, arrived: Callable[[Pin | None], bool]) -> None:
        """Waits until a change can be read. The peer collects changes for a moment before it writes them.

        Till then its reply is a promise that a crash would break, and an unpin would not find what was just pinned.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while not arrived(self.find(cid)):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{self} accepted a change of {cid} but does not show it after {SETTLE_SECONDS:.0f} s",
                    next_step="see that daemon's log (crdt batching, disk); then run it again",
                )
            time.sleep(SETTLE_POLL)


def _same(found: Pin, wanted: Pin) -> bool:
    return found.name == wanted.name and set(found.allocations) == set(wanted.allocations)


def _member(answer: object) -> Member:
    return Member(
        id=pick(answer, "id", str),
        name=pick(answer, "peername", str),
        version=pick(answer, "version", str),
        kubo=PeerId(text_in(answer, "ipfs", "id")),
        sees=frozenset(names_in(answer, "cluster_peers")),
    )


def _pin(answer: object) -> Pin:
    return Pin(
        cid=Cid(pick(answer, "cid", str)),
        name=pick(answer, "name", str),
        allocations=names_in(answer, "allocations"),
    )


def _claim(member: str, answer: object, *, allocated: bool) -> Claim:
    return Claim(
        member=member,
        name=text_in(answer, "peername") or member,
        kubo=PeerId(text_in(answer, "ipfs_peer_id")),
        allocated=allocated,
        status=pick(answer, "status", str),
        error=one_line(text_in(answer, "error")),
    )
