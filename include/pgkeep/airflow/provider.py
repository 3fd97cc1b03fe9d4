"""What Airflow reads when it looks for providers: the connection types and their forms. Imports nothing.

Only a declaration: every Airflow process calls it at start, and the forms in the UI are made of it.
"""

from typing import Any

PROTOCOL = "Protocol"
OPERATORS = ["pgkeep.airflow.operators", "pgkeep.airflow.proving", "pgkeep.airflow.restoring", "pgkeep.airflow.watch"]
HOOKS = "pgkeep.airflow.hooks"
KUBO = "https://docs.ipfs.tech/reference/kubo/rpc/"
CLUSTER = "https://ipfscluster.io/documentation/reference/api/"


def get_provider_info() -> dict[str, Any]:
    """The provider's declaration, as `airflow.provider_info.schema.json` describes it."""
    return {
        "package-name": "pgkeep",
        "name": "pgkeep",
        "description": "Encrypted, replicated, proven PostgreSQL backups in a private IPFS Cluster.",
        "integrations": [
            {"integration-name": "pgkeep", "tags": ["software"]},
            {"integration-name": "IPFS", "external-doc-url": KUBO, "tags": ["protocol"]},
            {"integration-name": "IPFS Cluster", "external-doc-url": CLUSTER, "tags": ["service"]},
        ],
        "hooks": [{"integration-name": name, "python-modules": [HOOKS]} for name in ("pgkeep", "IPFS", "IPFS Cluster")],
        "operators": [{"integration-name": "pgkeep", "python-modules": OPERATORS}],
        "triggers": [{"integration-name": "pgkeep", "python-modules": ["pgkeep.airflow.triggers"]}],
        "connection-types": [_ipfs(), _ipfs_cluster()],
    }


def _ipfs() -> dict[str, Any]:
    return {
        "connection-type": "ipfs",
        "hook-class-name": f"{HOOKS}.IpfsHook",
        "hook-name": "IPFS (Kubo RPC)",
        "ui-field-behaviour": _form(port="5001", login="Only behind a proxy that asks for it"),
    }


def _ipfs_cluster() -> dict[str, Any]:
    return {
        "connection-type": "ipfs_cluster",
        "hook-class-name": f"{HOOKS}.IpfsClusterHook",
        "hook-name": "IPFS Cluster (REST)",
        "ui-field-behaviour": _form(port="9094", login="As in basic_auth_credentials of service.json"),
    }


def _form(*, port: str, login: str) -> dict[str, Any]:
    return {
        "hidden-fields": ["extra"],
        "relabeling": {"schema": PROTOCOL, "login": "User"},
        "placeholders": {"host": "127.0.0.1", "port": port, "schema": "http or https (http)", "login": login},
    }
