"""The port Capture by logical decoding: a replication slot keeps the WAL, our journal knows how far it was read."""

from .capture import LogicalCapture
from .report import CaptureReport

__all__ = ["CaptureReport", "LogicalCapture"]
