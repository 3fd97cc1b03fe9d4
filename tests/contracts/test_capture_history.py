"""A source whose past is not the one that the journal knows: restored from a copy, or a standby that was promoted."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.test_capture import backup_of, numbers_in
from fix_majors import Machine, machine
from fix_postgres import Database, new_database
from pgkeep.adapters.postgres import LogicalCapture
from pgkeep.model import Backup
from pgkeep.ports import Inexact

MADE = "CREATE TABLE kept (number int PRIMARY KEY)"


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Machine]:
    with machine(15, home=tmp_path) as found:
        yield found


def capture_of(database: Database) -> LogicalCapture:
    return LogicalCapture(source=database.source(), slot="pgkeep_history", measured=1, kept=1 << 30)


def begun(database: Database) -> Backup:
    with capture_of(database).begin(None) as window:
        return backup_of(window, window.link(gap="the first"))


def carried(database: Database, last: Backup) -> tuple[Backup, list[int]]:
    with capture_of(database).window(last) as window:
        numbers = numbers_in(b"".join(window.changes()))
        return backup_of(window, window.link(gap=None), after=last), numbers


def copy(machine: Machine, target: Path) -> None:
    """A cold copy of the data, its owners kept."""
    subprocess.run(["cp", "-a", str(machine.data), str(target)], check=True)


def test_a_crash_loses_and_repeats_nothing(primary: Machine) -> None:
    with new_database(primary.server, made=MADE) as database:
        last = begun(database)
        for turn in range(3):
            database.run(f"INSERT INTO kept VALUES ({1_000_001 + turn})")
            pid = int((primary.data / "postmaster.pid").read_text().split()[0])
            subprocess.run(["kill", "-QUIT", str(pid)], check=True)  # an immediate stop: no checkpoint
            primary.stop()
            primary.start()
            assert capture_of(database).broken(last) is None
            last, numbers = carried(database, last)
            assert numbers == [1_000_001 + turn]


def test_a_source_that_was_restored_from_a_copy_is_noticed(primary: Machine) -> None:
    with new_database(primary.server, made=MADE) as database:
        first = begun(database)
        primary.stop()
        old = primary.data.with_name("copy")
        copy(primary, old)
        primary.start()
        database.run("INSERT INTO kept VALUES (1000001)")
        last, numbers = carried(database, first)
        assert numbers == [1_000_001]
        primary.stop()
        shutil.rmtree(primary.data)
        old.rename(primary.data)
        primary.start()
        assert "went back in time" in (capture_of(database).broken(last) or "")
        # With some work done its numbers are beyond the journal's again; but not its history.
        database.run("INSERT INTO kept SELECT 2000000 + i FROM generate_series(1, 20000) i")
        assert capture_of(database).broken(last) is None
        with pytest.raises(Inexact, match="restored from a copy"):
            carried(database, last)


def test_a_promoted_standby_is_noticed(primary: Machine, tmp_path: Path) -> None:
    with new_database(primary.server, made=MADE) as database:
        last = begun(database)
        database.run("INSERT INTO kept VALUES (1000001)")
        # A standby that takes the primary's place: its data is a copy, and it was promoted to a timeline of its own.
        primary.stop()
        signal = primary.data / "standby.signal"
        signal.touch()
        shutil.copystat(primary.data / "PG_VERSION", signal)
        stat = (primary.data / "PG_VERSION").stat()
        shutil.chown(signal, stat.st_uid, stat.st_gid)
        primary.start()
        Database(server=primary.server, name="postgres").run("SELECT pg_promote()")
        assert "a standby was promoted" in (capture_of(database).broken(last) or "")
        assert capture_of(database).broken(begun(database)) is None
