"""The section [vault]: the peers, and how many copies they hold."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pgkeep.settings import values
from pgkeep.settings.table import setting, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer of the private cluster. The first of them is this node's own and needs both doors."""

    kubo: str | None = setting("connection of its Kubo RPC", values.name, default=None)
    cluster: str | None = setting("connection of its IPFS Cluster REST API", values.name, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """Where backups are kept."""

    copies: int = setting("how many distinct peers must hold every object", values.count, default=3)
    replication_hours: float = setting("how long a copy may take before the run fails", values.hours, default=24.0)
    sweep_days: int = setting(
        "days that what no journal names stays before an audit removes it", values.count, default=7
    )
    peers: tuple[Peer, ...] = setting("the peers, this node's own first", values.untouched)


def vault(own: Mapping[str, Any], problems: list[str]) -> Vault | None:
    """The section [vault], or None with what is wrong added to `problems`."""
    listed = own.get("peers", [])
    if not (isinstance(listed, list) and all(isinstance(peer, Mapping) for peer in listed)):
        problems.append("vault.peers: is not a list of sections; write [[vault.peers]] once for each peer")
        return None
    peers = [table(Peer, peer, where=f"vault.peers[{i}]", problems=problems) for i, peer in enumerate(listed)]
    found = table(Vault, {**own, "peers": tuple(filter(None, peers))}, where="vault", problems=problems)
    if found is not None:
        problems += [*_vault_problems(found), *_sweep_problems(found)]
    return found


def _vault_problems(vault: Vault) -> Iterator[str]:
    if not vault.peers:
        yield "vault.peers: there are none; write [[vault.peers]] with kubo and cluster for this node's own peer"
        return
    if vault.peers[0].kubo is None:
        yield "vault.peers[0]: this node's own peer needs its Kubo; write kubo = (and cluster =, to write)"
    for i, peer in enumerate(vault.peers):
        if (peer.kubo, peer.cluster) == (None, None):
            yield f"vault.peers[{i}]: names no connection; write kubo = or cluster =, or both"
    if vault.copies > len(vault.peers):
        yield (
            f"vault.copies: is {vault.copies}, but there are {len(vault.peers)} peers; "
            f"write at most {len(vault.peers)}, or add [[vault.peers]]"
        )
    doors = Counter(door for peer in vault.peers for door in (peer.kubo, peer.cluster) if door)
    for door, times in doors.items():
        if times > 1:
            yield f"vault.peers: {door} stands {times} times; every peer has connections of its own"


def _sweep_problems(vault: Vault) -> Iterator[str]:
    if 24 * vault.sweep_days <= vault.replication_hours:
        yield (
            f"vault.sweep_days: is {vault.sweep_days}, but copies may take {vault.replication_hours:g} hours; "
            "write more, or what still waits for its copies would be removed"
        )
