"""A private IPFS Cluster as the vault. A peer is a pair: a Kubo daemon, and the cluster peer that commands it."""

from .cluster import Claim, Cluster, Member, Pin
from .door import STALL_SECONDS, Endpoint
from .health import ClusterHealth, KuboHealth, PeerHealth, VaultHealth
from .kubo import Kubo
from .peers import PeerAddress
from .vault import IpfsVault

__all__ = [
    "STALL_SECONDS",
    "Claim",
    "Cluster",
    "ClusterHealth",
    "Endpoint",
    "IpfsVault",
    "Kubo",
    "KuboHealth",
    "Member",
    "PeerAddress",
    "PeerHealth",
    "Pin",
    "VaultHealth",
]
