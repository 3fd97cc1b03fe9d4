"""Real servers for the tests that need them: one sandbox for all, started at first use, stopped at the end.

Where it cannot start, the tests fail: a missing service is never a reason to skip.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pgkeep import sandbox as servers

pytest_plugins = ["fix_peers", "fix_installation", "fix_majors", "fix_node", "fix_csvlog_server"]

# How long anything takes says nothing about whether it is right.
settings.register_profile("pgkeep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pgkeep")


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What pgkeep remembers for its user is forgotten with this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def sandbox_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running sandbox of this session."""
    home = tmp_path_factory.mktemp("sandbox")
    servers.up(home, airflow=False, isolated=False, report=print)
    yield home
    servers.remove(home, report=print)


@pytest.fixture
def sandbox(sandbox_home: Path) -> Mapping[str, str]:
    """The environment of a running sandbox, whatever an earlier test has broken in it."""
    servers.up(sandbox_home, airflow=False, isolated=False, report=print)
    return {**os.environ, **servers.environment(sandbox_home)}
