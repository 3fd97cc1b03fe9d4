"""What may be said of DDL: which commands give the same when they run again, and how they are run. Pure, no I/O."""

from .event import DdlEvent
from .replay import DdlReplay

__all__ = ["DdlEvent", "DdlReplay"]
