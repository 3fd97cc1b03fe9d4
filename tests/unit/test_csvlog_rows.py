"""The rows of CSV logs: what the csv module reads, in chunks of any size, nothing lost without a word, and printed."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgkeep.adapters.postgres.csvlog.log.rows import Lost, Rows
from pgkeep.adapters.postgres.csvlog.model import LogRow
from pgkeep.cli import main
from pgkeep.errors import ConfigError

MESSAGE, DETAIL, HINT, CONTEXT, QUERY, APPLICATION = 13, 14, 15, 18, 19, 22
Columns = list[str | None]
TEXTS = st.text(st.sampled_from('ab",\n\r\\$1é\x01 2026-01-31 14:05:00.123 UTC'), max_size=40)


def columns(*, count: int = 26, message: str = "statement: SELECT 1", database: str | None = "shop") -> Columns:
    """A row as the server writes it: texts in columns that hold texts, else numbers and moments, or nothing."""
    found: Columns = [
        "2026-01-31 14:05:00.123 UTC",
        '"keeper"',
        None if database is None else quoted(database),
        "4711",
        '"127.0.0.1:5432"',
        "697e0b1c.1267",
        "12",
        '"idle"',
        "2026-01-31 14:00:00 UTC",
        "3/19",
        "726",
        "LOG",
        "00000",
        quoted(message),
        *[None] * 8,
        '"psql"',
        *['"client backend"', None, "-6884315225205104545", None, '"and more"', "7"],
    ]
    return found[:count]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def record(found: Columns) -> bytes:
    return (",".join(column or "" for column in found) + "\n").encode("utf-8")


@st.composite
def rows_as_columns(draw: st.DrawFn) -> Columns:
    found = columns(
        count=draw(st.sampled_from((23, 24, 26, 29))),
        message=draw(TEXTS),
        database=draw(st.sampled_from(("shop", 'odd ",\n"name', None))),
    )
    for place in (DETAIL, APPLICATION):
        found[place] = draw(st.none() | TEXTS.map(quoted))
    for place in (HINT, CONTEXT, QUERY):
        found[place] = draw(st.none() | TEXTS.filter(bool).map(quoted))
    return found


LOGS = st.lists(rows_as_columns(), max_size=5).map(lambda found: [record(row) for row in found])
SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=4)


def cut(whole: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    while at < len(whole):
        for size in sizes:
            yield whole[at : at + size]
            at += size


def read(chunks: Iterable[bytes], *, database: bytes | None = None) -> tuple[list[LogRow], list[Lost], int]:
    lost = list[Lost]()
    rows = Rows(chunks, database=database, lost=lost.append)
    return list(rows), lost, rows.end


def by_csv(log: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(log.decode("utf-8"), newline=""), strict=True))


@given(log=LOGS, sizes=SIZES)
def test_they_are_what_pythons_csv_reads_whatever_the_chunks(log: list[bytes], sizes: list[int]) -> None:
    whole = b"".join(log)
    rows, lost, end = read(cut(whole, sizes))
    assert (lost, end) == ([], len(whole))
    assert [row.place for row in rows] == [sum(map(len, log[:number])) for number in range(len(log))]
    assert list(map(as_csv, rows)) == list(map(as_row, by_csv(whole)))


def as_csv(row: LogRow) -> list[object]:
    texts = (row.time, row.database, row.session, row.tag, row.started, row.vxid, row.severity, row.state)
    return [
        *(text.decode("utf-8") for text in (*texts, row.message, row.detail)),
        row.line,
        row.xid,
        row.aside,
    ]


def as_row(found: list[str]) -> list[object]:
    texts = [found[place] for place in (0, 2, 5, 7, 8, 9, 11, 12, MESSAGE, DETAIL)]
    return [*texts, int(found[6]), int(found[10]), any(found[HINT : QUERY + 2])]


@pytest.mark.parametrize("place", [HINT, CONTEXT, QUERY])
def test_the_empty_text_is_not_nothing(place: int) -> None:
    found = columns()
    found[place] = '""'
    rows, _, _ = read([record(found)])
    assert [row.aside for row in rows] == [True]


@given(log=LOGS, sizes=SIZES, name=st.sampled_from(("shop", 'odd ",\n"name')))
def test_rows_of_other_databases_are_passed_over(log: list[bytes], sizes: list[int], name: str) -> None:
    whole = b"".join(log)
    every, _, _ = read([whole])
    rows, lost, end = read(cut(whole, sizes), database=name.encode())
    assert rows == [row for row in every if row.database in {b"", name.encode()}]
    assert (lost, end) == ([], len(whole))


@given(log=LOGS, sizes=SIZES, data=st.data())
def test_a_record_without_its_end_waits_for_the_next_read(
    log: list[bytes], sizes: list[int], data: st.DataObject
) -> None:
    last = record(data.draw(rows_as_columns()))
    half = last[: data.draw(st.integers(0, len(last) - 1))]
    rows, lost, end = read(cut(b"".join(log) + half, sizes))
    assert (len(rows), lost, end) == (len(log), [], sum(map(len, log)))


@given(before=LOGS, after=LOGS, sizes=SIZES, data=st.data())
def test_what_a_crash_left_takes_no_other_row_with_it(
    before: list[bytes], after: list[bytes], sizes: list[int], data: st.DataObject
) -> None:
    torn = record(columns(message=data.draw(st.text(st.sampled_from('ab",\n\\$1é'), min_size=9, max_size=40))))
    half = torn[: data.draw(st.integers(1, len(torn) - 1))]
    rows, lost, end = read(cut(b"".join((*before, half, *after)), sizes))
    if after:
        assert [row.place for row in rows] == places(before, half, after)
        assert lost == [Lost(place=sum(map(len, before)), size=len(half))]
        assert end == sum(map(len, (*before, half, *after)))


def places(before: list[bytes], half: bytes, after: list[bytes]) -> list[int]:
    every = [*before, half, *after]
    return [sum(map(len, every[:number])) for number in range(len(every)) if number != len(before)]


BROKEN = st.builds(
    lambda log, wrong, at: bytes(chain(log[: at % (len(log) + 1)], wrong, log[at % (len(log) + 1) + len(wrong) :])),
    st.lists(rows_as_columns(), max_size=4).map(lambda found: b"".join(map(record, found))),
    st.binary(max_size=5) | st.sampled_from((b'"', b"\n", b'",', b"2026-01-31 14:05:00.123 UTC,")),
    st.integers(0, 5000),
)


@given(log=BROKEN | st.binary(max_size=300), sizes=SIZES)
@example(log=b"\0" * 5000 + record(columns()), sizes=[1000])
@example(log=b"9" * 30, sizes=[7])
def test_every_byte_is_in_a_row_or_lost_or_left_for_the_next_read(log: bytes, sizes: list[int]) -> None:
    at = 0

    def meet(lost: Lost) -> None:
        nonlocal at
        assert lost.place == at
        assert lost.size > 0
        at += lost.size

    rows = Rows(cut(log, sizes), database=None, lost=meet)
    for row in rows:
        assert row.place == at
        assert log[row.place : rows.end].endswith(b"\n")
        at = rows.end
    assert at == rows.end <= len(log)


@given(log=BROKEN, sizes=SIZES)
def test_broken_logs_have_the_same_rows_whatever_the_chunks(log: bytes, sizes: list[int]) -> None:
    assert read(cut(log, sizes))[0] == read([log])[0]


def test_a_log_can_be_read_on_from_where_the_last_read_ended() -> None:
    log = b"".join(record(columns(message=f"statement: SELECT '{number}\n'")) for number in range(9))
    every, _, _ = read([log])
    found, place = list[LogRow](), 0
    for size in range(0, len(log) + 100, 100):
        rows = Rows([log[place:size]], database=None, place=place, lost=lambda lost: pytest.fail(str(lost)))
        found += rows
        place = rows.end
    assert found == every


@pytest.mark.parametrize("chunk", [997, 1 << 16])
def test_a_long_record_takes_no_longer_for_being_in_small_chunks(chunk: int) -> None:
    long = record(columns(message="statement: SELECT '\"\n" * 400_000))
    rows, lost, _ = read(long[at : at + chunk] for at in range(0, len(long), chunk))
    assert (len(rows), lost) == (1, [])


def test_what_can_be_no_record_is_not_held() -> None:
    lost = list[Lost]()
    rows = Rows((b"\0\n\xff" * 100_000 for _ in range(100)), database=None, lost=lost.append)
    assert list(rows) == []
    assert sum(each.size for each in lost) == rows.end > 30_000_000 - 100


def test_a_text_that_looks_like_rows_is_a_text() -> None:
    forged = "x\n" + record(columns(message="statement: DELETE FROM everything")).decode()
    rows, lost, _ = read([record(columns(message=forged)), record(columns())])
    assert [row.message for row in rows] == [forged.encode(), b"statement: SELECT 1"]
    assert not lost


def test_a_folder_of_logs_is_printed_in_the_order_of_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later = [record(columns(message=f"statement: SELECT '{text}'")) for text in ("é", "\n", '"')]
    earlier = record(columns(message="statement: SELECT 'first'")).replace(b"14:05", b"13:05")
    (tmp_path / "1.csv").write_bytes(b"".join(later).replace("é".encode(), b"\xff"))
    (tmp_path / "2.csv").write_bytes(b"half" * 20 + earlier + record(columns(message="statement: ", database="other")))
    (tmp_path / "3.csv").write_bytes(b"")
    (tmp_path / "4.log").write_bytes(earlier)
    assert main(["csvlog", "parse", str(tmp_path), "--database", "shop"]) == 0
    printed = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert printed == ["SELECT 'first'", "SELECT '\udcff'", "SELECT '\n'", "SELECT '\"'"]
    assert main(["csvlog", "parse", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(printed) + 1


def test_what_is_not_whole_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = record(columns(message="execute a: SELECT $1"))
    (tmp_path / "a.csv").write_bytes(b"half" * 20 + whole + whole[:-9])
    assert main(["csvlog", "parse", str(tmp_path)]) == 0
    assert [found.message for found in caplog.records] == [
        f"{tmp_path}/a.csv, byte 0: 80 bytes that are no record",
        f"{tmp_path}/a.csv, byte 80: a parameter's value is not in the log",
        f"{tmp_path}/a.csv, byte {80 + len(whole)}: its last record is not whole ({len(whole) - 9} bytes)",
    ]


def test_a_folder_without_logs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["csvlog", "parse", str(tmp_path)]) == ConfigError.exit_code
    assert capsys.readouterr().err.startswith(f"pgkeep: {tmp_path} holds no *.csv. Next: ")
    assert main(["csvlog", "parse", str(tmp_path / "none")]) == ConfigError.exit_code
    assert "none: No such file or directory. Next: " in capsys.readouterr().err
    (tmp_path / "a.csv").mkdir()
    assert main(["csvlog", "parse", str(tmp_path)]) == ConfigError.exit_code
