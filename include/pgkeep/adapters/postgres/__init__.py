"""PostgreSQL: the ports Source and Target over real servers (13 to 18) and their own programs."""

from .csvlog import CsvlogCapture, LogReport
from .logical import CaptureReport, LogicalCapture
from .probe import SourceReport, probe_source
from .server import Server, server_from_parameters, server_from_url
from .source import PostgresSource
from .target import PostgresTarget

__all__ = [
    "CaptureReport",
    "CsvlogCapture",
    "LogReport",
    "LogicalCapture",
    "PostgresSource",
    "PostgresTarget",
    "Server",
    "SourceReport",
    "probe_source",
    "server_from_parameters",
    "server_from_url",
]
