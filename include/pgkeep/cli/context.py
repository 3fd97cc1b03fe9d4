"""What every command starts from: the environment's settings and connections, and somebody to tell about progress."""

import argparse
import contextlib
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


def given(text: str) -> str:
    """A command line's name or address. Raises ArgumentTypeError: the empty text, as of a variable that is not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError(
            "is empty, perhaps for a variable that is not set. Next: write what it stands for"
        )
    return text


def seconds(text: str) -> float:
    """A command line's number of seconds. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if 0 <= (found := float(text)) < 1e9:
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 up. Next: write one, as 600")


def share(text: str) -> float:
    """A command line's part of a whole. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if 0 < (found := float(text)) <= 1:
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, up to 1. Next: write one, as 0.1 for a tenth")


def moment(text: str) -> Instant:
    """A command line's moment: ISO 8601 with its time zone. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if (found := datetime.fromisoformat(text)).tzinfo is not None:
            return instant(found)
    raise argparse.ArgumentTypeError(
        f"{text!r} is no moment with its time zone. Next: write it as 2026-01-31T14:05:00Z, or with +01:00 for Z"
    )
