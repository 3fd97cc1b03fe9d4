"""What an operator decides: `pgkeep.toml`, and the connections it names."""

from pgkeep.settings.alerts import Alerts, Notifier
from pgkeep.settings.connections import Connection, Connections, from_environment
from pgkeep.settings.file import VARIABLE, add_database, load, section
from pgkeep.settings.keys import Keys
from pgkeep.settings.model import Database, Settings, parse
from pgkeep.settings.vault import Peer, Vault

__all__ = [
    "VARIABLE",
    "Alerts",
    "Connection",
    "Connections",
    "Database",
    "Keys",
    "Notifier",
    "Peer",
    "Settings",
    "Vault",
    "add_database",
    "from_environment",
    "load",
    "parse",
    "section",
]
