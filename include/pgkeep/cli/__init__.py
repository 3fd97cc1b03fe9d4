"""The command line: the other door, for when there is no Airflow."""

from pgkeep.cli.main import main

__all__ = ["main"]
