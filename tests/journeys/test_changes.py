"""Changes from hour to hour, with the operator's own commands: no transaction is lost, none invented."""

import random
import threading

from fix_node import Node

TABLES = """
    CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL);
    INSERT INTO account SELECT i, 1000 FROM generate_series(1, 20) i;
    CREATE TABLE transfer (id bigserial PRIMARY KEY, source int, target int, amount int, at timestamptz DEFAULT now());
    CREATE TABLE note (text text);
    CREATE TABLE measured (day date, value numeric, PRIMARY KEY (day, value)) PARTITION BY RANGE (day);
    CREATE TABLE measured_old PARTITION OF measured FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE measured_new PARTITION OF measured FOR VALUES FROM ('2021-01-01') TO ('2031-01-01');
    CREATE TABLE document (id int PRIMARY KEY, about text, content bytea);
    ALTER TABLE document ALTER content SET STORAGE EXTERNAL;
    CREATE MATERIALIZED VIEW total AS SELECT sum(balance) FROM account;
"""

# Gone again before anybody looks: which of its columns were such ones?
PASSING = """
    CREATE TABLE passing (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, t text);
    INSERT INTO passing (id, t) VALUES (1, 'one'), (2, 'two');
    UPDATE passing SET t = 'three', n = DEFAULT WHERE id = 2; UPDATE passing SET id = 3 WHERE id = 1;
    DROP TABLE passing;
"""


def kinds(node: Node, name: str) -> list[str]:
    return [str(entry["backup"]["kind"]) for entry in node.entries(name)]


def same(node: Node, name: str, *, into: str, options: tuple[str, ...] = ()) -> None:
    """The newest moment comes back: contents, schema, sequences. Materialised views come back up to date."""
    node.pgkeep("restore", name, "--into", node.target(into), *options)
    assert node.measure(into, server="SCRATCH") == node.measure(name)
    assert node.schema(into, server="SCRATCH") == node.schema(name)


def test_hours_of_changes_and_any_moment_of_them(node: Node, kept: str) -> None:
    node.psql(TABLES, dbname=kept)
    assert "full" in node.pgkeep("backup", kept, "--full").stdout
    node.psql("UPDATE account SET balance = balance + id; INSERT INTO note VALUES ('a'), ('b')", dbname=kept)
    xid = node.psql("BEGIN; UPDATE account SET balance = 7 WHERE id = 7; SELECT txid_current(); COMMIT", dbname=kept)
    seven = node.psql("SELECT sum(balance) FROM account", dbname=kept)
    node.psql("DELETE FROM account WHERE id < 5", dbname=kept)
    node.pgkeep("backup", kept)
    node.psql("CREATE TABLE later (id serial PRIMARY KEY, t text); INSERT INTO later (t) VALUES ('x')", dbname=kept)
    node.psql(PASSING, dbname=kept)
    node.psql("ALTER TABLE account ADD COLUMN label text; UPDATE account SET label = 'n' || id", dbname=kept)
    node.pgkeep("backup", kept)
    node.pgkeep("backup", kept)
    assert kinds(node, kept) == ["gap", "full", "changes", "changes", "changes"]
    assert not node.entries(kept)[-1]["backup"]["parts"], "a quiet hour stores nothing"
    node.psql("REFRESH MATERIALIZED VIEW total", dbname=kept)
    same(node, kept, into=kept)
    refused = node.pgkeep("restore", kept, "--into", node.target("x"), "--xid", xid, code=7)
    assert "public.note" in refused.stderr
    node.pgkeep("restore", kept, "--into", node.target(f"{kept}_xid"), "--xid", xid, "--stale")
    assert node.psql("SELECT sum(balance) FROM account", dbname=f"{kept}_xid", server="SCRATCH") == seven
    assert node.psql("SELECT count(*) FROM note", dbname=f"{kept}_xid", server="SCRATCH") == "0"


def test_what_cannot_be_carried_is_a_gap_with_its_reason(node: Node, kept: str) -> None:
    node.pgkeep("backup", kept, "--full")
    node.psql("CREATE TABLE copied AS SELECT * FROM loc", dbname=kept)
    node.pgkeep("backup", kept)
    assert kinds(node, kept) == ["gap", "full", "gap", "full"]
    assert "CREATE TABLE AS" in node.pgkeep("list", kept).stdout
    same(node, kept, into=kept)


# What writers tell each other, pgkeep or no pgkeep: two insert one key, two move one row to another partition.
COLLISIONS = ("duplicate key", "was already moved to another partition due to concurrent update")


class Writers:
    """Applications at work: hot rows, savepoints, rollbacks, changed keys, moved partitions, large values."""

    def __init__(self, node: Node, name: str) -> None:
        self.node, self.name = node, name
        self.stopped = threading.Event()
        self.complaints: list[str] = []
        self.threads = [threading.Thread(target=self.work, args=(seed,)) for seed in range(4)]

    def work(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self.stopped.wait(0.1):
            if seed == 0 and dice.random() < 0.05:  # every few seconds
                self.complaints += self.node.psql_complaints("TRUNCATE note", dbname=self.name)
            script = "\n".join(self.transaction(dice) for _ in range(20))
            self.complaints += self.node.psql_complaints(script, dbname=self.name)

    def transaction(self, dice: random.Random) -> str:
        one, two, many = dice.randint(5, 8), dice.randint(5, 8), dice.randint(1, 40)
        day = f"20{dice.randint(20, 22)}-0{dice.randint(1, 9)}-01"
        moves = f"""
            BEGIN; UPDATE account SET balance = balance - {many} WHERE id = {min(one, two)};
            UPDATE account SET balance = balance + {many} WHERE id = {max(one, two)};
            INSERT INTO transfer (source, target, amount) VALUES ({one}, {two}, {many}); COMMIT;"""
        undone = f"""
            BEGIN; SAVEPOINT s; INSERT INTO note VALUES ('lost {many}'); ROLLBACK TO s;
            INSERT INTO note VALUES ('kept {many}'); COMMIT;"""
        rolled_back = f"BEGIN; DELETE FROM transfer WHERE id % 7 = {one % 7}; ROLLBACK;"
        measured = f"INSERT INTO measured VALUES ('{day}', {many}) ON CONFLICT DO NOTHING;"
        moved = f"""
            UPDATE measured SET day = ('2020-12-3' || (value::int % 2))::date
            WHERE value = {many} AND day > '2021-01-01';"""
        large = f"""
            INSERT INTO document SELECT {many}, 'about', decode(repeat('ab', 40000), 'hex') ON CONFLICT DO NOTHING;"""
        unchanged_large = f"UPDATE document SET about = about || 'x' WHERE id = {many};"
        new_key = f"UPDATE document SET id = id + 1000 WHERE id = {many};"
        gone = f"DELETE FROM document WHERE id = {many + 1000};"
        number = "SELECT nextval('transfer_id_seq');"
        return dice.choice(
            [moves, undone, rolled_back, measured, moved, large, unchanged_large, new_key, gone, number],
        )

    def __enter__(self) -> "Writers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def test_cuts_under_load(node: Node, kept: str) -> None:
    node.psql(TABLES, dbname=kept)
    with Writers(node, kept) as writers:
        node.pgkeep("backup", kept, "--full")
        for _ in range(2):
            node.pgkeep("backup", kept)
        node.pgkeep("backup", kept, "--full")
        node.pgkeep("backup", kept)
    assert not [said for said in writers.complaints if not any(collision in said for collision in COLLISIONS)]
    node.pgkeep("backup", kept)
    node.psql("REFRESH MATERIALIZED VIEW total", dbname=kept)
    assert kinds(node, kept).count("gap") == 1, "where it begins"
    same(node, kept, into=kept)
    # Two ways to the second full backup's moment: by itself, and by the first one with all changes.
    first, second = (str(entry["sequence"]) for entry in node.entries(kept) if entry["backup"]["kind"] == "full")
    node.pgkeep("restore", kept, "--into", node.target(f"{kept}_a"), "--entry", second)
    node.pgkeep("restore", kept, "--into", node.target(f"{kept}_b"), "--entry", second, "--base", first)
    assert node.measure(f"{kept}_a", server="SCRATCH") == node.measure(f"{kept}_b", server="SCRATCH")
