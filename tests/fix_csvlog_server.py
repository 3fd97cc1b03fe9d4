"""Servers of every major version that write CSV logs, and the directories that they write them to."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from fix_majors import MAJORS, Machine, machine
from fix_postgres import Database, eventually, literal, quoted
from pgkeep.adapters.postgres import Server

ALWAYS = {"logging_collector": "on", "log_destination": "csvlog", "log_directory": "log", "log_file_mode": "0640"}
RECOMMENDED = {
    "log_statement": "all",
    "log_duration": "on",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "-1",
}


@dataclass(frozen=True, kw_only=True)
class LoggingServer:
    """A server of its own that logs as `RECOMMENDED`, unless it was told to do it in another way."""

    machine: Machine

    @property
    def server(self) -> Server:
        return self.machine.server

    @property
    def directory(self) -> Path:
        """Where the logs are; `*.csv` are in it, and a `*.log` with what does not go into them."""
        return self.machine.data / "log"

    def configure(self, settings: Mapping[str, str] = RECOMMENDED) -> None:
        """Changes settings that need no restart, and returns when every new session has them. Empty: the default."""
        maintenance = Database(server=self.server, name="postgres")
        for name, value in settings.items():
            maintenance.run(f"ALTER SYSTEM SET {quoted(name)} = {literal(value)}")
        maintenance.run("SELECT pg_reload_conf()")
        assert eventually(lambda: self._has(maintenance, settings)), settings

    def _has(self, maintenance: Database, settings: Mapping[str, str]) -> bool:
        with maintenance.session() as session:
            return all(
                session.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchall() == [(value,)]
                for name, value in settings.items()
            )

    def rotate(self) -> None:
        """Begins a new file, and returns when it is the current one. File names have seconds: it may take one."""
        maintenance = Database(server=self.server, name="postgres")
        before = self.current()
        time.sleep(1.1)
        maintenance.run("SELECT pg_rotate_logfile()")
        assert eventually(lambda: self.current() != before), before

    def current(self) -> Path:
        """The file that is being written."""
        ((name,),) = Database(server=self.server, name="postgres").ask("SELECT pg_current_logfile('csvlog')")
        return self.machine.data / str(name)

    def files(self) -> list[Path]:
        """Of all logs so far, the oldest first (their names have the time in them)."""
        return sorted(self.directory.glob("*.csv"))

    def connect(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(conninfo.make_conninfo("", **self.server.parameters(name)), autocommit=True)


@contextmanager
def logging_server(major: int, *, home: Path, settings: Mapping[str, str] = RECOMMENDED) -> Iterator[LoggingServer]:
    """A server of that major version that writes CSV logs; nothing of it stays. `home`: for its records."""
    with machine(major, home=home) as found:
        maintenance = Database(server=found.server, name="postgres")
        maintenance.run(*(f"ALTER SYSTEM SET {name} = {literal(value)}" for name, value in ALWAYS.items()))
        found.stop()
        found.start()
        this = LoggingServer(machine=found)
        this.configure(settings)
        yield this


@pytest.fixture(scope="session")
def logging_server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], LoggingServer]]:
    """Gives the logging server of a major version, started at first use and stopped at the end of the session.

    A test that changes its settings says all of `RECOMMENDED` again before it: `configure()`.
    """
    with ExitStack() as stack:
        running_ones = dict[int, LoggingServer]()

        def give(major: int) -> LoggingServer:
            if major not in running_ones:
                home = tmp_path_factory.mktemp(f"logging-{major}")
                running_ones[major] = stack.enter_context(logging_server(major, home=home))
            return running_ones[major]

        yield give


@pytest.fixture(params=MAJORS, scope="module")
def logging(request: pytest.FixtureRequest, logging_server_of: Callable[[int], LoggingServer]) -> LoggingServer:
    """A logging server of every major version."""
    return logging_server_of(request.param)
