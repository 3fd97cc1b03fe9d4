"""The settings of the vault's peers: the one source of truth, for the sandbox and for docker-compose.

A peer is a pair: a Kubo daemon, which holds blocks, and an ipfs-cluster daemon, which decides who holds what. The
functions here are pure. Defaults are meant for production; `quick=True` shortens the intervals for one machine.
Formats: Kubo 0.43 `docs/config.md`, ipfs-cluster 1.1 `service.json` (ipfscluster.io/documentation/reference).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer's identities and addresses. Addresses are multiaddrs: where it listens, and where others dial it."""

    name: str
    kubo_id: str
    """Identity in the swarm of Kubo daemons."""
    cluster_id: str
    """Identity in the cluster: this one appears in a pin's allocations."""
    swarm_listen: str
    swarm_dial: str
    rpc_listen: str
    rpc_dial: str
    gossip_listen: str
    gossip_dial: str
    rest_listen: str


def loopback(port: int) -> str:
    """The multiaddr of a TCP port on 127.0.0.1."""
    return f"/ip4/127.0.0.1/tcp/{port}"


def swarm_key(secret: str) -> str:
    """The content of `swarm.key` for 64 hex digits: who has not got it cannot connect."""
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{secret}\n"


def kubo_environment() -> dict[str, str]:
    """Environment of every Kubo program: without a swarm key it refuses to start, and it reports to nobody."""
    return {"LIBP2P_FORCE_PNET": "1", "IPFS_TELEMETRY": "off"}


def kubo_config(base: Mapping[str, Any], peer: Peer, others: Sequence[Peer], *, storage_max: str = "1TB") -> Json:
    """Kubo's `config`, made from the one that `ipfs init --empty-repo` wrote (`base` has the private key).

    `storage_max` bounds what the cluster allocates to this peer; Kubo itself does not refuse more.
    """
    return dict(base) | {
        "Bootstrap": [],
        "Addresses": {"Swarm": [peer.swarm_listen], "API": peer.rpc_listen, "Gateway": []},
        "AutoConf": {"Enabled": False},  # would be fetched from outside
        "AutoNAT": {"ServiceMode": "disabled"},
        "AutoTLS": {"Enabled": False},
        "DNS": {"Resolvers": {}},
        "Datastore": _datastore(base["Datastore"], storage_max),
        "Discovery": {"MDNS": {"Enabled": False}},
        "HTTPRetrieval": {"Enabled": False},
        "Ipns": dict(base["Ipns"]) | {"DelegatedPublishers": []},
        "Peering": {"Peers": [{"ID": other.kubo_id, "Addrs": [other.swarm_dial]} for other in others]},
        "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
        "Provide": {"Enabled": False},
        "Routing": {"Type": "none", "DelegatedRouters": []},  # everyone peers with everyone
        "Swarm": dict(base["Swarm"]) | _swarm(),
        "Version": {"SwarmCheckEnabled": False},
    }


def _swarm() -> Json:
    off = {"Enabled": False}
    networks = ("QUIC", "WebTransport", "Websocket", "WebRTCDirect", "Relay")
    return {
        "DisableNatPortMap": True,
        "RelayClient": off,
        "RelayService": off,
        "Transports": {"Network": dict.fromkeys(networks, False)},
    }


def _datastore(base: Mapping[str, Any], storage_max: str) -> Json:
    mounts = [
        # An `add` that returned is on disk then.
        mount | {"sync": True} if mount.get("type") == "flatfs" or mount.get("mountpoint") == "/blocks" else mount
        for mount in base["Spec"]["mounts"]
    ]
    return dict(base) | {
        "StorageMax": storage_max,
        "HashOnRead": True,  # off, a rotten block is served as if it were sound
        "Spec": dict(base["Spec"]) | {"mounts": mounts},
    }


def cluster_config(
    peer: Peer, others: Sequence[Peer], *, secret: str, credentials: Mapping[str, str], quick: bool = False
) -> Json:
    """ipfs-cluster's `service.json`. Sections that are left out (proxy, pinning service) are turned off by that.

    `secret`: 64 hex digits that all peers share. `credentials`: REST passwords by user.
    """
    rest = {
        "http_listen_multiaddress": peer.rest_listen,
        "basic_auth_credentials": dict(credentials),
        "cors_allowed_origins": [],
    }
    crdt = {
        "cluster_name": "pgkeep",
        "trusted_peers": [p.cluster_id for p in (peer, *others)],  # with "*" whoever has the secret may unpin
        "batching": {"max_batch_size": 100, "max_batch_age": "100ms"},  # unbatched bursts lose gossip
    }
    config: Json = {
        "cluster": _cluster_section(peer, others, secret),
        "consensus": {"crdt": crdt},
        "api": {"restapi": rest},
        "ipfs_connector": {"ipfshttp": {"node_multiaddress": peer.rpc_dial}},
        "pin_tracker": {"stateless": {}},
        "monitor": {"pubsubmon": {"check_interval": "15s"}},  # left out, this and metric_ttl are read as zero: refused
        "allocator": {"balanced": {"allocate_by": ["freespace"]}},
        "informer": {"disk": {"metric_type": "freespace", "metric_ttl": "30s"}},
        "datastore": {"leveldb": {}},  # the default, pebble, forgets its newest pins when it is killed
    }
    return _quickened(config) if quick else config


def _cluster_section(peer: Peer, others: Sequence[Peer], secret: str) -> Json:
    return {
        "peername": peer.name,
        "secret": secret,
        "listen_multiaddress": [peer.gossip_listen],
        "peer_addresses": [f"{other.gossip_dial}/p2p/{other.cluster_id}" for other in others],
        "mdns_interval": "0s",
        "enable_relay_hop": False,
        "replication_factor_min": 2,
        "replication_factor_max": 3,
        "disable_repinning": True,  # an audit repairs and records; a blinking network must not start copying
    }


def _quickened(config: Json) -> Json:
    """The same configuration for peers on one machine: a dead one is noticed after two seconds, not after thirty."""
    gossip = {  # a `pubsub` section has to be complete
        "seen_messages_ttl": "30m0s",
        "heartbeat_interval": "1s",
        "d_factor": 4,
        "history_gossip": 2,
        "history_length": 6,
    }
    intervals = {"monitor_ping_interval": "1s", "peer_watch_interval": "1s", "pin_recover_interval": "10s"}
    connector = config["ipfs_connector"]["ipfshttp"] | {"connect_swarms_delay": "1s"}
    return config | {
        "cluster": config["cluster"] | intervals | {"pubsub": gossip},
        "consensus": {"crdt": config["consensus"]["crdt"] | {"rebroadcast_interval": "5s"}},
        "ipfs_connector": {"ipfshttp": connector},
        "monitor": {"pubsubmon": {"check_interval": "1s"}},
        "informer": {"disk": {"metric_type": "freespace", "metric_ttl": "5s"}},
    }
