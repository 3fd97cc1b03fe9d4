"""What an operator decides: `pgkeep.toml`, and the connections it names."""

from pgkeep.settings.connections import Connection, Connections, from_environment
from pgkeep.settings.file import VARIABLE, add_database, load, section
from pgkeep.settings.model import Database, Keys, Peer, Settings, Vault, parse

__all__ = [
    "VARIABLE",
    "Connection",
    "Connections",
    "Database",
    "Keys",
    "Peer",
    "Settings",
    "Vault",
    "add_database",
    "from_environment",
    "load",
    "parse",
    "section",
]
