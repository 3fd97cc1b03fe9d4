"""The sample database: what is in it, that it is the same each time, and that there is never half of one."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pgkeep.errors import ConfigError, Unavailable
from pgkeep.sandbox.sample import create_sample

MAKE = """
import sys
from pgkeep.sandbox.sample import create_sample
create_sample(sys.argv[1], dbname="killed", size=200_000_000, seed=1, report=print)
"""


@pytest.fixture
def server(sandbox: Mapping[str, str]) -> Iterator[str]:
    """The source server's address; the databases that a test makes there are dropped."""
    address = psycopg.conninfo.make_conninfo(sandbox["PGKEEP_SOURCE_URL"], passfile=sandbox["PGPASSFILE"])
    before = databases(address)
    yield address
    with psycopg.connect(address, dbname="postgres", autocommit=True) as connection:
        for name in databases(address) - before:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def databases(address: str) -> set[str]:
    with psycopg.connect(address, dbname="postgres") as connection:
        return {str(row[0]) for row in connection.execute("SELECT datname FROM pg_database")}


def fingerprint(address: str, dbname: str) -> dict[str, object]:
    query = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {} AS t"
    tables = ("legal_officer", "protection_request", "loc", "loc_file", "loc_event", "session", "seal", "open_loc")
    with psycopg.connect(address, dbname=dbname) as connection:
        found: dict[str, object] = {
            table: connection.execute(sql.SQL(query).format(sql.Identifier(table))).fetchone() for table in tables
        }
        objects = connection.execute(
            "SELECT loid, sum(hashtextextended(data::text, pageno)) FROM pg_largeobject GROUP BY 1"
        )
        sequences = connection.execute("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")
        return found | {"objects": sorted(objects.fetchall()), "sequences": sequences.fetchall()}


def make(address: str, dbname: str, *, size: int = 2_000_000, seed: int = 1) -> int:
    return create_sample(address, dbname=dbname, size=size, seed=seed, report=lambda _: None).rows


def test_the_same_seed_gives_the_same_database(server: str) -> None:
    for name, seed in (("one", 1), ('t"wo', 1), ("three", 2)):
        make(server, name, seed=seed)
    assert fingerprint(server, "one") == fingerprint(server, 't"wo')
    assert fingerprint(server, "one") != fingerprint(server, "three")


def test_it_has_what_a_dump_must_carry(server: str) -> None:
    made = create_sample(server, dbname="rich", size=2_000_000, seed=1, report=lambda _: None)
    assert made.bytes > 2_000_000
    with psycopg.connect(server, dbname="rich") as connection:
        kinds = connection.execute("SELECT contype::text, count(*) FROM pg_constraint GROUP BY 1").fetchall()
        assert {kind for kind, _ in kinds} >= {"p", "f", "u", "c"}
        assert connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (3,)
        relations = connection.execute("SELECT DISTINCT relkind::text FROM pg_class WHERE relnamespace = 2200")
        assert {row[0] for row in relations} == {"r", "i", "S", "v"}
        assert connection.execute("SELECT count(*) FROM pg_type WHERE typtype = 'e'").fetchone() == (3,)
        rows = connection.execute("INSERT INTO loc_event (loc, at, payload) SELECT id, now(), '{}' FROM loc").rowcount
        assert rows > 0
        connection.execute(
            "INSERT INTO protection_request SELECT max(id) + 1, 'x', max(legal_officer), 'PENDING', now(), '{}'"
            " FROM protection_request"
        )


def test_the_size_is_about_what_was_asked(server: str) -> None:
    for size in (1_000_000, 10_000_000):
        made = create_sample(server, dbname=f"size{size}", size=size, seed=1, report=lambda _: None)
        assert size <= made.bytes - 8_000_000 <= 1.5 * size


def test_what_is_there_is_not_touched(server: str) -> None:
    make(server, "there")
    before = fingerprint(server, "there")
    with pytest.raises(ConfigError, match="exists already"):
        make(server, "there", seed=2)
    assert fingerprint(server, "there") == before


def test_an_interrupted_one_can_be_repeated(server: str) -> None:
    with subprocess.Popen([sys.executable, "-c", MAKE, server], stdout=subprocess.DEVNULL) as process:
        while "killed" not in databases(server):
            time.sleep(0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    make(server, "killed")
    assert fingerprint(server, "killed") == (make(server, "whole"), fingerprint(server, "whole"))[1]


def test_without_a_sandbox_the_command_takes_the_environments_server(
    server: str, sandbox: Mapping[str, str], tmp_path: Path
) -> None:
    arguments = ["sandbox", "sample", "here", "--size", "1MB", "--home", str(tmp_path / "none")]
    subprocess.run([Path(sys.executable).with_name("pgkeep"), *arguments], env=sandbox, check=True)
    assert "here" in databases(server)


def test_a_server_that_is_not_there(server: str) -> None:
    with pytest.raises(Unavailable, match="was not made"):
        make("host=127.0.0.1 port=1 user=nobody", "nowhere")
