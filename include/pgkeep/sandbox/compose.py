"""What the containers of docker-compose.yml share, made by its service `init`: secrets once, all else built from them.

    python -m pgkeep.sandbox.compose ROOT

Below ROOT, each of these is a volume (docker-compose.yml says who mounts it):

    secrets/state.json              every password, chosen once: for this service only
    site/                           what Airflow and `pgkeep` read: env  pgkeep.toml  pgpass  passwords.json
                                    admin-password  gnupg
    postgres/                       the passwords of PostgreSQL's roles, a file for each
    peers/peer-N/{ipfs,cluster}     initialised by the peers' own programs; configured here, as the sandbox's peers are

May be repeated at any time, also while the containers run: it writes the same again.
"""

import base64
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import airflow_servers, command, keys, peer_homes
from .peer_servers import COUNT, REST_USER
from .place import State, load_state, make_private_directory, save_state, write_private
from .postgres_servers import ROLE
from .site import SERVERS, configuration, connection_variables

SECRETS = ("swarm", "cluster", "rest", ROLE, "airflow", *airflow_servers.SECRETS)
DATABASE_HOST = "postgres"
RPC, REST = 5001, 9094

Addresses = Callable[[int], Mapping[str, str]]
"""The addresses of the peer of that number, by the fields of `peer_settings.Peer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """(user, group) of whoever reads a volume, as the images define them."""

    airflow: tuple[int, int] = (50000, 0)
    postgres: tuple[int, int] = (999, 999)
    peers: tuple[int, int] = (1000, 100)


def in_containers(index: int) -> dict[str, str]:
    """Addresses in the network `vault`, where every container has its service's name."""
    return {
        "swarm_listen": "/ip4/0.0.0.0/tcp/4001",
        "swarm_dial": f"/dns4/kubo-{index}/tcp/4001",
        "rpc_listen": f"/ip4/0.0.0.0/tcp/{RPC}",
        "rpc_dial": f"/dns4/kubo-{index}/tcp/{RPC}",
        "gossip_listen": "/ip4/0.0.0.0/tcp/9096",
        "gossip_dial": f"/dns4/cluster-{index}/tcp/9096",
        "rest_listen": f"/ip4/0.0.0.0/tcp/{REST}",
    }


def prepare(
    root: Path,
    *,
    owners: Owners | None,
    addresses: Addresses = in_containers,
    storage_max: str = "1TB",
) -> None:
    """Fills the volumes below `root`. `owners`: None leaves everything to whoever runs this.

    Raises ConfigError if a peer was not initialised or the state is unreadable, Unavailable if GnuPG makes no keys.
    """
    umask = os.umask(0o077)  # GnuPG makes files of its own
    try:
        state = _with_keys(root, load_state(root / "secrets").with_secrets(*SECRETS))
        configure_peers(root / "peers", state, addresses, storage_max=storage_max)
        write_site(root / "site", state)
        for role in (ROLE, "airflow"):
            write_private(root / "postgres" / role, state.secrets[role])
        if owners:
            _hand_over(root, owners)
    finally:
        os.umask(umask)


def _with_keys(root: Path, state: State) -> State:
    """The state with the keys' fingerprints, saved. Keys are made once: those that are there may be the user's own."""
    save_state(root / "secrets", state)
    if state.fingerprints:
        return state
    keyring = root / "site" / "gnupg"
    sockets = keys.prepare_keyring(keyring, sockets="")
    try:
        state = replace(state, fingerprints=dict(keys.provide_keys(keyring)))
    finally:
        keys.stop_agent(keyring, sockets=sockets)
    save_state(root / "secrets", state)
    return state


def configure_peers(root: Path, state: State, addresses: Addresses, *, storage_max: str) -> None:
    """Writes what the daemons in `root/peer-N` read."""
    shared = {
        "swarm_secret": state.secrets["swarm"],
        "cluster_secret": state.secrets["cluster"],
        "credentials": {REST_USER: state.secrets["rest"]},
        "storage_max": storage_max,
    }
    peers = [{"name": f"peer-{index}", **addresses(index)} for index in range(1, COUNT + 1)]
    peer_homes.configure_below(root, shared | {"peers": peers})


def write_site(site: Path, state: State) -> None:
    """Writes what Airflow and `pgkeep` read; `pgkeep.toml` only if there is none, since it is the user's."""
    lines = [f"{DATABASE_HOST}:5432:*:{role}:{state.secrets[role]}\n" for role in (ROLE, "airflow")]
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in environment(site, state).items()]
    write_private(site / "pgpass", "".join(lines))
    write_private(site / "env", "".join(exports))
    airflow_servers.write_logins(site, state)
    if not (site / "pgkeep.toml").exists():
        write_private(site / "pgkeep.toml", configuration(site / "gnupg", state))


def environment(site: Path, state: State) -> dict[str, str]:
    """Variables by name: where things are, and those of Airflow's settings that are secret."""
    server = f"postgresql://{ROLE}@{DATABASE_HOST}:5432"
    secrets = state.secrets
    found = {
        "PGKEEP_CONFIG": str(site / "pgkeep.toml"),
        "GNUPGHOME": str(site / "gnupg"),
        "PGPASSFILE": str(site / "pgpass"),
        "PGKEEP_SOURCE_URL": server,
        "PGKEEP_SCRATCH_URL": server,
        "AIRFLOW__API__SECRET_KEY": secrets["airflow-api"],
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets["airflow-jwt"],
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(bytes.fromhex(secrets["airflow-fernet"])).decode(),
    }
    return found | _connections(state)


def _connections(state: State) -> dict[str, str]:
    database = (DATABASE_HOST, 5432), state.secrets[ROLE]
    peers = [((f"kubo-{index}", RPC), (f"cluster-{index}", REST)) for index in range(1, COUNT + 1)]
    return connection_variables(dict.fromkeys(SERVERS, database), peers, rest_password=state.secrets["rest"])


def _hand_over(root: Path, owners: Owners) -> None:
    """Gives every file to its reader. It was readable by nobody else before, and is not now."""
    site = root / "site"
    _give(owners.airflow, site, *site.rglob("*"))
    _give(owners.postgres, *(root / "postgres").iterdir())
    for index in range(1, COUNT + 1):
        ipfs, cluster = (root / "peers" / f"peer-{index}" / kind for kind in ("ipfs", "cluster"))
        _give(owners.peers, ipfs / "config", ipfs / "swarm.key", cluster / "service.json")


def _give(owner: tuple[int, int], *paths: Path) -> None:
    for path in paths:
        os.chown(path, *owner, follow_symlinks=False)


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        sys.exit("usage: python -m pgkeep.sandbox.compose ROOT")
    root = Path(arguments[0])
    for volume in ("secrets", "site", "postgres"):
        make_private_directory(root / volume)
    storage_max = os.environ.get("PGKEEP_STORAGE_MAX") or "1TB"
    prepare(root, owners=Owners(), storage_max=storage_max)


if __name__ == "__main__":
    command.run(main)
