"""What pgkeep installs in a source database, and what it never does there: make a statement fail or wait (I10)."""

from .install import install, remove, synchronise
from .state import Installed, look
from .statements import script

__all__ = ["Installed", "install", "look", "remove", "script", "synchronise"]
