"""The files of the vault's peers: identities made once, configuration written anew whenever addresses change."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgkeep.errors import ConfigError, Unavailable

from .peer_settings import Peer, cluster_config, kubo_config, kubo_environment, swarm_key
from .place import make_private_directory, write_private
from .processes import inherited_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerHome:
    """Where one peer keeps its things: `ipfs` (IPFS_PATH) and `cluster` (IPFS_CLUSTER_PATH)."""

    directory: Path

    @property
    def ipfs(self) -> Path:
        return self.directory / "ipfs"

    @property
    def cluster(self) -> Path:
        return self.directory / "cluster"

    @property
    def environment(self) -> dict[str, str]:
        return kubo_environment() | {"IPFS_PATH": str(self.ipfs), "IPFS_CLUSTER_PATH": str(self.cluster)}

    def identities(self) -> tuple[str, str]:
        """(Kubo's id, the cluster peer's id). Raises ConfigError when the peer was not initialised."""
        return _identity(self.ipfs / "config", "Identity", "PeerID"), _identity(self.cluster / "identity.json", "id")


def _identity(file: Path, *keys: str) -> str:
    """What stands in that file under these keys. Raises ConfigError."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        for key in keys:
            found = found[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the peer in {file.parent.parent} has no readable identity in {file} ({type(error).__name__})",
            next_step=f"move {file.parent} away, and start again: it is initialised anew, and has its copies from the "
            "other peers",
        ) from error
    return str(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all peers of one vault share."""

    swarm_secret: str = field(repr=False)
    cluster_secret: str = field(repr=False)
    credentials: Mapping[str, str] = field(repr=False)
    storage_max: str = "1TB"
    quick: bool = False


def initialise(home: PeerHome, programs: Path) -> None:
    """Makes both identities if nothing is there, each wholly or not at all. Raises Unavailable if that fails."""
    make_private_directory(home.directory)
    new = PeerHome(directory=home.directory / ".new")
    shutil.rmtree(new.directory, ignore_errors=True)
    if _is_free(home.ipfs):
        _run(new, programs / "ipfs", "init", "--empty-repo")
        new.ipfs.rename(home.ipfs)
    if _is_free(home.cluster):
        _run(new, programs / "ipfs-cluster-service", "init", "--consensus", "crdt")
        new.cluster.rename(home.cluster)
    shutil.rmtree(new.directory, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    """Nothing is there that could be lost."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _run(home: PeerHome, *argv: str | Path) -> None:
    make_private_directory(home.directory)
    environment = inherited_environment() | home.environment
    result = subprocess.run(
        argv, env=environment, umask=0o077, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if result.returncode != 0:
        raise Unavailable(
            f"`{Path(argv[0]).name} init` failed for {home.directory.parent} (exit code {result.returncode})",
            next_step="look whether the disk is full or the directory read-only, then repeat",
        )


def configure(homes: Sequence[PeerHome], peers: Sequence[Peer], shared: Shared) -> None:
    """Writes swarm key and both configurations of every peer, each knowing all others."""
    for home, peer in zip(homes, peers, strict=True):
        others = [other for other in peers if other is not peer]
        base = json.loads((home.ipfs / "config").read_text(encoding="utf-8"))
        kubo = kubo_config(base, peer, others, storage_max=shared.storage_max)
        cluster = cluster_config(
            peer, others, secret=shared.cluster_secret, credentials=shared.credentials, quick=shared.quick
        )
        write_private(home.ipfs / "swarm.key", swarm_key(shared.swarm_secret))
        write_private(home.ipfs / "config", json.dumps(kubo, indent=1))
        write_private(home.cluster / "service.json", json.dumps(cluster, indent=1))


def configure_below(root: Path, wanted: Mapping[str, Any]) -> None:
    """Configures the peers in `root/NAME/{ipfs,cluster}`, which their own programs must have initialised.

    `wanted`: the fields of `Shared`, and "peers": of each the name and the addresses that `peer_settings.Peer` has.
    """
    homes = [PeerHome(directory=root / str(peer["name"])) for peer in wanted["peers"]]
    identities = [home.identities() for home in homes]
    peers = [
        Peer(**peer, kubo_id=kubo, cluster_id=cluster)
        for peer, (kubo, cluster) in zip(wanted["peers"], identities, strict=True)
    ]
    shared = {name: value for name, value in wanted.items() if name != "peers"}
    configure(homes, peers, Shared(**shared))
