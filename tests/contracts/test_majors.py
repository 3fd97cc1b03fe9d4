"""Every major version of PostgreSQL that pgkeep keeps: real servers, from 13 to 18."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from fix_majors import MAJORS, NEWEST, OLDEST, running
from fix_postgres import SAMPLE, Database, new_database, new_role, no_database
from pgkeep.adapters.postgres import Server
from pgkeep.adapters.postgres.programs import find_tools
from pgkeep.errors import ConfigError
from pgkeep.inventory import Inventory, differences
from pgkeep.sandbox import tcp_ports
from pgkeep.sandbox.processes import process_table

RICH = """
    CREATE TABLE part (id int, t text) PARTITION BY RANGE (id);
    CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (9);
    INSERT INTO part VALUES (1, 'one');
    CREATE TABLE types (f float8, n numeric, iv interval, ts timestamptz, b bytea, j jsonb, a int[], r int4range);
    INSERT INTO types SELECT random(), 1.00, '1 day 2 hours', now(), '\\x00ff', '{"b":1}', '{1,NULL}', '[1,5)'
        FROM generate_series(1, 50);
    SELECT lo_from_bytea(4711, repeat('large ', 10000)::bytea), lo_create(4712), lo_from_bytea(4713, '\\x00000100'),
           lo_put(lo_create(4714), 9000, 'after a hole');
"""


def major_of(server: Server) -> int:
    ((number,),) = Database(server=server, name="postgres").ask("SELECT current_setting('server_version_num')::int")
    return int(str(number)) // 10_000


def captured(source: Database) -> tuple[bytes, Inventory]:
    with source.source().snapshot() as snapshot:
        return b"".join(snapshot.dump()), snapshot.inventory()


def bring_back(place: Database, dump: bytes, inventory: Inventory) -> Inventory:
    with place.target().fresh(inventory) as fresh:
        fresh.load([dump])
        restored = fresh.inventory(inventory)
        fresh.take_place(replace=False)
    return restored


@pytest.mark.parametrize("major", MAJORS)
def test_a_server_is_of_the_version_that_was_asked_for(major: int, server_of: Callable[[int], Server]) -> None:
    assert major_of(server_of(major)) == major


def test_changes_can_be_decoded_by_sql(any_major: Server) -> None:
    with new_database(any_major, made=SAMPLE) as database:
        assert database.ask("SELECT current_setting('wal_level')") == [("logical",)]
        database.run("CREATE PUBLICATION everything FOR ALL TABLES")
        database.ask("SELECT pg_create_logical_replication_slot('tried', 'pgoutput')")
        try:
            database.run("INSERT INTO document (name) VALUES ('a change')")
            peek = "pg_logical_slot_peek_binary_changes('tried', NULL, NULL, 'proto_version', '1', 'publication_names',"
            (begin, *_, change, commit) = database.ask(f"SELECT get_byte(data, 0) FROM {peek} 'everything')")
            assert [begin, change, commit] == [(ord("B"),), (ord("I"),), (ord("C"),)]
        finally:
            database.ask("SELECT pg_drop_replication_slot('tried')")


def test_a_database_comes_back_on_its_own_version(any_major: Server) -> None:
    with new_database(any_major, made=SAMPLE + RICH) as source, no_database(any_major) as place:
        dump, inventory = captured(source)
        assert find_tools(major_of(any_major)).major >= inventory.server_version // 10_000 == major_of(any_major)
        assert differences(source=inventory, restored=bring_back(place, dump, inventory)) == ()
        assert captured(place)[1].totals == inventory.totals


def test_a_database_comes_back_on_the_newest_version(any_major: Server, server_of: Callable[[int], Server]) -> None:
    with new_database(any_major, made=SAMPLE + RICH) as source, no_database(server_of(NEWEST)) as place:
        dump, inventory = captured(source)
        assert differences(source=inventory, restored=bring_back(place, dump, inventory)) == ()


def test_an_older_version_is_no_target(server_of: Callable[[int], Server]) -> None:
    with new_database(server_of(NEWEST), made=SAMPLE) as source, no_database(server_of(OLDEST)) as place:
        inventory = captured(source)[1]
        with pytest.raises(ConfigError, match=f"is PostgreSQL {OLDEST}"), place.target().fresh(inventory):
            pass


def test_what_a_role_is_told_to_be_granted_is_enough(any_major: Server) -> None:
    with new_database(any_major, made=SAMPLE) as database:
        database.run(
            'CREATE SCHEMA "odd Room"; CREATE TABLE "odd Room".hidden (id serial)',
            'ALTER TABLE "odd Room".hidden ENABLE ROW LEVEL SECURITY',
            "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        )
        with new_role(database) as role:
            seen = database.seen_by(role)
            with pytest.raises(ConfigError) as caught, seen.source().snapshot():
                pass
            database.run(caught.value.next_step.removeprefix("as a superuser: "))
            ours, theirs = captured(database)[1], captured(seen)[1]
            assert (ours.tables, ours.sequences) == (theirs.tables, theirs.sequences)


@pytest.mark.parametrize("major", [OLDEST, NEWEST])
def test_nothing_of_a_server_stays(major: int, tmp_path: Path) -> None:
    with running(major, home=tmp_path) as server:
        ((data,),) = Database(server=server, name="postgres").ask("SELECT current_setting('data_directory')")
        assert [found for found in process_table() if found.directory == data] != []
    assert [found for found in process_table() if found.directory == data] == []
    assert not Path(str(data)).parent.exists()
    assert tcp_ports.is_free(server.port)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host=server.host, port=server.port, connect_timeout=5)
