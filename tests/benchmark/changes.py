"""How fast a slot becomes SQL, against draining the same slot raw by the same COPY; and how fast psql applies it.

    PYTHONPATH=tests python -m benchmark.changes --changes 400000

Raw and translated in turn, twice; the better of each counts. Nothing is asserted: it prints ratios, a person judges.
"""

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fix_changes import SLOT, apply, read_slot, translation
from fix_majors import running
from fix_postgres import Database, new_database

ROUNDS = 2
SCHEMA = """
    CREATE TABLE account (id int PRIMARY KEY, branch int, balance int, filler char(84));
    CREATE TABLE branch (id int PRIMARY KEY, balance int, filler char(88));
    CREATE TABLE history (id bigserial PRIMARY KEY, account int, delta int, at timestamptz, filler char(22));
    CREATE TABLE item (id int PRIMARY KEY, name text, price numeric, at timestamptz, note text, content bytea);
    CREATE TABLE file (id int PRIMARY KEY, content bytea);
    INSERT INTO account SELECT i, 1, 0, '' FROM generate_series(1, 100000) i;
    INSERT INTO branch SELECT i, 0, NULL FROM generate_series(1, 100) i;
"""
ITEM = """i, 'name ' || i, i / 7.0, now(), CASE WHEN i % 3 = 0 THEN E'it''s\\n' ELSE md5(i::text) END,
          CASE WHEN i % 2 = 0 THEN decode(md5(i::text), 'hex') END"""
WORKLOADS = {
    "4 changes a transaction": """DO $$ BEGIN
        FOR i IN 1 .. {changes} / 4 LOOP
            UPDATE account SET balance = balance + i WHERE id = 1 + i::bigint * 7919 % 100000;
            UPDATE account SET balance = balance - i WHERE id = 1 + i::bigint * 104729 % 100000;
            UPDATE branch SET balance = i WHERE id = 1 + i % 100;
            INSERT INTO history (account, delta, at) VALUES (i, i, clock_timestamp());
            COMMIT;
        END LOOP; END $$""",
    "inserts": f"INSERT INTO item SELECT {ITEM} FROM generate_series(1, {{changes}}) i",
    "updates by key": "UPDATE item SET name = name || 'x', note = nullif(note, left(note, 32))",
    "deletes": "DELETE FROM item",
    "one row of 100 MB": "INSERT INTO file SELECT 1, decode(repeat('5c00ff27', 25000000), 'hex')",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=400_000)
    parser.add_argument("--major", type=int, default=15)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    with (
        tempfile.TemporaryDirectory(prefix="pgkeep-benchmark-") as home,
        running(chosen.major, home=Path(home)) as server,
    ):
        relaxed = server.with_settings("-c synchronous_commit=off")
        with new_database(relaxed, made=SCHEMA) as source, new_database(relaxed, made=SCHEMA) as copy:
            source.run("CREATE PUBLICATION pgkeep FOR ALL TABLES", SLOT)
            for name, statement in WORKLOADS.items():
                source.run(statement.format(changes=chosen.changes))
                _measure(name, source, copy)
            source.run("SELECT pg_drop_replication_slot('keep')")


def _measure(name: str, source: Database, copy: Database) -> None:
    source.run("SET synchronous_commit = on; CREATE TABLE flushed (); DROP TABLE flushed")
    raw = min(_timed(lambda: _size(read_slot(source))) for _ in range(ROUNDS))
    taken = min(_timed(lambda: _size(translation().sql(read_slot(source)))) for _ in range(ROUNDS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    translated = translation()
    applied = _timed(lambda: apply(copy, translated.sql(read_slot(source))))
    changes = max(translated.changes, 1)
    print(f"{name}: {changes} changes, {_size(read_slot(source)) / 1e6:.0f} MB", end=", ")
    print(
        f"raw {raw / changes * 1e6:.2f} us a change, translated {taken / changes * 1e6:.2f}: {raw / taken:.2f}x",
        end=", ",
    )
    print(f"peak {peak:.0f} MB so far; translated and applied {changes / applied:.0f} a second")
    source.run("SELECT pg_replication_slot_advance('keep', pg_current_wal_flush_lsn())")


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _size(chunks: Iterable[bytes]) -> int:
    return sum(map(len, chunks))


if __name__ == "__main__":
    main()
