"""Changes are kept through bad days: killed runs, crashed servers, prepared transactions, and sizes that are no fun."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fix_majors import NEWEST, OLDEST, Machine, machine
from fix_node import Node, wait_for
from pgkeep.adapters.postgres.programs import find_tools

MOMENTS = 8
ROWS = 1_000_000
MEGABYTES = 250
"""What a process may take for a transaction of any number of rows."""
TABLES = """
    CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL);
    INSERT INTO account SELECT i, 100 FROM generate_series(1, 20) i;
    CREATE TABLE event (id bigserial PRIMARY KEY, about text, at timestamptz DEFAULT now());
    CREATE TABLE note (text text);
"""
WORK = """
    BEGIN; UPDATE account SET balance = balance - 1 WHERE id = {a};
    UPDATE account SET balance = balance + 1 WHERE id = {b};
    SAVEPOINT s; DELETE FROM account WHERE id = {a}; ROLLBACK TO s;
    INSERT INTO event (about) VALUES ('moved {a}'); COMMIT;
    BEGIN; INSERT INTO event (about) VALUES ('never'); ROLLBACK; INSERT INTO note VALUES ('note {b}');
"""


@dataclass(frozen=True, kw_only=True)
class Rough:
    """A database on a server of its own that may crash."""

    node: Node
    machine: Machine
    name: str

    def crash(self) -> None:
        """As `pg_ctl stop -m immediate`."""
        pid = int((self.machine.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        wait_for(lambda: not (self.machine.data / "postmaster.pid").exists() or not _alive(pid))
        self.machine.stop()
        self.machine.start()

    def psql(self, script: str) -> str:
        return self.node.psql(script, dbname=self.name)

    def same(self, into: str, *options: str) -> None:
        """That state comes back, on the same version: contents, schema, sequences."""
        self.node.pgkeep("restore", self.name, "--into", f"{self.node.environ['PGKEEP_SOURCE_URL']}/{into}", *options)
        assert self.node.measure(into) == self.node.measure(self.name)
        assert self.node.schema(into) == self.node.schema(self.name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(params=[OLDEST, NEWEST])
def rough(request: pytest.FixtureRequest, node: Node, tmp_path: Path) -> Iterator[Rough]:
    with machine(request.param, home=tmp_path) as found:
        own = node.with_source(found.server, tools=find_tools(request.param).directory, passwords=tmp_path / "pgpass")
        own.psql("ALTER SYSTEM SET max_prepared_transactions = 5")
        found.stop()
        found.start()
        name = f"rough_{request.param}_{os.getpid()}"
        own.psql(f"CREATE DATABASE {name}")
        own.psql(TABLES, dbname=name)
        own.pgkeep("init", name)
        yield Rough(node=own, machine=found, name=name)


def test_a_source_that_crashes_at_any_moment(rough: Rough) -> None:
    node, name = rough.node, rough.name
    node.pgkeep("backup", name, "--full")
    rough.psql("BEGIN; INSERT INTO event (about) VALUES ('prepared'); PREPARE TRANSACTION 'kept'")
    rough.psql("BEGIN; INSERT INTO event (about) VALUES ('lost'); PREPARE TRANSACTION 'lost'")
    for moment in range(5):
        rough.psql("".join(WORK.format(a=a, b=21 - a) for a in range(1, 6)))
        backup = node.start("backup", name, *(["--full"] if moment == 3 else []))
        time.sleep(0.4 * moment)
        rough.crash()
        backup.communicate()
        if moment == 2:
            rough.psql("ROLLBACK PREPARED 'lost'")
            rough.psql("CREATE TABLE made (id serial PRIMARY KEY, t text); INSERT INTO made (t) VALUES ('x')")
        node.pgkeep("backup", name)
    rough.psql("COMMIT PREPARED 'kept'; SELECT nextval('event_id_seq')")
    node.pgkeep("backup", name, "--full")
    rough.psql("INSERT INTO made (t) VALUES ('y'); ALTER TABLE made ADD COLUMN more text DEFAULT 'none'")
    node.pgkeep("backup", name)
    entries = node.entries(name)
    assert [entry["backup"]["link"]["gap"] for entry in entries if entry["backup"]["kind"] == "gap"] == [
        "the first backup: changes are kept from here on"
    ]
    rough.same(f"{name}_a")
    first = next(entry["sequence"] for entry in entries if entry["backup"]["kind"] == "full")
    rough.same(f"{name}_b", "--base", str(first))


def test_killed_at_many_moments_and_nothing_is_lost_or_told_twice(node: Node, kept: str) -> None:
    node.psql(TABLES, dbname=kept)
    node.pgkeep("backup", kept, "--full")
    started = time.monotonic()
    node.pgkeep("backup", kept)
    usual = time.monotonic() - started
    for moment in range(MOMENTS):
        node.psql(WORK.format(a=1 + moment, b=20 - moment), dbname=kept)
        backup = node.start("backup", kept)
        time.sleep(usual * moment / MOMENTS)
        backup.kill()
        backup.communicate()
        wait_for(lambda: all(e["copies_now"] == 3 for e in node.entries(kept) if e["backup"]["parts"]))
    node.pgkeep("backup", kept)
    assert [entry["backup"]["kind"] for entry in node.entries(kept)].count("gap") == 1
    node.pgkeep("restore", kept, "--into", node.target(kept))
    assert node.measure(kept, server="SCRATCH") == node.measure(kept)


def test_two_at_once_give_one_chain(node: Node, kept: str) -> None:
    node.psql(TABLES, dbname=kept)
    node.pgkeep("backup", kept, "--full")
    for _ in range(3):
        node.psql(WORK.format(a=3, b=4), dbname=kept)
        both = [node.start("backup", kept), node.start("backup", kept)]
        said = [(run.communicate()[1], run.returncode) for run in both]
        assert {code for _, code in said} <= {0, 4}, said
        assert 0 in {code for _, code in said}, said
    node.pgkeep("backup", kept)
    entries = node.entries(kept)
    cuts = [entry["backup"]["cut"] for entry in entries if entry["backup"]["link"]]
    since = [entry["backup"]["link"]["since"] for entry in entries if entry["backup"]["link"]]
    assert since[1:] == cuts[:-1], "one unbroken chain"
    node.pgkeep("restore", kept, "--into", node.target(kept))
    assert node.measure(kept, server="SCRATCH") == node.measure(kept)


def test_a_transaction_of_a_million_rows_and_a_value_of_100_megabytes(node: Node, kept: str) -> None:
    node.psql(
        "CREATE TABLE large (id int PRIMARY KEY, t text); CREATE TABLE value (id int PRIMARY KEY, b bytea)", dbname=kept
    )
    node.pgkeep("backup", kept, "--full")
    node.psql(f"INSERT INTO large SELECT i, 'row ' || i FROM generate_series(1, {ROWS}) i", dbname=kept)
    assert megabytes(node, "backup", kept) <= MEGABYTES
    node.psql("UPDATE large SET t = upper(t) WHERE id % 10 = 0", dbname=kept)
    node.psql("INSERT INTO value SELECT 1, decode(repeat(md5('x'), 6553600), 'hex')", dbname=kept)
    node.pgkeep("backup", kept)
    assert [entry["backup"]["kind"] for entry in node.entries(kept)] == ["gap", "full", "changes", "changes"]
    node.pgkeep("restore", kept, "--into", node.target(kept))
    assert node.psql("SELECT count(*) FROM large", dbname=kept, server="SCRATCH") == str(ROWS)
    assert node.measure(kept, server="SCRATCH") == node.measure(kept)


def megabytes(node: Node, *arguments: str) -> int:
    """Runs `pgkeep ARGUMENTS`: the most memory that any of its processes took."""
    run = node.start(*arguments)
    most = 0
    while run.poll() is None:
        with suppress(psutil.Error):
            program = psutil.Process(run.pid)
            most = max(most, *(each.memory_info().rss >> 20 for each in (program, *program.children(recursive=True))))
        time.sleep(0.01)
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    return most
