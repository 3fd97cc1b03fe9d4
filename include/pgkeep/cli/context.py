"""What every command starts from: the environment's settings and connections, and somebody to tell about progress."""

import argparse
import logging
import os
import sys
from datetime import datetime
from typing import TypeAlias

from pgkeep import progress, settings
from pgkeep.model import Instant, instant
from pgkeep.ports import Watch

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def loaded_settings() -> settings.Settings:
    """The file that PGKEEP_CONFIG names."""
    return settings.load(os.environ.get(settings.VARIABLE))


def connections() -> settings.Connections:
    """The connections in AIRFLOW_CONN_<ID>."""
    return settings.from_environment(os.environ)


def watch() -> Watch:
    """A moving line on a terminal, a log line now and then elsewhere."""
    return progress.terminal(sys.stderr) if sys.stderr.isatty() else progress.log_lines(logging.getLogger("pgkeep"))


def seconds(text: str) -> float:
    """A command line's number of seconds. Raises ValueError, as argparse wants it."""
    found = float(text)
    if not 0 <= found < 1e9:
        raise ValueError("a number of seconds from 0 up")
    return found


def moment(text: str) -> Instant:
    """A command line's moment: ISO 8601 with its time zone. Raises ValueError, as argparse wants it."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a moment with its time zone: 2026-01-31T14:05:00Z")
    return instant(found)
