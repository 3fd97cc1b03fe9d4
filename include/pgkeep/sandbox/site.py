"""What a node needs to know, the same in the sandbox and in the containers: connections, and a first `pgkeep.toml`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from .peer_servers import COUNT, REST_USER
from .place import State
from .postgres_servers import ROLE

Address = tuple[str, int]
"""Host and port."""
SERVERS = ("source", "scratch")
TOML = """\
# pgkeep's configuration, written once and yours from then on. There are no secrets in it: connections come from
# AIRFLOW_CONN_... in the environment.
[vault]
copies = 3
{peers}
[keys]
gnupghome = {gnupghome}
node = "{node}"
recipients = ["{first}", "{second}"]

[defaults]
connection = "pgkeep_source"
scratch = "pgkeep_scratch"
full_schedule = "0 2 * * *"
timezone = "UTC"

[databases]
"""
PEER = """
[[vault.peers]]
kubo = "{kubo}"
cluster = "{cluster}"
"""


def connection_variables(
    servers: Mapping[str, tuple[Address, str]], peers: Sequence[tuple[Address, Address]], *, rest_password: str
) -> dict[str, str]:
    """Airflow connections as environment variables. `servers`: address and password; `peers`: Kubo's RPC, the REST."""
    found: dict[str, str] = {}
    for name, (address, password) in servers.items():
        found[f"pgkeep_{name}"] = _connection("postgres", address, login=ROLE, password=password, schema="postgres")
    for index, (rpc, rest) in enumerate(peers, start=1):
        found[_numbered("pgkeep_kubo", index)] = _connection("ipfs", rpc)
        found[_numbered("pgkeep_cluster", index)] = _connection(
            "ipfs_cluster", rest, login=REST_USER, password=rest_password
        )
    return {f"AIRFLOW_CONN_{name.upper()}": value for name, value in found.items()}


def _connection(kind: str, address: Address, **more: str) -> str:
    return json.dumps({"conn_type": kind, "host": address[0], "port": address[1]} | more)


def _numbered(name: str, index: int) -> str:
    return name if index == 1 else f"{name}_{index}"


def configuration(gnupghome: Path, state: State) -> str:
    """The text of `pgkeep.toml` for keys that are in that keyring."""
    peers = (
        PEER.format(kubo=_numbered("pgkeep_kubo", i), cluster=_numbered("pgkeep_cluster", i))
        for i in range(1, COUNT + 1)
    )
    return TOML.format(
        peers="".join(peers),
        gnupghome=json.dumps(str(gnupghome), ensure_ascii=False),  # a JSON string is a TOML string, too
        node=state.fingerprints["node"],
        first=state.fingerprints["recipient-1"],
        second=state.fingerprints["recipient-2"],
    )
