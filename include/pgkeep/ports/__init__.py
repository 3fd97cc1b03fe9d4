"""What the stories ask of the world. Each port has a shipped double in `pgkeep.testing` and a real adapter; one suite
of contract tests runs over both.
"""

from collections.abc import Callable, Iterator

from .sealer import Audience, Complaint, Envelope, Opener, Sealer
from .source import Capture, Inexact, Snapshot, Source, Unreadable, Window
from .target import Fresh, Occupant, Refused, Target
from .vault import Holder, Holdings, Listing, Place, Vault

__all__ = [
    "Audience",
    "Capture",
    "Complaint",
    "Envelope",
    "Fresh",
    "Holder",
    "Holdings",
    "Inexact",
    "Listing",
    "Occupant",
    "Opener",
    "Place",
    "Refused",
    "Sealer",
    "Snapshot",
    "Source",
    "Target",
    "Unreadable",
    "Vault",
    "Watch",
    "Window",
]

Watch = Callable[[str, Iterator[bytes]], Iterator[bytes]]
"""Passes a named stream of chunks through unchanged, and may tell somebody how far it is."""
