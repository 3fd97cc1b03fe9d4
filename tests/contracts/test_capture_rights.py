"""With how few rights changes are kept, on the oldest, the usual and the newest version: as docs/changes.md says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from contracts.test_capture import backup_of
from fix_installation import install
from fix_majors import NEWEST, OLDEST
from fix_postgres import Database, new_database, new_role, quoted
from pgkeep.adapters.postgres import LogicalCapture, Server
from pgkeep.adapters.postgres.leftovers import take_away
from pgkeep.errors import ConfigError
from pgkeep.model import Backup
from pgkeep.ports import Inexact

MADE = "CREATE TABLE kept (number int PRIMARY KEY, about text); CREATE TABLE without_key (text text)"
MAJORS = [OLDEST, 15, NEWEST]
READS_ALL = "GRANT pg_read_all_data TO {role}"
READS_ALL_13 = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
# Before 14 a message is a row, and nobody can be let read everything at once.
ALSO_13 = "GRANT INSERT, DELETE ON _pgkeep.log TO {role}; GRANT USAGE ON SEQUENCE _pgkeep.log_id_seq TO {role}"
MARK = "GRANT SELECT ON _pgkeep.token TO {role}"


@contextmanager
def kept(database: Database) -> Iterator[tuple[LogicalCapture, Backup]]:
    capture = LogicalCapture(source=database.source(), slot=f"slot_{database.name}", measured=1 << 20, kept=1 << 30)
    with capture.begin(None) as window:
        last = backup_of(window, window.link(gap="the first"))
    try:
        yield capture, last
    finally:
        database.run(f"SELECT pg_drop_replication_slot('slot_{database.name}')")


def carried(capture: LogicalCapture, last: Backup) -> tuple[bytes, Backup]:
    with capture.window(last) as window:
        changes = b"".join(window.changes())
        window.update()
        return changes, backup_of(window, window.link(gap=None), after=last)


@pytest.mark.parametrize("major", MAJORS)
def test_a_keeper_in_a_database_that_its_administrator_has_prepared(
    major: int, server_of: Callable[[int], Server]
) -> None:
    with new_database(server_of(major), made=MADE) as database, new_role(database, "LOGIN REPLICATION") as role:
        install(database)
        grants = [READS_ALL] if major >= 14 else [READS_ALL_13, ALSO_13, MARK]
        database.run(*(grant.format(role=quoted(role.name)) for grant in grants))
        with kept(database.seen_by(role)) as (capture, last):
            database.run("INSERT INTO kept VALUES (1, 'one'); INSERT INTO without_key VALUES ('whole')")
            changes, last = carried(capture, last)
            assert b"'one'" in changes
            assert b"whole" in changes
            database.run("CREATE TABLE later (id int PRIMARY KEY)")
            if major < 14:
                database.run(READS_ALL_13.format(role=quoted(role.name)))
            assert b"CREATE TABLE later" in carried(capture, last)[0]
            with pytest.raises(ConfigError, match="owner"):
                take_away(database.seen_by(role).source(), f"slot_{database.name}")
            assert capture.broken(last) is None, "what it may not remove still works"


def test_large_objects_that_nobody_lets_us_look_into_are_never_said_to_be_the_same(
    server_of: Callable[[int], Server],
) -> None:
    with new_database(server_of(OLDEST), made=MADE) as database, new_role(database, "LOGIN REPLICATION") as role:
        install(database)
        database.run(*(grant.format(role=quoted(role.name)) for grant in (READS_ALL_13, ALSO_13, MARK)))
        ((large,),) = database.ask("SELECT lo_from_bytea(0, 'first')")
        database.run(f"GRANT SELECT ON LARGE OBJECT {large} TO {quoted(role.name)}")
        with kept(database.seen_by(role)) as (capture, last):
            database.run(f"SELECT lo_put({large}, 0, 'other')")
            with pytest.raises(Inexact, match="the role may not see whether they were changed"):
                carried(capture, last)


@pytest.mark.parametrize("major", MAJORS)
def test_an_owner_without_event_triggers(major: int, server_of: Callable[[int], Server]) -> None:
    with new_database(server_of(major), made=MADE) as database, new_role(database, "LOGIN REPLICATION") as role:
        his, name = database.seen_by(role), quoted(role.name)
        database.run(
            f"GRANT CREATE ON DATABASE {quoted(database.name)} TO {name}", f"GRANT CREATE ON SCHEMA public TO {name}"
        )
        database.run(f"ALTER TABLE kept OWNER TO {name}; ALTER TABLE without_key OWNER TO {name}")
        with kept(his) as (capture, last):
            his.run("INSERT INTO kept VALUES (1, 'one'); INSERT INTO without_key VALUES ('whole')")
            changes, last = carried(capture, last)
            assert b"'one'" in changes
            assert b"whole" in changes
            his.run("CREATE TABLE later (id int PRIMARY KEY)")
            with pytest.raises(Inexact, match="without event triggers"):
                carried(capture, last)
