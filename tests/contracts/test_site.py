"""A site over a real database, and a vault in memory: full backups that need none of what collects changes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from fix_csvlog_server import LoggingServer
from fix_majors import NEWEST, OLDEST
from fix_postgres import Database, new_database, new_role, quoted
from pgkeep import backup, preflight, settings
from pgkeep.adapters.postgres import CsvlogCapture, LogicalCapture, Server
from pgkeep.errors import LogUnavailable
from pgkeep.journal_store import JournalStore
from pgkeep.meter import unwatched
from pgkeep.model import Entry, Origin
from pgkeep.site import Site
from pgkeep.testing import MemorySealer, MemoryVault

ORIGIN = Origin(host="node-1", by="test")
MADE = "CREATE TABLE kept (id int PRIMARY KEY); CREATE TABLE whole (x int); INSERT INTO kept VALUES (1)"
SLOT = "SELECT 1 FROM pg_replication_slots WHERE slot_name = '{}'"
LEFT = """
    SELECT nspname FROM pg_namespace WHERE nspname = '_pgkeep' UNION ALL SELECT pubname FROM pg_publication
    UNION ALL SELECT evtname FROM pg_event_trigger UNION ALL SELECT relname FROM pg_class WHERE relreplident = 'f'
"""


class World:
    """The ways to keep the changes of one database, one after the other, with one journal."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.slot = f"slot_{database.name}"
        self.vault, self.sealer = MemoryVault(), MemorySealer()
        self.journals = JournalStore(database="it", vault=self.vault, sealer=self.sealer, copies=3, patience=0.0)
        self.journals.begin()

    def site(self, capture: LogicalCapture | CsvlogCapture | None, way: str) -> Site:
        return Site(
            database=settings.Database(name="it", connection="source", dbname=self.database.name, capture=way),
            copies=3,
            replication_seconds=60.0,
            vault=cast(Any, self.vault),
            sealer=cast(Any, self.sealer),
            source=self.database.source(),
            capture=capture,
            slot=self.slot,
            journals=self.journals,
        )

    def none(self) -> Site:
        return self.site(None, "none")

    def logical(self) -> Site:
        source = self.database.source()
        full = ["public.whole"]
        capture = LogicalCapture(source=source, slot=self.slot, measured=1 << 20, kept=1 << 30, full_identity=full)
        return self.site(capture, "logical")

    def csvlog(self, directory: Path | None = None) -> Site:
        source = self.database.source()
        return self.site(CsvlogCapture(source=source, measured=1 << 20, directory=directory, patience=0.5), "csvlog")

    def kinds(self) -> list[str]:
        return [entry.backup.kind for entry in self.journals.head().journal.entries]

    def slots(self) -> list[tuple[object, ...]]:
        return self.database.ask(SLOT.format(self.slot))


def full(site: Site) -> Entry:
    stored = site.full(origin=ORIGIN, patience=0.0, watch=unwatched)
    sealed = backup.check(stored, site.sealer, site.vault)
    replicated = backup.replicate(sealed, site.vault, copies=3, patience=0.0)
    return site.record(replicated, origin=ORIGIN, patience=0.0, watch=unwatched)


def warned(site: Site) -> list[str]:
    return [str(finding) for finding in preflight.database(site) if finding.next_step]


@pytest.mark.parametrize("major", [OLDEST, NEWEST])
def test_full_backups_only_leave_no_slot_behind(major: int, server_of: Callable[[int], Server]) -> None:
    with new_database(server_of(major), made=MADE) as database:
        world = World(database)
        full(world.logical())
        assert world.slots()
        assert database.ask(LEFT)
        assert any("max_slot_wal_keep_size is unlimited" in line for line in warned(world.logical()))
        said = "\n".join(warned(world.none()))
        assert f"of WAL, and ever more, for the replication slot {world.slot}" in said
        assert "publication and event triggers are still in it" in said
        world.none().full(origin=ORIGIN, patience=0.0, watch=unwatched)
        assert world.slots(), "not before the journal names the backup"
        full(world.none())
        assert not world.slots()
        assert not database.ask(LEFT)
        assert not [line for line in warned(world.none()) if "slot" in line or "publication" in line]


def test_remove_needs_no_way_of_collecting(server_of: Callable[[int], Server]) -> None:
    with new_database(server_of(NEWEST), made=MADE) as database:
        world = World(database)
        full(world.logical())
        world.none().take_away()
        assert not world.slots()
        assert not database.ask(LEFT)
        world.none().take_away()


def test_a_role_that_may_not_tidy_up_makes_its_backup(
    server_of: Callable[[int], Server], caplog: pytest.LogCaptureFixture
) -> None:
    with new_database(server_of(NEWEST), made=MADE) as database, new_role(database) as role:
        world = World(database)
        full(world.logical())
        database.run(f"GRANT pg_read_all_data TO {quoted(role.name)}")
        world.database = database.seen_by(role)
        full(world.none())
        assert "pgkeep remove NAME" in caplog.text
        assert len(world.slots()) == 1


def test_from_logical_decoding_to_the_log_nothing_is_left(logging_server_of: Callable[[int], LoggingServer]) -> None:
    logging = logging_server_of(NEWEST)
    logging.configure()
    with new_database(logging.server, made=MADE) as database:
        world = World(database)
        world.logical().require_capture().install()
        database.run(f"SELECT pg_create_physical_replication_slot('{world.slot}', true)")
        full(world.csvlog())
        assert not world.slots()
        assert not database.ask(LEFT)
        assert any("scratch" in line for line in warned(world.csvlog()))


def test_without_its_log_a_full_backup_stands_by_itself(
    logging_server_of: Callable[[int], LoggingServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The mount is gone; it is empty; or what the server writes does not come there, as with a full disk."""
    logging = logging_server_of(NEWEST)
    logging.configure()
    with new_database(logging.server, made=MADE) as database:
        world = World(database)
        full(world.csvlog(logging.directory))
        empty, stale = tmp_path / "empty", tmp_path / "stale"
        empty.mkdir()
        for directory, why in {tmp_path / "gone": "cannot be read", empty: "is not in", stale: "was not in"}.items():
            if directory == stale:
                shutil.copytree(logging.directory, stale)
            caplog.clear()
            full(world.csvlog(directory))
            assert "stands by itself" in caplog.text
            assert why in caplog.text
            with pytest.raises(LogUnavailable):
                world.csvlog(directory).run(origin=ORIGIN, patience=0.0, watch=unwatched).hourly()
        assert world.kinds() == ["gap", "full", "full", "full", "full"]
        database.run("INSERT INTO kept VALUES (2)")
        full(world.csvlog(logging.directory))
        assert world.kinds()[5:] == ["changes", "full"], "the chain goes on"


def test_a_log_file_that_somebody_has_removed(logging_server_of: Callable[[int], LoggingServer]) -> None:
    logging = logging_server_of(NEWEST)
    logging.configure()
    with new_database(logging.server, made=MADE) as database:
        world = World(database)
        full(world.csvlog())
        logging.current().unlink()
        full(world.csvlog())
        logging.rotate()
        full(world.csvlog())
        assert world.kinds() == ["gap", "full", "full", "gap", "full"]
