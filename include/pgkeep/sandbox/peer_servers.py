"""Starting the vault's three peers on loopback, and knowing when they are ready to hold something."""

from collections.abc import Callable, Sequence
from pathlib import Path

import requests

from . import first_pin, peer_homes, processes
from .peer_homes import PeerHome, Shared
from .peer_settings import Peer, loopback
from .place import State, digest
from .processes import Server

COUNT = 3
REST_USER = "pgkeep"
SECONDS = 120.0


def port_names() -> list[str]:
    return [f"{kind}-{i}" for i in range(1, COUNT + 1) for kind in ("swarm", "rpc", "gossip", "rest")]


def homes(home: Path) -> list[PeerHome]:
    return [PeerHome(directory=home / "peers" / str(i)) for i in range(1, COUNT + 1)]


def describe(index: int, home: PeerHome, state: State) -> Peer:
    kubo_id, cluster_id = home.identities()
    swarm, rpc, gossip, rest = (loopback(state.ports[f"{k}-{index}"]) for k in ("swarm", "rpc", "gossip", "rest"))
    return Peer(
        name=f"peer-{index}",
        kubo_id=kubo_id,
        cluster_id=cluster_id,
        swarm_listen=swarm,
        swarm_dial=swarm,
        rpc_listen=rpc,
        rpc_dial=rpc,
        gossip_listen=gossip,
        gossip_dial=gossip,
        rest_listen=rest,
    )


def configure(home: Path, state: State) -> list[Peer]:
    """Writes the peers' configuration for the ports and secrets in `state`."""
    directories = homes(home)
    peers = [describe(index, directory, state) for index, directory in enumerate(directories, start=1)]
    shared = Shared(
        swarm_secret=state.secrets["swarm"],
        cluster_secret=state.secrets["cluster"],
        credentials={REST_USER: state.secrets["rest"]},
        storage_max="200GB",
        quick=True,
    )
    peer_homes.configure(directories, peers, shared)
    return peers


def servers(home: Path, state: State) -> list[Server]:
    """The three Kubo daemons, then the three cluster daemons: in this order they start, in the reverse they stop."""
    programs = Path(state.ipfs_programs)
    # A peer's configuration names its neighbours' addresses, so a change of any of them concerns all.
    configuration = digest(str(programs), sorted((n, state.ports[n]) for n in port_names() if n in state.ports))
    kubo = [str(programs / "ipfs"), "daemon"]
    cluster = [str(programs / "ipfs-cluster-service"), "--loglevel", "error", "daemon"]
    found = []
    for kind, argv, door in (("kubo", kubo, "rpc"), ("cluster", cluster, "rest")):
        for index, place in enumerate(homes(home), start=1):
            found.append(
                Server(
                    name=f"{kind}-{index}",
                    argv=argv,
                    directory=home / "run" / f"{kind}-{index}",
                    log=home / "logs" / f"{kind}-{index}.log",
                    environment=place.environment,
                    configuration=configuration,
                    address=f"http://127.0.0.1:{state.ports.get(f'{door}-{index}', 0)}",
                )
            )
    return found


def start(home: Path, state: State, peers: Sequence[Peer]) -> list[str]:
    """Starts what does not run, and returns when all three can take a pin; the names of what was started.

    Raises Unavailable when a daemon ends at once or does not get ready.
    """
    run = home / "run"
    everything = servers(home, state)
    kubos, clusters = everything[:COUNT], everything[COUNT:]
    started = [server.name for server in kubos if processes.ensure(run, server)]
    for server, peer in zip(kubos, peers, strict=True):
        processes.wait_until(_kubo_answers(server), run, server, seconds=SECONDS)
        _introduce(server, peer, peers)
    started += [server.name for server in clusters if processes.ensure(run, server)]
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (REST_USER, state.secrets["rest"])

        def ready(server: Server) -> None:
            processes.wait_until(_sees_all(session, server), run, server, seconds=SECONDS)

        for server in clusters:
            ready(server)
        if {server.name for server in clusters} <= {*started}:
            first_pin.require(session, clusters, run, ready)
    return started


def _kubo_answers(server: Server) -> Callable[[], bool]:
    def ready() -> bool:
        return _rpc(server, "id")

    return ready


def _rpc(server: Server, command: str, **parameters: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a proxy set for the outside would be asked for 127.0.0.1, too
        try:
            return session.post(f"{server.address}/api/v0/{command}", params=parameters, timeout=10).ok
        except requests.RequestException:
            return False


def _introduce(server: Server, peer: Peer, peers: Sequence[Peer]) -> None:
    """Connects a Kubo daemon to those before it. Otherwise peering's first tries fail, and it retries after 10 s."""
    for other in peers[: list(peers).index(peer)]:
        _rpc(server, "swarm/connect", arg=f"{other.swarm_dial}/p2p/{other.kubo_id}", timeout="5s")


def _sees_all(session: requests.Session, server: Server) -> Callable[[], bool]:
    """Ready: this cluster peer sees all peers, with a fresh figure of everyone's free space. Only then can it pin."""

    def ready() -> bool:
        try:
            members = session.get(f"{server.address}/peers", timeout=10)
            space = session.get(f"{server.address}/monitor/metrics/freespace", timeout=10)
            fresh = [metric for metric in space.json() or () if metric["valid"]] if space.ok else []
        except requests.RequestException:
            return False
        return len(members.text.splitlines()) == COUNT and len(fresh) == COUNT

    return ready
