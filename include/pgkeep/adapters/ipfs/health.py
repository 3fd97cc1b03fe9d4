"""How the vault's peers are: what a preflight tells a person before the first backup depends on it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pgkeep.errors import ConfigError, Unavailable
from pgkeep.model import PeerId

from .cluster import Cluster, Member
from .kubo import Kubo

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KuboHealth:
    """One Kubo daemon."""

    id: PeerId
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterHealth:
    """One cluster peer. `free`: bytes by cluster id, of those who said so lately, as this peer has heard it."""

    member: Member
    free: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerHealth:
    """One configured peer. None: no such connection, or it failed; `failures` says why, one line per door."""

    name: str
    kubo: KuboHealth | None
    cluster: ClusterHealth | None
    failures: tuple[str, ...]

    @property
    def free(self) -> int | None:
        """Bytes that the cluster may still give to this peer, or None if it told nobody lately."""
        return None if self.cluster is None else self.cluster.free.get(self.cluster.member.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultHealth:
    """All configured peers, own first."""

    peers: tuple[PeerHealth, ...]

    @property
    def kubo_ids(self) -> frozenset[PeerId]:
        """The distinct Kubo daemons behind the peers, whether asked themselves or known from their cluster peers."""
        return frozenset(kubo for peer in self.peers for kubo in _kubos_of(peer))

    @property
    def able(self) -> int:
        """How many distinct peers can take a copy now: each with a Kubo of its own, and a cluster peer that said lately
        how much room it has.
        """
        told = {member for peer in self.peers if peer.cluster is not None for member in peer.cluster.free}
        return min(len(self.kubo_ids), len(told))

    def shared(self) -> tuple[str, ...]:
        """Identities that stand behind more than one peer, one line each: their copies would count once."""
        kubos, members = dict[str, list[str]](), dict[str, list[str]]()
        for peer in self.peers:
            for kubo in _kubos_of(peer):
                kubos.setdefault(kubo, []).append(peer.name)
            if peer.cluster is not None:
                members.setdefault(peer.cluster.member.id, []).append(peer.name)
        return (*_repeated("Kubo", kubos), *_repeated("cluster peer", members))

    def crossed(self) -> tuple[str, ...]:
        """Peers whose two connections lead to different machines: the cluster peer commands another Kubo."""
        return tuple(peer.name for peer in self.peers if len(_kubos_of(peer)) > 1)

    def blind(self) -> Mapping[str, frozenset[str]]:
        """Who of the peers that answer does not count whom, by name; empty when everybody sees everybody."""
        names = {peer.cluster.member.id: peer.name for peer in self.peers if peer.cluster is not None}
        return {
            peer.name: frozenset(names[unseen] for unseen in missing)
            for peer in self.peers
            if peer.cluster is not None and (missing := names.keys() - peer.cluster.member.sees)
        }


def examine(name: str, *, kubo: Kubo | None, cluster: Cluster | None) -> PeerHealth:
    """Asks one peer's doors. What fails is written down."""
    failures = list[str]()
    kubo_health = None if kubo is None else _or_failure(lambda: _kubo(kubo), failures)
    cluster_health = None if cluster is None else _or_failure(lambda: _cluster(cluster), failures)
    return PeerHealth(name=name, kubo=kubo_health, cluster=cluster_health, failures=tuple(failures))


def _kubo(kubo: Kubo) -> KuboHealth:
    return KuboHealth(id=kubo.id(), version=kubo.version())


def _cluster(cluster: Cluster) -> ClusterHealth:
    return ClusterHealth(member=cluster.id(), free=cluster.free_space())


def _or_failure(ask: Callable[[], T], failures: list[str]) -> T | None:
    try:
        return ask()
    except (Unavailable, ConfigError) as error:
        failures.append(str(error))
        return None


def _kubos_of(peer: PeerHealth) -> frozenset[PeerId]:
    asked = peer.kubo.id if peer.kubo else PeerId("")
    commanded = peer.cluster.member.kubo if peer.cluster else PeerId("")
    return frozenset({asked, commanded} - {PeerId("")})


def _repeated(what: str, names: Mapping[str, list[str]]) -> Iterator[str]:
    for identity, sharing in names.items():
        if len(sharing) > 1:
            yield f"{what} {identity} stands behind {', '.join(sharing)}"
