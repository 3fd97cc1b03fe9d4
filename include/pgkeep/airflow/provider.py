"""What Airflow reads when it looks for providers: the connection types and their forms. Imports nothing.

Only a declaration: every Airflow process calls it at start, and the forms in the UI are made of it.
"""

from typing import Any

PROTOCOL = "Protocol"


def get_provider_info() -> dict[str, Any]:
    """The provider's declaration, as `airflow.provider_info.schema.json` describes it."""
    return {
        "package-name": "pgkeep",
        "name": "pgkeep",
        "description": "Encrypted, replicated, proven PostgreSQL backups in a private IPFS Cluster.",
        "integrations": [],
        "connection-types": [_ipfs(), _ipfs_cluster()],
    }


def _ipfs() -> dict[str, Any]:
    return {
        "connection-type": "ipfs",
        "hook-class-name": "pgkeep.airflow.hooks.IpfsHook",
        "hook-name": "IPFS (Kubo RPC)",
        "ui-field-behaviour": _form(port="5001", login="Only behind a proxy that asks for it"),
    }


def _ipfs_cluster() -> dict[str, Any]:
    return {
        "connection-type": "ipfs_cluster",
        "hook-class-name": "pgkeep.airflow.hooks.IpfsClusterHook",
        "hook-name": "IPFS Cluster (REST)",
        "ui-field-behaviour": _form(port="9094", login="As in basic_auth_credentials of service.json"),
    }


def _form(*, port: str, login: str) -> dict[str, Any]:
    return {
        "hidden-fields": ["extra"],
        "relabeling": {"schema": PROTOCOL, "login": "User"},
        "placeholders": {"host": "127.0.0.1", "port": port, "schema": "http or https (http)", "login": login},
    }
