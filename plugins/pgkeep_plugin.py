"""Registers pgkeep's page where the package is on the path but not installed (an installed one registers itself)."""

from importlib.metadata import entry_points

if not any(point.value.startswith("pgkeep.") for point in entry_points(group="airflow.plugins")):
    from pgkeep.airflow.plugin import PgkeepPlugin as PgkeepPlugin
