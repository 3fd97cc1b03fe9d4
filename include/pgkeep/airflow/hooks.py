"""From Airflow's connections to pgkeep's things.

Drivers are imported only when something is opened: every parse of a DAG file loads these classes.
"""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSecretsBackendAccessDenied
from airflow.sdk.log import mask_secret

from pgkeep.airflow import supervisor, variables
from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.settings import VARIABLE, Connection, Database, Settings, load

if TYPE_CHECKING:
    from pgkeep.adapters.ipfs.cluster import Cluster
    from pgkeep.adapters.ipfs.door import Endpoint
    from pgkeep.adapters.ipfs.kubo import Kubo
    from pgkeep.journal_store import JournalStore
    from pgkeep.ports import Vault
    from pgkeep.site import Site

Sites = Callable[[str], "Site"]
"""Opens everything that keeps the database of that name. Raises ConfigError."""


def airflow_connection(name: str) -> Connection:
    """The Airflow connection of that id, from wherever Airflow keeps it.

    Raises ConfigError: there is none, or it is not for us; Unavailable: Airflow does not say.
    """
    try:
        found = BaseHook.get_connection(name)
    except AirflowSecretsBackendAccessDenied as error:
        raise ConfigError(
            f"Airflow does not let this task have connection {name}",
            next_step="give the task's team that connection, or let the task run where it may have it",
        ) from error
    except AirflowNotFoundException as error:
        _require_known_missing(name)
        raise ConfigError(
            f"Airflow has no connection {name}, but pgkeep.toml names it",
            next_step=f"add it in the UI (Admin, Connections) or as AIRFLOW_CONN_{name.upper()}, or correct the name",
        ) from error
    if found.password:
        mask_secret(found.password)
    return Connection(
        id=name,
        type=found.conn_type or "",
        host=found.host or "",
        port=found.port,
        login=found.login,
        password=found.password,
        schema=found.schema,
        extra=found.extra_dejson,
    )


def _require_known_missing(name: str) -> None:
    """Raises Unavailable: it may be there, for Airflow says "not found" of what it could not ask for, too."""
    try:
        _ask_again(name)
        variables.store().keys("pgkeep_")  # fails if its database is away; then the api-server says "not found"
    except Exception as error:
        raise Unavailable(
            f"Airflow does not say whether there is a connection {name} ({type(error).__name__})",  # its text: secrets
            next_step="see that Airflow's api-server and its database answer",
        ) from error


def _ask_again(name: str) -> None:
    """In a task. Raises what Airflow raises; LookupError: now it is there."""
    from airflow.sdk.execution_time.comms import ConnectionResult, GetConnection

    if supervisor.is_there() and supervisor.ask(GetConnection(conn_id=name), ConnectionResult) is not None:
        raise LookupError("now it is there")


class SiteHook(BaseHook):
    """What `pgkeep.toml` (in PGKEEP_CONFIG) and Airflow's connections describe. Opening it asks no server anything."""

    def settings(self) -> Settings:
        """The file, read anew. Raises ConfigError."""
        return load(os.environ.get(VARIABLE))

    def site(self, database: str) -> "Site":
        """Everything that keeps one database. Raises ConfigError."""
        from pgkeep import wiring

        return wiring.site(self.settings(), database, airflow_connection)

    def vault(self) -> "Vault":
        """The private cluster, without a database. Raises ConfigError."""
        from pgkeep import wiring

        return wiring.open_vault(self.settings(), airflow_connection)

    def databases(self) -> Mapping[str, Database]:
        """The settings of every configured database. Raises ConfigError."""
        return self.settings().databases

    def journals(self) -> "dict[str, JournalStore]":
        """The journal of every configured database. Raises ConfigError."""
        from pgkeep import wiring

        settings = self.settings()
        vault, sealer = wiring.open_vault(settings, airflow_connection), wiring.open_sealer(settings)
        return {name: wiring.journals(settings, name, vault=vault, sealer=sealer) for name in settings.databases}


class _DoorHook(BaseHook):
    """A door of a peer: what both connection types have in common."""

    conn_type: str
    default_port: int

    def _endpoint(self, conn_id: str) -> "Endpoint":
        from pgkeep.wiring import endpoint

        return endpoint(airflow_connection(conn_id), type=self.conn_type, port=self.default_port)

    @abstractmethod
    def _greeting(self) -> str:
        """What answers there. Raises PgkeepError."""

    def test_connection(self) -> tuple[bool, str]:
        """For Airflow's "Test" button: whether it is what it should be, and a sentence for people.

        The button tests a nameless copy of what the form holds: that id would tell nobody anything.
        """
        try:
            return True, self._greeting()
        except PgkeepError as error:
            return False, str(error)


class IpfsHook(_DoorHook):
    """A Kubo daemon's RPC."""

    conn_name_attr = "ipfs_conn_id"
    default_conn_name = "pgkeep_kubo"
    conn_type = "ipfs"
    hook_name = "IPFS (Kubo RPC)"
    default_port = 5001

    def __init__(self, ipfs_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.ipfs_conn_id = ipfs_conn_id

    def get_conn(self) -> "Kubo":
        """The client; it has asked nothing yet. Raises ConfigError."""
        return self._client(self.ipfs_conn_id)

    def _client(self, name: str | None) -> "Kubo":
        from pgkeep.adapters.ipfs.kubo import Kubo

        return Kubo(self._endpoint(self.ipfs_conn_id), name=name)

    def _greeting(self) -> str:
        kubo = self._client(None)
        return f"Kubo {kubo.version()}, peer {kubo.id()}"


class IpfsClusterHook(_DoorHook):
    """A cluster peer's REST API."""

    conn_name_attr = "ipfs_cluster_conn_id"
    default_conn_name = "pgkeep_cluster"
    conn_type = "ipfs_cluster"
    hook_name = "IPFS Cluster (REST)"
    default_port = 9094

    def __init__(self, ipfs_cluster_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.ipfs_cluster_conn_id = ipfs_cluster_conn_id

    def get_conn(self) -> "Cluster":
        """The client; it has asked nothing yet. Raises ConfigError."""
        return self._client(self.ipfs_cluster_conn_id)

    def _client(self, name: str | None) -> "Cluster":
        from pgkeep.adapters.ipfs.cluster import Cluster

        return Cluster(self._endpoint(self.ipfs_cluster_conn_id), name=name)

    def _greeting(self) -> str:
        cluster = self._client(None)
        member = cluster.id()
        return f"IPFS Cluster {member.version}, peer {member.name}, which counts {len(cluster.peers())} peers"
