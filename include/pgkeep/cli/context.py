"""What every command starts from: the environment's settings and connections, and somebody to tell about progress."""

import argparse
import logging
import os
import sys
from typing import TypeAlias

from pgkeep import progress, settings
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
