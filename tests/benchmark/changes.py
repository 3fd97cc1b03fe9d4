"""How fast a slot becomes SQL, against draining the same slot raw by the same COPY; how fast that is applied, against a
file of the same SQL; and what keeping changes costs the source.

    python tests/benchmark/changes.py --changes 400000

Everything in turn, twice; the better of each counts. Nothing is asserted: it prints ratios, a person judges.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fix_majors import Machine, machine
from fix_pgoutput_sql import SLOT, apply, read_slot, translation
from fix_postgres import Database, new_database
from pgkeep.adapters.postgres import LogicalCapture
from pgkeep.adapters.postgres.leftovers import take_away

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
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgkeep-benchmark-")))
        host = stack.enter_context(machine(chosen.major, home=home))
        relaxed = host.server.with_settings("-c synchronous_commit=off")
        source, *copies = (stack.enter_context(new_database(relaxed, made=SCHEMA)) for _ in range(3))
        source.run("CREATE PUBLICATION pgkeep FOR ALL TABLES", SLOT)
        for name, statement in WORKLOADS.items():
            source.run(statement.format(changes=chosen.changes))
            _measure(name, source, copies, file=home / "changes.sql")
        source.run("SELECT pg_drop_replication_slot('keep')")
        _show_overhead(host, stack.enter_context(new_database(host.server, made=SCHEMA)), changes=chosen.changes // 4)


def _measure(name: str, source: Database, copies: list[Database], *, file: Path) -> None:
    source.run("SET synchronous_commit = on; CREATE TABLE flushed (); DROP TABLE flushed")
    raw = min(_timed(lambda: _size(read_slot(source))) for _ in range(ROUNDS))
    taken = min(_timed(lambda: _size(translation().sql(read_slot(source)))) for _ in range(ROUNDS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    translated = translation()
    with file.open("wb") as written:
        written.writelines(translated.sql(read_slot(source)))
    with file.open("rb") as known:
        reference = _timed(lambda: apply(copies[0], iter(lambda: known.read(1 << 20), b"")))
    applied = _timed(lambda: apply(copies[1], translation().sql(read_slot(source))))
    changes = max(translated.changes, 1)
    print(f"{name}: {changes} changes, {_size(read_slot(source)) / 1e6:.0f} MB; collected: ", end="")
    print(
        f"raw {raw / changes * 1e6:.2f} us a change, as SQL {taken / changes * 1e6:.2f}, {raw / taken:.2f}x; ", end=""
    )
    print(f"applied: {changes / reference:.0f} a second from a file, {changes / applied:.0f} as it is made; ", end="")
    print(f"at most {peak:.0f} MB so far")
    source.run("SELECT pg_replication_slot_advance('keep', pg_current_wal_flush_lsn())")


def _show_overhead(host: Machine, database: Database, *, changes: int) -> None:
    """The same transactions on a server that keeps no changes, on one that could, and while pgkeep keeps them."""
    work = WORKLOADS["4 changes a transaction"].format(changes=changes)
    for level in ("replica", "logical"):
        database.run(f"ALTER SYSTEM SET wal_level = {level}")
        host.stop()
        host.start()
        _show_cost(f"wal_level = {level}", database, work, changes=changes)
    capture = LogicalCapture(source=database.source(), slot="pgkeep_benchmark", measured=1, kept=1 << 40)
    capture.install()
    with capture.begin(None):
        pass
    _show_cost("with pgkeep", database, work, changes=changes)
    take_away(database.source(), "pgkeep_benchmark")


def _show_cost(title: str, database: Database, work: str, *, changes: int) -> None:
    seconds, size = map(min, zip(*(_worked(database, work) for _ in range(ROUNDS)), strict=True))
    print(f"{title}: {changes / 4 / seconds:.0f} transactions a second, {size / changes * 4:.0f} bytes of WAL each")


def _worked(database: Database, work: str) -> tuple[float, int]:
    """Seconds, and bytes of WAL. After a checkpoint, so that no whole pages are among them by chance."""
    database.run("CHECKPOINT")
    ((before,),) = database.ask("SELECT pg_current_wal_insert_lsn()::text")
    seconds = _timed(lambda: database.run(work))
    ((size,),) = database.ask(f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')::int8")
    return seconds, int(str(size))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _size(chunks: Iterable[bytes]) -> int:
    return sum(map(len, chunks))


if __name__ == "__main__":
    main()
