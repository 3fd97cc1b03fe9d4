"""Doubles of the ports, all in memory, for tests of the stories and of anything built on them.

They keep the ports' contracts (the contract suites run over them and over the real adapters alike) and can be told to
have a bad day: a peer that is down, a flipped byte, a source that dies half-way.
"""

from pgkeep.testing.capture import MemoryCapture, MemoryWindow, sample_position
from pgkeep.testing.database import (
    SAMPLE_PROPERTIES,
    MemoryBlank,
    MemoryFresh,
    MemorySnapshot,
    MemorySource,
    MemoryTarget,
    sample_inventory,
)
from pgkeep.testing.sealer import NODE, RECIPIENTS, MemorySealer
from pgkeep.testing.vault import MemoryPeer, MemoryVault

__all__ = [
    "NODE",
    "RECIPIENTS",
    "SAMPLE_PROPERTIES",
    "MemoryBlank",
    "MemoryCapture",
    "MemoryFresh",
    "MemoryPeer",
    "MemorySealer",
    "MemorySnapshot",
    "MemorySource",
    "MemoryTarget",
    "MemoryVault",
    "MemoryWindow",
    "sample_inventory",
    "sample_position",
]
