"""The CSV log of real servers: read whole and in order whatever happens to its files, with few rights."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fix_csvlog_server import RECOMMENDED, LoggingServer
from fix_majors import NEWEST, OLDEST
from fix_postgres import Database, eventually, new_database, new_role, quoted
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.csvlog.log.files import DirectoryLogFiles, LogFiles, SqlLogFiles
from pgkeep.adapters.postgres.csvlog.log.marker import wait_for
from pgkeep.adapters.postgres.csvlog.log.place import end_of_log
from pgkeep.adapters.postgres.csvlog.log.stretch import Stretch, between, place_at, read_on
from pgkeep.adapters.postgres.csvlog.report import LogReport, report
from pgkeep.errors import ConfigError, Unavailable
from pgkeep.ports import Inexact
from pgkeep.positions import LogPlace
from pgkeep.preflight.csvlog import csvlog

MAJORS = [OLDEST, 15, NEWEST]
WRITERS = 4
BY_DEFAULT = "postgresql-%Y-%m-%d_%H%M%S.log"


@pytest.fixture(params=MAJORS)
def logging(request: pytest.FixtureRequest, logging_server_of: Callable[[int], LoggingServer]) -> LoggingServer:
    server = logging_server_of(request.param)
    server.configure({**RECOMMENDED, "log_filename": BY_DEFAULT, "log_truncate_on_rotation": "off"})
    return server


@pytest.fixture
def database(logging: LoggingServer) -> Iterator[Database]:
    with new_database(logging.server, made="CREATE TABLE t (writer int, number int)") as made:
        yield made


@contextmanager
def sql_files(database: Database) -> Iterator[SqlLogFiles]:
    with database.session() as session:
        yield SqlLogFiles(connection=session, server=database.server)


def mark(database: Database, text: str) -> bytes:
    database.run(f"DO $$BEGIN RAISE LOG 'pgkeep cut {text} 1'; END$$")
    return f"pgkeep cut {text} 1".encode()


def collect(files: LogFiles, since: LogPlace) -> tuple[bytes, LogPlace]:
    stretch = between(files, since=since, until=end_of_log(files))
    return b"".join(read_on(files, stretch)), stretch.until


def rotate_at_once(logging: LoggingServer) -> None:
    Database(server=logging.server, name="postgres").run("SELECT pg_rotate_logfile()")


# --- reading -----------------------------------------------------------------------------------


def test_both_ways_give_the_same_bytes(logging: LoggingServer, database: Database) -> None:
    with sql_files(database) as by_sql:
        by_directory = DirectoryLogFiles(path=logging.directory, asked=asking(database))
        since = end_of_log(by_sql)
        for number in range(3):
            database.run(f"INSERT INTO t VALUES (0, {number})")
            logging.rotate()
        until = wait_for(by_sql, mark(database, "same"), since, patience=30)
        one, other = (between(files, since=since, until=until) for files in (by_sql, by_directory))
        assert one.segments == other.segments
        assert len(one.segments) == 4
        assert b"".join(read_on(by_sql, one)) == b"".join(read_on(by_directory, other))
        assert by_sql.current() == by_directory.current() == logging.current().name
        asked = DirectoryLogFiles(path=logging.directory, asked=asking(database))
        assert end_of_log(asked).file == logging.current().name


def write(database: Database, writer: int, stopped: threading.Event, written: list[int]) -> None:
    with database.session() as session:
        while not stopped.is_set():
            written[writer] += 1
            session.execute(f"INSERT INTO t VALUES ({writer}, {written[writer]}) -- {'x' * (written[writer] % 999)}\n")


@contextmanager
def writers(database: Database) -> Iterator[list[int]]:
    """Yields how much each of them has written, so far."""
    stopped, written = threading.Event(), [0] * WRITERS
    threads = [threading.Thread(target=write, args=(database, i, stopped, written)) for i in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("way", ["sql", "directory"])
def test_every_byte_once_while_four_write(logging: LoggingServer, database: Database, way: str) -> None:
    with sql_files(database) as by_sql:
        files: LogFiles = by_sql if way == "sql" else DirectoryLogFiles(path=logging.directory, asked=asking(database))
        first = place = end_of_log(files)
        pieces = []
        with writers(database) as written:
            for number in range(6):
                rotate_at_once(logging)
                rotate_at_once(logging)
                if number % 3 == 0:
                    logging.rotate()
                content, place = collect(files, place)
                pieces.append(content)
        until = wait_for(files, mark(database, "end"), place, patience=30)
        pieces.extend(read_on(files, between(files, since=place, until=until)))
        require_all(logging, first, until, b"".join(pieces), written)


def require_all(logging: LoggingServer, first: LogPlace, until: LogPlace, found: bytes, written: list[int]) -> None:
    """What was read is what is in the files, in the order of their names, which have the time in them."""
    paths = [path for path in logging.files() if first.file <= path.name <= until.file]
    assert len(paths) > 2
    parts = {path.name: path.read_bytes() for path in paths}
    parts[until.file] = parts[until.file][: until.offset]
    assert found == b"".join(parts.values())[first.offset :]
    inserted = re.findall(rb'"statement: INSERT INTO t VALUES \((\d+), (\d+)\)', found)
    assert sorted((int(i), int(n)) for i, n in inserted) == [
        (i, n) for i in range(WRITERS) for n in range(1, written[i] + 1)
    ]


def test_a_marker_parts_the_log(database: Database) -> None:
    with sql_files(database) as files:
        since = end_of_log(files)
        database.run("INSERT INTO t VALUES (1, 1)")
        until = wait_for(files, mark(database, "parts"), since, patience=30)
        database.run("INSERT INTO t VALUES (2, 2)")
        later = wait_for(files, mark(database, "later"), until, patience=30)
        before = b"".join(read_on(files, between(files, since=since, until=until)))
        after = b"".join(read_on(files, between(files, since=until, until=later)))
        assert (before.count(b"(1, 1)"), before.count(b"(2, 2)")) == (1, 0)
        assert (after.count(b"(1, 1)"), after.count(b"(2, 2)")) == (0, 1)
        assert before.splitlines()[-1].count(b'"pgkeep cut parts 1"') == 1
        with pytest.raises(Unavailable, match="was not in the server's CSV log"):
            wait_for(files, b"never", later, patience=0.3)


def test_a_place_within_files_that_were_left(logging: LoggingServer, database: Database) -> None:
    with sql_files(database) as files:
        since = end_of_log(files)
        logging.rotate()
        logging.rotate()
        stretch = between(files, since=since, until=end_of_log(files))
        content = b"".join(read_on(files, stretch))
        for offset in (0, stretch.segments[1].place, stretch.segments[1].place + 10, len(content)):
            assert rest(files, stretch, offset).startswith(content[offset:])


def asking(database: Database) -> Callable[[], str | None]:
    """Which file is written, asked anew each time: the server may have been started again."""

    def asked() -> str | None:
        with sql_files(database) as by_sql:
            return by_sql.current()

    return asked


def rest(files: LogFiles, stretch: Stretch, offset: int) -> bytes:
    return collect(files, place_at(files, stretch, offset))[0]


def test_a_server_that_is_started_again(logging: LoggingServer, database: Database) -> None:
    files = DirectoryLogFiles(path=logging.directory, asked=asking(database))
    since = end_of_log(files)
    database.run("INSERT INTO t VALUES (7, 1)")
    logging.machine.stop()
    logging.machine.start()
    database.run("INSERT INTO t VALUES (7, 2)")
    until = wait_for(files, mark(database, "again"), since, patience=30)
    content = b"".join(read_on(files, between(files, since=since, until=until)))
    assert re.findall(rb"VALUES \(7, (\d)\)", content) == [b"1", b"2"]


# --- files that something happens to -----------------------------------------------------------


def test_files_that_are_removed_cut_off_or_written_anew(logging: LoggingServer, database: Database) -> None:
    with sql_files(database) as files:
        for what, reason in (("removed", "was removed"), ("cut off", "is not the one"), ("anew", "is not the one")):
            place = end_of_log(files)
            path = logging.directory / place.file
            logging.rotate()
            if what == "removed":
                path.unlink()
            else:
                os.truncate(path, 0 if what == "anew" else place.offset - 1)
            with pytest.raises(Inexact, match=reason):
                collect(files, place)


def test_a_log_that_is_emptied_while_it_is_written(logging: LoggingServer, database: Database) -> None:
    """As logrotate's copytruncate does it."""
    with sql_files(database) as files:
        place = end_of_log(files)
        os.truncate(logging.directory / place.file, 0)
        database.run(*(f"INSERT INTO t VALUES (9, {number})" for number in range(200)))
        with pytest.raises(Inexact, match=r"is not the one|was removed|cut off"):
            collect(files, place)


def test_the_current_log_is_removed(logging: LoggingServer, database: Database) -> None:
    with sql_files(database) as files:
        logging.current().unlink()
        with pytest.raises(Unavailable, match="pg_rotate_logfile"):
            end_of_log(files)
    logging.rotate()


def change_file(logging: LoggingServer, name: str) -> None:
    logging.configure({"log_filename": f"{name}.log"})
    assert eventually(lambda: logging.current().name == f"{name}.csv")


def test_a_name_that_comes_again_and_is_written_on(logging: LoggingServer, database: Database) -> None:
    with sql_files(database) as files:
        since = end_of_log(files)
        for number, name in enumerate(["one", "two", "one", "two"]):
            change_file(logging, name)
            database.run(f"INSERT INTO t VALUES (8, {number})")
            until = wait_for(files, mark(database, f"name {number}"), since, patience=30)
            content = b"".join(read_on(files, between(files, since=since, until=until)))
            assert re.findall(rb"VALUES \(8, (\d)\)", content) == [str(number).encode()]
            since = until
        for name in ("one", "two"):
            change_file(logging, name)
            database.run("INSERT INTO t VALUES (8, 9)")
        with pytest.raises(Inexact, match="names come again"):
            collect(files, since)


# --- rights ------------------------------------------------------------------------------------


def test_a_role_with_few_rights(logging: LoggingServer, database: Database) -> None:
    with new_role(database) as role:
        his = database.seen_by(role)
        with sql_files(his) as files:
            with pytest.raises(ConfigError):
                end_of_log(files)
            lacking = report(files.connection).lacking
            assert len(lacking) == 3
            assert fatal(report(files.connection)) == len(lacking)
            database.run(lacking[0].grant)
            before_17 = logging.machine.state.postgres_major < 17
            assert len(report(files.connection, by_sql=False).lacking) == before_17
            database.run(*(lack.grant for lack in report(files.connection).lacking))
            assert report(files.connection).lacking == ()
            assert fatal(report(files.connection)) == 0
            since = end_of_log(files)
            until = wait_for(files, mark(his, "few rights"), since, patience=30)
            assert until.file == logging.current().name


def fatal(seen: LogReport) -> int:
    return sum(finding.fatal for finding in csvlog(seen, "database it"))


# --- what is logged ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "mode"),
    [
        ({}, "all with durations"),
        ({"log_duration": "off"}, "all"),
        ({"log_duration": "off", "log_min_duration_statement": "0"}, "all with durations"),
        ({"log_statement": "none", "log_min_duration_statement": "0"}, "after success"),
        ({"log_statement": "mod"}, "mod"),
        ({"log_statement": "ddl"}, "nothing useful"),
        ({"log_statement": "none", "log_min_duration_statement": "10ms"}, "nothing useful"),
        ({"log_min_messages": "fatal"}, "nothing useful"),
        ({"log_destination": "stderr"}, "nothing useful"),
    ],
)
def test_modes(logging: LoggingServer, changed: dict[str, str], mode: str) -> None:
    usual = {"log_min_messages": "warning", "log_destination": "csvlog"}
    postgres = Database(server=logging.server, name="postgres")
    digest = seen_in(postgres).settings.digest
    try:
        logging.configure({**RECOMMENDED, **usual, **changed})
        seen = seen_in(postgres)
        assert seen.settings.mode == mode
        assert (seen.settings.digest == digest) == (not changed)
        assert (fatal(seen) > 0) == (mode == "nothing useful")
        assert seen.shows
    finally:
        logging.configure({**RECOMMENDED, **usual})
    assert seen_in(postgres).settings.digest == digest


def seen_in(database: Database) -> LogReport:
    with database.session() as session:
        return report(session)


def test_what_findings_advise_helps(logging: LoggingServer) -> None:
    postgres = Database(server=logging.server, name="postgres")
    logging.configure({"log_statement": "none", "log_destination": "stderr", "log_parameter_max_length": "5B"})
    try:
        for _ in range(3):
            steps = [finding.next_step for finding in csvlog(seen_in(postgres), "it")]
            for step in steps:
                if step.startswith("as a superuser: "):
                    postgres.run(*step.removeprefix("as a superuser: ").split("; "))
            assert eventually(lambda: seen_in(postgres).settings.collected)
        assert seen_in(postgres).settings.mode == "all with durations"
        assert [finding for finding in csvlog(seen_in(postgres), "it") if finding.next_step] == []
        assert seen_in(postgres).settings.values["log_destination"] == "stderr, csvlog"
    finally:
        logging.configure({**RECOMMENDED, "log_destination": "csvlog"})


def test_settings_of_roles_and_databases(logging: LoggingServer, database: Database) -> None:
    before = seen_in(database).settings
    assert (before.own, before.overrides, before.setters) == ((), (), ())
    assert "pgkeep" in before.superusers
    with new_role(database) as role:
        database.run(f"ALTER DATABASE {quoted(database.name)} SET log_statement = 'mod'")
        database.run(f"ALTER ROLE {quoted(role.name)} SET log_duration = off")
        database.run(f"ALTER ROLE {quoted(role.name)} IN DATABASE {quoted(database.name)} SET log_statement = none")
        seen = seen_in(database).settings
        assert seen.mode == "mod"
        assert seen.digest != before.digest
        assert [str(override) for override in seen.of_roles] == [
            f"log_duration = off for role {role.name}",
            f"log_statement = none for role {role.name}",
        ]
        assert len(seen.overrides) == 3
        assert seen_in(database.seen_by(role)).settings.own == ("log_duration", "log_statement")
        if logging.machine.state.postgres_major >= 15:
            database.run(f"GRANT SET ON PARAMETER log_statement TO {quoted(role.name)}")
            assert seen_in(database).settings.setters == (role.name,)
        warned = " ".join(finding.what for finding in csvlog(seen_in(database), "it"))
        assert f"log_statement = none for role {role.name}" in warned


def test_a_server_without_a_collector(server_of: Callable[[int], Server]) -> None:
    for major in MAJORS:
        postgres = Database(server=server_of(major), name="postgres")
        seen = seen_in(postgres)
        assert (seen.settings.mode, seen.files) == ("nothing useful", 0)
        assert fatal(seen) == 2
        with sql_files(postgres) as files, pytest.raises(ConfigError, match="writes no CSV log"):
            end_of_log(files)
