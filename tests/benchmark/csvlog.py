"""How fast a CSV log becomes statements, against Python's csv.reader on the same file, and how much memory that takes.

    python tests/benchmark/csvlog.py --log 200MB

The log is made as a server writes one with log_statement = all and log_duration = on: prepared INSERTs and UPDATEs with
their values in the DETAIL, statements of the simple protocol, BEGIN and COMMIT, durations, and a second database.
Everything in turn, twice; the better of each counts. Nothing is asserted: it prints ratios, a person judges.
"""

import argparse
import csv
import gc
import itertools
import os
import platform
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pgkeep.adapters.postgres.csvlog.log.rows import Rows
from pgkeep.adapters.postgres.csvlog.log.statements import statement
from pgkeep.sandbox.sample import parse_size

ROUNDS = 2
CHUNK = 4 << 20
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
INSERT = """insert into "shop_order" ("customer_id", "article", "amount", "price", "comment", "created_at", "updated_at", "state") values ($1, $2, $3, $4, $5, $6, $7, $8) returning "id\""""  # noqa: E501
UPDATE = 'update "shop_customer" set "name" = $1, "address" = $2, "updated_at" = $3 where "id" = $4'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=parse_size, default=200_000_000, metavar="SIZE")
    parser.add_argument("--profile", action="store_true", help="only say where the time goes")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="pgkeep-benchmark-") as folder:
        file = Path(folder) / "postgresql.csv"
        _make(file, chosen.log)
        if chosen.profile:
            _profile(file)
        else:
            _measure(file)


def _measure(file: Path) -> None:
    size = file.stat().st_size
    rows, found = _statements(file)
    print(
        f"{size / 1e6:.0f} MB, {rows} rows of the database, {found} statements; {size / _by_csv(file):.0f} bytes a row"
    )
    for title, work in (("csv.reader alone", _by_csv), ("rows", _rows), ("rows and statements", _statements)):
        seconds = min(_timed(lambda work=work: work(file)) for _ in range(ROUNDS))  # type: ignore[misc]
        print(f"{title}: {size / seconds / 1e6:.1f} MB/s of this process's time")
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")


def _profile(file: Path) -> None:
    import cProfile
    import pstats

    profile = cProfile.Profile()
    profile.runcall(_statements, file)
    pstats.Stats(profile).sort_stats("tottime").print_stats(12)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk


def _by_csv(file: Path) -> int:
    with file.open(newline="", encoding="utf-8") as opened:
        return sum(1 for _ in csv.reader(opened))


def _rows(file: Path) -> int:
    return sum(1 for _ in Rows(_chunks(file), database=b"shop", lost=_refuse))


def _statements(file: Path) -> tuple[int, int]:
    rows = found = 0
    for row in Rows(_chunks(file), database=b"shop", lost=_refuse):
        rows += 1
        if (this := statement(row)) is not None:
            assert this.reason is None
            found += 1
    return rows, found


def _refuse(lost: object) -> None:
    raise AssertionError(lost)


def _make(file: Path, size: int) -> None:
    chosen, written = random.Random(1), 0
    with file.open("w", encoding="utf-8", newline="") as opened:
        for number in itertools.count():
            if written >= size:
                return
            written += sum(opened.write(row) for row in _transaction(chosen, number))


def _transaction(chosen: random.Random, number: int) -> Iterator[str]:
    database = "other" if number % 10 == 0 else "shop"
    session, line = f"697e0b1c.{0x1000 + number % 40:x}", itertools.count(number * 20)

    def row(tag: str, message: str, detail: str = "", xid: int = 0) -> str:
        texts = ",".join('"' + text.replace('"', '""') + '"' if text else "" for text in (message, detail))
        return (
            f'2026-01-31 14:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03} UTC,"app","{database}",'
            f'{4096 + number % 40},"10.0.0.{number % 40}:51234",{session},{next(line)},"{tag}",2026-01-31 14:00:00 UTC,'
            f'{number % 40}/{number},{xid},LOG,00000,{texts},,,,,,,,"shop","client backend",,-6884315225205104545\n'
        )

    yield row("idle", "statement: BEGIN")
    yield row("BEGIN", "duration: 0.034 ms")
    for _ in range(chosen.randrange(1, 5)):
        yield from _change(chosen, row, number)
    yield row("idle in transaction", "statement: COMMIT", xid=number + 700)
    yield row("COMMIT", "duration: 1.234 ms")


def _change(chosen: random.Random, row: Callable[..., str], number: int) -> Iterator[str]:
    words = " ".join(chosen.choices(WORDS, k=chosen.randrange(4, 60)))
    moment = "2026-01-31 14:05:00.123456+00"
    insert = (str(number), words[:12], "3", "12.50", f"it's {words}", moment, moment, "new")
    update = (words[:20], words, moment, str(number))
    if number % 3 == 0:
        yield row("idle in transaction", f"statement: INSERT INTO shop_note (id, note) VALUES ({number}, '{words}')")
    else:
        name, text, values = ("S_1", INSERT, insert) if number % 3 == 1 else ("<unnamed>", UPDATE, update)
        detail = ", ".join("${} = '{}'".format(n, value.replace("'", "''")) for n, value in enumerate(values, 1))
        yield row("BIND", "duration: 0.012 ms", xid=number + 700)
        yield row("INSERT", f"execute {name}: {text}", f"parameters: {detail}", xid=number + 700)
    yield row("INSERT", "duration: 0.123 ms", xid=number + 700)


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
