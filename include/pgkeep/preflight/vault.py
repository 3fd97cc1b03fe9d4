"""What all databases have in common: the peers and the keys."""

from collections.abc import Iterator
from datetime import UTC, datetime

from pgkeep import wiring
from pgkeep.adapters.ipfs import PeerHealth, VaultHealth
from pgkeep.errors import PgkeepError, Unavailable
from pgkeep.progress import human_size
from pgkeep.settings import Connections, Settings

from .finding import Finding, failed

OLDEST_KUBO, OLDEST_CLUSTER = (0, 40), (1, 1)
LITTLE_ROOM = 1_000_000_000


def vault_and_keys(settings: Settings, connections: Connections) -> list[Finding]:
    """What all databases have in common."""
    health = wiring.open_vault(settings, connections).health()
    return [*_peers(health), *_cluster(health, copies=settings.vault.copies), *_keys(settings)]


def _peers(health: VaultHealth) -> Iterator[Finding]:
    for number, peer in enumerate(health.peers):
        about = f"peer {peer.name}"
        for failure in peer.failures:
            what, _, step = failure.partition(". Next: ")
            yield Finding(about=about, what=what, next_step=step, fatal=number == 0, kind=Unavailable)
        if not peer.failures:
            yield Finding(about=about, what=f"answers ({_versions(peer)})")
        yield from _old_versions(peer, about)
        yield from _room(peer, about)


def _versions(peer: PeerHealth) -> str:
    kubo = f"Kubo {peer.kubo.version}" if peer.kubo else "no Kubo connection"
    cluster = f"IPFS Cluster {peer.cluster.member.version}" if peer.cluster else "no cluster connection"
    return f"{kubo}, {cluster}"


def _old_versions(peer: PeerHealth, about: str) -> Iterator[Finding]:
    kubo = peer.kubo.version if peer.kubo else ""
    cluster = peer.cluster.member.version if peer.cluster else ""
    for name, version, oldest in (("Kubo", kubo, OLDEST_KUBO), ("IPFS Cluster", cluster, OLDEST_CLUSTER)):
        if version and _numbers(version) < oldest:
            wanted = ".".join(map(str, oldest))
            yield Finding(about=about, what=f"{name} {version} is old", next_step=f"upgrade it to {wanted} or newer")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())


def _room(peer: PeerHealth, about: str) -> Iterator[Finding]:
    if peer.free is not None and peer.free < LITTLE_ROOM:
        yield Finding(about=about, what=f"has only {human_size(peer.free)} left", next_step="give it more room")
    elif peer.free is not None:
        yield Finding(about=about, what=f"has room for {human_size(peer.free)}")


def _cluster(health: VaultHealth, *, copies: int) -> Iterator[Finding]:
    for line in health.shared():
        yield Finding(about="cluster", what=line, next_step="give every peer a Kubo of its own", fatal=True)
    for name in health.crossed():
        yield Finding(
            about=f"peer {name}", what="its two connections lead to two peers", next_step="correct them", fatal=True
        )
    for name, unseen in health.blind().items():
        yield Finding(
            about=f"peer {name}", what=f"does not see {', '.join(sorted(unseen))}", next_step="see its network"
        )
    distinct = health.able
    if distinct < copies:
        what = f"{distinct} distinct peers can take a copy, {copies} copies are wanted"
        step = "bring the others back, their cluster daemons, too"
        yield Finding(about="cluster", what=what, next_step=step, fatal=True, kind=Unavailable)
    else:
        yield Finding(about="cluster", what=f"{distinct} distinct peers for {copies} copies")


def _keys(settings: Settings) -> Iterator[Finding]:
    try:
        problems = wiring.open_sealer(settings).problems(datetime.now(UTC))
    except PgkeepError as error:
        yield failed(error, "keys")
        return
    for problem in problems:
        yield Finding(about="keys", what=problem.what, next_step=problem.next_step, fatal=problem.fatal)
    if not any(problem.fatal for problem in problems):
        yield Finding(about="keys", what=f"{len(settings.keys.recipients)} recipients and this node's own can be used")
