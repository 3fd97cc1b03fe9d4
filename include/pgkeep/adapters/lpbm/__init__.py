"""LPBM's files: its encryption, and a directory full of them."""

from .folder import Folder, read_path
from .opener import LegacyOpener

__all__ = ["Folder", "LegacyOpener", "read_path"]
