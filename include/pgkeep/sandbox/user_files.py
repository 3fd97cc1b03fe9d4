"""What a user of the sandbox needs to know, as files: `env` (shell exports), `pgkeep.toml`, `pgpass`."""

import json
import os
import shlex
import sysconfig
from pathlib import Path

from . import airflow_servers, peer_servers
from .place import State, write_private
from .postgres_servers import ROLE

TOML = """\
# The sandbox's configuration, written when it is made and yours from then on. There are no secrets in it:
# connections come from AIRFLOW_CONN_... in the file `env`.
[vault]
copies = 3
{peers}
[keys]
gnupghome = {gnupghome}
node = "{node}"
recipients = ["{first}", "{second}"]

[defaults]
connection = "pgkeep_source"
full_schedule = "0 2 * * *"
timezone = "UTC"

[databases]
"""


def environment(home: Path, state: State) -> dict[str, str]:
    """Variables by name. PATH finds the client programs of the right versions first."""
    found = {
        "PGKEEP_CONFIG": str(home / "pgkeep.toml"),
        "GNUPGHOME": str(home / "gnupg"),
        "PGPASSFILE": str(home / "pgpass"),
        "PGKEEP_SOURCE_URL": _url("source", state),
        "PGKEEP_SCRATCH_URL": _url("scratch", state),
        "PATH": os.pathsep.join([*_programs(state), os.environ.get("PATH", os.defpath), _scripts()]),
    }
    found |= {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections(state).items()}
    return found | (airflow_servers.variables(home, state) if state.airflow else {})


def _url(server: str, state: State) -> str:
    return f"postgresql://{ROLE}@127.0.0.1:{state.ports[server]}"


def connections(state: State) -> dict[str, dict[str, str | int]]:
    """The sandbox's Airflow connections by id."""
    found: dict[str, dict[str, str | int]] = {
        f"pgkeep_{server}": {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": state.ports[server],
            "login": ROLE,
            "password": state.secrets[server],
            "schema": "postgres",
        }
        for server in ("source", "scratch")
    }
    for index in range(1, peer_servers.COUNT + 1):
        found[_numbered("pgkeep_kubo", index)] = {
            "conn_type": "ipfs",
            "host": "127.0.0.1",
            "port": state.ports[f"rpc-{index}"],
        }
        found[_numbered("pgkeep_cluster", index)] = {
            "conn_type": "ipfs_cluster",
            "host": "127.0.0.1",
            "port": state.ports[f"rest-{index}"],
            "login": peer_servers.REST_USER,
            "password": state.secrets["rest"],
        }
    return found


def _numbered(name: str, index: int) -> str:
    return name if index == 1 else f"{name}_{index}"


def exports(variables: dict[str, str], state: State) -> str:
    """The variables as lines for `sh`; the programs come in front of the reader's own search path."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items() if name != "PATH"]
    first, last = (shlex.quote(os.pathsep.join(part)) for part in (_programs(state), [_scripts()]))
    return "".join(lines) + f'export PATH={first}:"$PATH":{last}\n'


def _scripts() -> str:
    """Where this environment's `pgkeep` and `airflow` are. Last on PATH: its Python is not everybody's."""
    return sysconfig.get_path("scripts")


def _programs(state: State) -> list[str]:
    return list(dict.fromkeys([state.postgres_programs, state.ipfs_programs]))


def write_files(home: Path, state: State) -> None:
    """Writes `env` and `pgpass` anew, and `pgkeep.toml` if there is none: databases are added to that by its user."""
    write_passwords(home, state)
    write_private(home / "env", exports(environment(home, state), state))
    if not (home / "pgkeep.toml").exists():
        write_private(home / "pgkeep.toml", _configuration(home, state))


def write_passwords(home: Path, state: State) -> None:
    """Writes `pgpass`, in libpq's format."""
    servers = ("source", "scratch", "metadata")
    lines = [f"127.0.0.1:{state.ports[name]}:*:{ROLE}:{state.secrets[name]}\n" for name in servers]
    write_private(home / "pgpass", "".join(lines))


def _configuration(home: Path, state: State) -> str:
    peers = "".join(
        f'[[vault.peers]]\nkubo = "{_numbered("pgkeep_kubo", i)}"\ncluster = "{_numbered("pgkeep_cluster", i)}"\n'
        for i in range(1, peer_servers.COUNT + 1)
    )
    return TOML.format(
        peers=peers,
        gnupghome=json.dumps(str(home / "gnupg"), ensure_ascii=False),  # a JSON string is a TOML string, too
        node=state.fingerprints["node"],
        first=state.fingerprints["recipient-1"],
        second=state.fingerprints["recipient-2"],
    )
