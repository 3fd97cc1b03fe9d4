"""What the tests of this room share. Their Airflow has a home of its own."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from in_airflow.home import NOBODY, SITE, directory
from in_airflow.world import World
from pgkeep.site import Site

if TYPE_CHECKING:
    from fastapi import FastAPI

# Airflow's own, none of them about what is tested here.
FOREIGN_WARNINGS = (
    "Using `httpx` with `starlette.testclient` is deprecated",
    "GitWildMatchPattern .* is deprecated",
)


def pytest_configure(config: pytest.Config) -> None:
    for message in FOREIGN_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}")
        warnings.filterwarnings("ignore", message=message)  # for what is imported while tests are collected


def pytest_unconfigure() -> None:
    directory.cleanup()


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's own tables."""
    from airflow.utils import db

    db.initdb()


@pytest.fixture(scope="session")
def server(airflow_database: None) -> "Iterator[FastAPI]":
    """Airflow's api-server with all plugins."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    yield create_app()
    purge_cached_app()


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a `pgkeep.toml` with these databases, and the connections it names, where nobody listens."""

    def write(*databases: str) -> Path:
        path = tmp_path / "pgkeep.toml"
        lines = [SITE, *(f"[databases.{json.dumps(name)}]" for name in databases)]
        path.write_text("\n".join(lines), encoding="utf-8")
        for name, value in {"PGKEEP_CONFIG": str(path), **NOBODY}.items():
            monkeypatch.setenv(name, value)
        return path

    return write


@pytest.fixture
def keep(
    sandbox: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, airflow_database: None
) -> Iterator[Callable[..., Site]]:
    """Makes a database that pgkeep knows; with `changes=True`, one whose changes are kept."""
    from in_airflow.dags import Kept

    for name, value in sandbox.items():
        monkeypatch.setenv(name, value)
    kept = Kept(sandbox)
    yield kept.make
    kept.release_servers()


@pytest.fixture
def world() -> World:
    return World()
