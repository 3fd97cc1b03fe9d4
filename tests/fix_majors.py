"""PostgreSQL servers of every major version that pgkeep keeps: the machine's, the wheel's, or fetched ones."""

import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from majors import fetch
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.programs import Tools
from pgkeep.errors import ConfigError
from pgkeep.sandbox import postgres_servers, processes, tcp_ports
from pgkeep.sandbox.place import State, make_private_directory
from pgkeep.sandbox.postgres_programs import find_programs

OLDEST, NEWEST = 13, 18
MAJORS = range(OLDEST, NEWEST + 1)


@pytest.fixture(scope="session")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Server]]:
    """Gives the server of a major version, started at first use and stopped at the end of the session."""
    with ExitStack() as stack:
        running_ones = dict[int, Server]()

        def give(major: int) -> Server:
            if major not in running_ones:
                home = tmp_path_factory.mktemp(f"postgres-{major}")
                running_ones[major] = stack.enter_context(running(major, home=home))
            return running_ones[major]

        yield give


@pytest.fixture(params=MAJORS)
def any_major(request: pytest.FixtureRequest, server_of: Callable[[int], Server]) -> Server:
    """A server of every major version, one after the other."""
    return server_of(request.param)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A server of its own, with its data at hand."""

    server: Server
    home: Path
    name: str
    state: State
    owner: postgres_servers.Owner

    @property
    def data(self) -> Path:
        return Path(self.state.postgres_data) / self.name

    def start(self) -> None:
        postgres_servers.start(self.home, self.state, self.name, self.owner)

    def stop(self) -> None:
        described = postgres_servers.server(self.name, self.state, self.owner, logs=self.home / "logs")
        processes.stop(self.home / "run", described)


@contextmanager
def running(major: int, *, home: Path) -> Iterator[Server]:
    """A server as the sandbox starts them, with `home` for its records; nothing of it stays."""
    with machine(major, home=home) as found:
        yield found.server


@contextmanager
def machine(major: int, *, home: Path) -> Iterator[Machine]:
    """As `running`, for tests that stop it, or do something to its data."""
    owner, name = postgres_servers.find_owner(), f"postgres-{major}"
    programs = postgres_servers.reachable_programs(programs_of(major), owner)
    data = postgres_servers.choose_data(home, owner)
    state = State(
        ports=tcp_ports.choose([name], taken=()),
        secrets={name: secrets.token_hex(16)},
        postgres_programs=str(programs.directory),
        postgres_major=major,
        postgres_data=str(data),
    )
    for directory in ("run", "logs"):
        make_private_directory(home / directory)
    port, password = state.ports[name], state.secrets[name]
    server = Server(host="127.0.0.1", port=port, user=postgres_servers.ROLE, password=password)
    found = Machine(server=server, home=home, name=name, state=state, owner=owner)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(data)


def programs_of(major: int) -> Tools:
    """The programs of a server of that version. Without any, a test fails in CI; elsewhere it is skipped, saying so."""
    if tools := fetch.find(major) or _on_the_machine(major):
        return tools
    absent = f"no server of PostgreSQL {major} for {platform.machine()} is here: make majors"
    if os.environ.get("CI") == "true":
        pytest.fail(absent, pytrace=False)
    pytest.skip(absent)


def _on_the_machine(major: int) -> Tools | None:
    try:
        found = find_programs(preferred=major)
    except ConfigError:
        return None
    return found if found.major == major else None
