"""The changes of a database from PostgreSQL's CSV logs, where logical decoding cannot be had."""

from .capture import CsvlogCapture
from .report import LogReport

__all__ = ["CsvlogCapture", "LogReport"]
