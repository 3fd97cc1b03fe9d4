"""The configured peers, and asking several of them: all at once, or one after the other until one can answer."""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from pgkeep.errors import ConfigError, PgkeepError, Unavailable

from .cluster import Cluster
from .door import Endpoint
from .kubo import Kubo

T = TypeVar("T")

log = logging.getLogger(__name__)

SLOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress:
    """How one peer can be reached: its Kubo's RPC, its cluster REST, or both. `name`: what people know it by."""

    name: str
    kubo: Endpoint | None
    cluster: Endpoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer's open doors."""

    name: str
    kubo: Kubo | None
    cluster: Cluster | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """This node's own peer. Without a cluster connection it can only be read, as where nothing but a disk survived."""

    name: str
    kubo: Kubo
    cluster: Cluster | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(Generic[T]):
    """What several doors answered, in the order of the peers, and why the others did not; by the peer's name."""

    given: Sequence[tuple[str, T]]
    refused: Sequence[tuple[str, PgkeepError]]

    def require_one(self) -> None:
        """Raises the first refusal, with the reasons of all, when nobody answered."""
        if not self.given:
            raise nobody([error for _, error in self.refused])


def open_peers(addresses: Sequence[PeerAddress], *, stall: float) -> tuple[Own, list[Peer]]:
    """The own peer, and all of them. Raises ConfigError: the own lacks a door, another has none, a name is not unique.

    Nothing is asked yet.
    """
    names = [address.name for address in addresses]
    doorless = [address.name for address in addresses if not (address.kubo or address.cluster)]
    if doorless:
        raise _unusable(f"peers without any connection: {', '.join(doorless)}")
    if len(set(names)) < len(names):
        raise _unusable(f"two peers have one name among {', '.join(names)}")
    peers = [_open(address, stall) for address in addresses]
    if not peers or peers[0].kubo is None:
        raise _unusable("the first peer, this node's own, needs a Kubo connection")
    return Own(name=peers[0].name, kubo=peers[0].kubo, cluster=peers[0].cluster), peers


def ask_all(questions: Iterable[tuple[str, Callable[[], T]]]) -> Answers[T]:
    """Asks everybody at the same time, so that one silent peer costs its time limit once."""
    asked = list(questions)
    given, refused = list[tuple[str, T]](), list[tuple[str, PgkeepError]]()
    with ThreadPoolExecutor(max_workers=max(1, len(asked))) as pool:
        for name, future in [(name, pool.submit(question)) for name, question in asked]:
            try:
                given.append((name, _answer(name, future)))
            except (Unavailable, ConfigError) as error:
                _say_once(str(error))
                refused.append((name, error))
    return Answers(given=given, refused=refused)


def _answer(name: str, future: Future[T]) -> T:
    """Whoever sits there is told whom all wait for: it may take as long as a peer may stand still."""
    try:
        return future.result(timeout=SLOW_SECONDS)
    except TimeoutError:
        _say_slow(name)
        return future.result()


@functools.lru_cache(maxsize=256)
def _say_slow(name: str) -> None:
    log.warning("%s does not answer at once: waiting for it", name)


@functools.lru_cache(maxsize=256)
def _say_once(refusal: str) -> None:
    """A peer that is away is asked for each object, and says the same each time."""
    log.info("%s", refusal)


def ask_in_turn(clusters: Iterable[Cluster], question: Callable[[Cluster], T]) -> T:
    """The answer of the first that can give it. Raises Unavailable with everybody's reasons; ConfigError at once."""
    nowhere = ConfigError(
        "no peer has a cluster connection: the vault can be read, not written",
        next_step="name a cluster peer: cluster in [[vault.peers]] of pgkeep.toml, or --cluster URL beside --peer",
    )
    refusals: list[PgkeepError] = [nowhere]
    for cluster in clusters:
        try:
            return question(cluster)
        except Unavailable as error:
            refusals.append(error)
    raise nobody(refusals[1:] or refusals)


def nobody(refusals: Sequence[PgkeepError]) -> PgkeepError:
    """One error for several: of the first one's class, unless another may pass and this one will not."""
    first = next((error for error in refusals if isinstance(error, Unavailable)), refusals[0])
    what = "; ".join(dict.fromkeys(error.what for error in refusals))
    return type(first)(what, next_step=first.next_step)


def kubos(peers: Sequence[Peer]) -> Iterator[tuple[str, Kubo]]:
    return ((peer.name, peer.kubo) for peer in peers if peer.kubo is not None)


def clusters(peers: Sequence[Peer]) -> Iterator[tuple[str, Cluster]]:
    return ((peer.name, peer.cluster) for peer in peers if peer.cluster is not None)


def _open(address: PeerAddress, stall: float) -> Peer:
    return Peer(
        name=address.name,
        kubo=None if address.kubo is None else Kubo(address.kubo, name=address.name, stall=stall),
        cluster=None if address.cluster is None else Cluster(address.cluster, name=address.name, stall=stall),
    )


def _unusable(problem: str) -> ConfigError:
    return ConfigError(problem, next_step="correct [[vault.peers]] in pgkeep.toml")
