"""What a user of the sandbox needs to know, as files: `env` (shell exports), `pgkeep.toml`, `pgpass`."""

import os
import shlex
import sysconfig
from pathlib import Path

from . import airflow_servers
from .peer_servers import COUNT
from .place import State, write_private
from .postgres_servers import ROLE
from .site import SERVERS, configuration, connection_variables


def environment(home: Path, state: State) -> dict[str, str]:
    """Variables by name. PATH finds the client programs of the right versions first."""
    found = {
        "PGKEEP_CONFIG": str(home / "pgkeep.toml"),
        "GNUPGHOME": str(home / "gnupg"),
        "PGPASSFILE": str(home / "pgpass"),
        "PGKEEP_SOURCE_URL": _url("source", state),
        "PGKEEP_SCRATCH_URL": _url("scratch", state),
        "PGKEEP_PEER_URL": f"http://127.0.0.1:{state.ports['rpc-1']}",
        "PATH": os.pathsep.join([*_programs(state), os.environ.get("PATH", os.defpath), _scripts()]),
    }
    return found | _connections(state) | (airflow_servers.variables(home, state) if state.airflow else {})


def _url(server: str, state: State) -> str:
    return f"postgresql://{ROLE}@127.0.0.1:{state.ports[server]}"


def _connections(state: State) -> dict[str, str]:
    def here(port: str) -> tuple[str, int]:
        return "127.0.0.1", state.ports[port]

    return connection_variables(
        {name: (here(name), state.secrets[name]) for name in SERVERS},
        [(here(f"rpc-{i}"), here(f"rest-{i}")) for i in range(1, COUNT + 1)],
        rest_password=state.secrets["rest"],
    )


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
        write_private(home / "pgkeep.toml", configuration(home / "gnupg", state))


def write_passwords(home: Path, state: State) -> None:
    """Writes `pgpass`, in libpq's format."""
    lines = [f"127.0.0.1:{state.ports[name]}:*:{ROLE}:{state.secrets[name]}\n" for name in (*SERVERS, "metadata")]
    write_private(home / "pgpass", "".join(lines))
