"""Everything that a backup will depend on, asked beforehand, and said whether it is well or not."""

from .database import database, require_source
from .finding import Finding, require_all
from .freshness import freshness, lineage, look
from .vault import vault_and_keys

__all__ = ["Finding", "database", "freshness", "lineage", "look", "require_all", "require_source", "vault_and_keys"]
