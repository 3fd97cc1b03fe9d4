"""Hours of a database whose server has no logical decoding: set up as the document says, lost, and brought back."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fix_docs import ROOT, commands
from fix_majors import OLDEST, Machine, machine
from fix_node import Node
from pgkeep.adapters.postgres.programs import find_tools

TABLES = """
    CREATE TABLE case_file (id uuid PRIMARY KEY, owner text NOT NULL, about jsonb, closed boolean DEFAULT false);
    CREATE TABLE item (case_id uuid, name text, content bytea, PRIMARY KEY (case_id, name));
    CREATE TABLE counter (id serial PRIMARY KEY, t text);
"""
NEW = "INSERT INTO case_file (id, owner, about) VALUES ('00000000-0000-4000-8000-{:012d}', 'al''ice', '{{\"n\": {}}}')"


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A node whose source writes CSV logs."""

    node: Node
    machine: Machine
    name: str

    def backup(self) -> str:
        return self.node.pgkeep("backup", self.name).stdout

    def kinds(self) -> list[str]:
        return [str(entry["backup"]["kind"]) for entry in self.node.entries(self.name)]

    def same(self, *point: str) -> None:
        self.node.pgkeep("restore", self.name, "--into", self.node.target(self.name), *point, "--replace")
        assert self.node.measure(self.name, server="SCRATCH") == self.node.measure(self.name)


@pytest.fixture
def logged(request: pytest.FixtureRequest, node: Node, tmp_path: Path) -> Iterator[Logged]:
    major = getattr(request, "param", OLDEST)
    with machine(major, home=tmp_path) as found:
        own = node.with_source(found.server, tools=find_tools(major).directory, passwords=tmp_path / "pgpass")
        own.psql("ALTER SYSTEM SET wal_level = replica")
        name = f"logged_{major}_{tmp_path.name[-6:].strip('_')}"
        own.psql(f"CREATE DATABASE {name}")
        own.psql(TABLES, dbname=name)
        refused = own.pgkeep("init", name, "--capture", "csvlog", code=3)
        assert "--print-sql" in refused.stderr
        own.psql(as_printed())
        found.stop()
        found.start()
        set_up(own, name)
        yield Logged(node=own, machine=found, name=name)


def as_printed() -> str:
    """The settings that the document prints."""
    (block,) = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/csvlog.md").read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def set_up(node: Node, name: str) -> None:
    """As the document says it."""
    for command in commands("docs/csvlog.md", "Setting it up"):
        words = [name if word == "NAME" else word for word in command.split()]
        assert words[0] == "pgkeep"
        if words[1:] == ["check"]:  # of all databases: of this node's others, the source is another one
            words.append(name)
        node.pgkeep(*words[1:])


@pytest.mark.parametrize("logged", [OLDEST, 15], indirect=True)
def test_hours_gaps_and_the_loss_of_the_database(logged: Logged) -> None:
    node, name = logged.node, logged.name
    assert "full" in logged.backup()
    node.psql(";\n".join(NEW.format(i, i) for i in range(5)), dbname=name)
    moment = node.psql("SELECT clock_timestamp() AT TIME ZONE 'UTC'", dbname=name).replace(" ", "T") + "Z"
    before = node.measure(name)
    time.sleep(0.01)  # the log's clock has milliseconds
    node.psql("UPDATE case_file SET closed = true WHERE id = '00000000-0000-4000-8000-000000000001'", dbname=name)
    assert "exact: not proven" in logged.backup()
    assert "no changes" in logged.backup()
    node.psql("INSERT INTO counter (t) VALUES ('a default that nobody knows')", dbname=name)
    assert "full" in logged.backup()
    gap = node.entries(name)[-2]["backup"]
    assert "INSERT public.counter" in gap["link"]["gap"]
    node.psql(NEW.format(100, 100), dbname=name)
    assert "1 change in 1 transaction" in logged.backup()
    assert logged.kinds() == ["gap", "full", "changes", "changes", "gap", "full", "changes"]
    logged.same()
    node.pgkeep("restore", name, "--into", node.target(name), "--at", moment, "--replace")
    assert node.measure(name, server="SCRATCH") == before
    assert node.pgkeep("list", name).stdout.count("exact: not proven") == 2


def test_while_the_application_writes(logged: Logged) -> None:
    """Whatever the moment of a cut: right, or a gap. Each full backup closes the chain, and both ways must meet."""
    node, name = logged.node, logged.name
    logged.backup()
    stopped = threading.Event()

    def work(first: int) -> None:
        for i in range(first, first + 10_000):
            if stopped.is_set():
                return
            node.psql(NEW.format(i, i), dbname=name)

    workers = [threading.Thread(target=work, args=(n * 10_000,)) for n in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(4):
            time.sleep(0.5)
            node.pgkeep("backup", name)
        node.pgkeep("backup", name, "--full")
    finally:
        stopped.set()
        for worker in workers:
            worker.join()
    logged.backup()
    assert "changes" in logged.kinds()
    logged.same()
    full = max(entry["sequence"] for entry in node.entries(name) if entry["backup"]["kind"] == "full")
    node.pgkeep("restore", name, "--into", node.target(name), "--entry", str(full), "--replace")


def test_a_server_that_was_started_anew_is_a_gap(logged: Logged) -> None:
    logged.backup()
    logged.node.psql(NEW.format(1, 1), dbname=logged.name)
    logged.machine.stop()
    logged.machine.start()
    logged.backup()
    assert logged.kinds() == ["gap", "full", "gap", "full"]
    assert "started again" in logged.node.entries(logged.name)[2]["backup"]["link"]["gap"]
    logged.same()


def test_a_log_can_be_looked_at_before_it_is_trusted(logged: Logged) -> None:
    logged.node.psql(NEW.format(1, 1), dbname=logged.name)
    log = logged.machine.data / "log"
    printed = logged.node.pgkeep("csvlog", "parse", str(log), "--database", logged.name).stdout
    assert NEW.format(1, 1).replace('"', '\\"') in printed


def test_the_way_can_be_changed(logged: Logged) -> None:
    """From the log to logical decoding: a gap, and the chain goes on."""
    node, name = logged.node, logged.name
    logged.backup()
    node.psql("ALTER SYSTEM SET wal_level = logical")
    logged.machine.stop()
    logged.machine.start()
    path = Path(node.environ["PGKEEP_CONFIG"])
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('capture = "csvlog"', 'capture = "logical"'), encoding="utf-8")
    node.psql(NEW.format(1, 1), dbname=name)
    logged.backup()
    assert "from the server's log until now" in node.entries(name)[2]["backup"]["link"]["gap"]
    node.psql(NEW.format(2, 2), dbname=name)
    assert "1 change" in logged.backup()
    logged.same()
