"""The files of a CSV log in memory: whatever a collector does to them, nothing is lost, repeated or out of order."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgkeep import records
from pgkeep.adapters.postgres.csvlog.log import stretch as stretches
from pgkeep.adapters.postgres.csvlog.log.files import DirectoryLogFiles, LogFile, LogFiles, begins
from pgkeep.adapters.postgres.csvlog.log.marker import wait_for
from pgkeep.adapters.postgres.csvlog.log.place import end_of_log
from pgkeep.adapters.postgres.csvlog.log.row_time import last_row_time, row_time
from pgkeep.adapters.postgres.csvlog.log.stretch import Segment, Stretch, between, place_at, read_on
from pgkeep.errors import ConfigError, Unavailable
from pgkeep.ports import Inexact
from pgkeep.positions import LogPlace


@dataclass
class Collector:
    """What PostgreSQL's collector does to files, and (as LogFiles) their content. `written`: every piece, in order."""

    now: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)
    zone: str = "CET"
    name: str = "a.csv"
    content: dict[str, bytes] = field(default_factory=lambda: {"a.csv": b""})
    modified: dict[str, int] = field(default_factory=dict)
    written: list[tuple[str, bytes]] = field(default_factory=list)

    def row(self, message: bytes = b"x", *, whole: bool = True) -> None:
        time = f"{self.now:%Y-%m-%d %H:%M:%S}.{self.now.microsecond // 1000:03d} {self.zone}"
        row = b',"app","db",1,"[local]",f.1,1,"idle",,,0,LOG,00000,"' + message
        self.write(time.encode() + row + b'",,\n' * whole)

    def rows(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.row(message)

    def write(self, piece: bytes) -> None:
        self.content[self.name] += piece
        self.modified[self.name] = int(self.now.timestamp())
        self.written.append((self.name, piece))

    def rotate(self, name: str, *, truncate: bool = True) -> None:
        self.name = name
        if truncate:
            self.forget(name)
        if name not in self.content:
            self.content[name] = b""
            self.modified[name] = int(self.now.timestamp())

    def forget(self, name: str) -> None:
        """Nobody can ever read what was in that file."""
        self.content.pop(name, None)
        self.written = [(of, b"" if of == name else piece) for of, piece in self.written]

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def current(self) -> str | None:
        return self.name

    def listing(self) -> tuple[LogFile, ...]:
        return tuple(
            LogFile(name=name, size=len(content), begins=begins(content[:64]), modified=self.modified.get(name, 0))
            for name, content in self.content.items()
        )

    def read(self, name: str, offset: int, length: int) -> bytes | None:
        return self.content[name][offset : offset + length] if name in self.content else None


def everything(files: LogFiles, since: LogPlace) -> tuple[Stretch, bytes]:
    stretch = between(files, since=since, until=end_of_log(files))
    return stretch, b"".join(read_on(files, stretch))


def write_three_files() -> tuple[Collector, LogPlace]:
    log = Collector()
    log.row()
    place = end_of_log(log)
    for name in ("z.csv", "b.csv", "m.csv"):
        log.row(b"the last of its file")
        log.passes(60)
        log.rotate(name)
        log.row(name.encode())
    return log, place


# --- any history -------------------------------------------------------------------------------

NAMES = st.sampled_from("abc")
ROWS = st.lists(st.binary(max_size=20).map(lambda text: text.replace(b'"', b'""')), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), ROWS),
        st.tuples(st.just("passes"), st.sampled_from([0.001, 0.5, 1, 4, 90, 4000])),
        st.tuples(st.just("anew"), st.tuples(NAMES, ROWS)),
        st.tuples(st.just("again"), st.tuples(NAMES, ROWS)),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("crash"), st.just("")),
        st.tuples(st.just("collect"), st.floats(min_value=0, max_value=1)),
    ),
    max_size=40,
)


BROKEN = b"half a ro"


def broken_inside(log: Collector, segment: Segment) -> bool:
    return BROKEN in log.content[segment.name][segment.start : segment.end].removesuffix(BROKEN)


@dataclass
class Reader:
    """Collects now and then, as far as a place somewhere in what there is, and knows what it should have read."""

    log: Collector
    place: LogPlace
    pieces: int = 0
    rebased: int = 0

    def collect(self, share: float) -> None:
        expected = b"".join(piece for _, piece in self.log.written[self.pieces :])
        try:
            stretch, found = everything(self.log, self.place)
        except Inexact:
            self.begin_anew()
            return
        # A row that broke off, with others behind it in its file, hides when those were written. What reads rows
        # refuses it: it is none.
        assert found == expected or any(broken_inside(self.log, segment) for segment in stretch.segments)
        assert stretch.size == len(found)
        self.go_on(stretch, share)

    def begin_anew(self) -> None:
        self.rebased += 1
        self.place, self.pieces = end_of_log(self.log), len(self.log.written)

    def go_on(self, stretch: Stretch, share: float) -> None:
        """From the beginning of a row, as the next cut would."""
        count = int(share * (len(self.log.written) - self.pieces))
        offset = sum(len(piece) for _, piece in self.log.written[self.pieces : self.pieces + count])
        self.place, self.pieces = place_at(self.log, stretch, offset), self.pieces + count


def happen(log: Collector, reader: Reader, what: str, value: object) -> None:
    match what, value:
        case "rows", list(messages):
            log.rows(messages)
        case "passes", (int() | float()) as seconds:
            log.passes(seconds)
        case (("anew" | "again"), (str(name), list(messages))) if f"{name}.csv" != log.name:
            log.passes(61)  # a name has at least the minute in it
            log.rotate(f"{name}.csv", truncate=what == "anew")
            log.rows(messages)
        case "remove", str(name) if f"{name}.csv" not in {log.name, reader.place.file}:
            log.forget(f"{name}.csv")
        case "crash", _:
            log.row(BROKEN, whole=False)
            log.passes(61)
            log.rotate(f"restarted {log.now:%H%M%S}.csv")
        case "collect", float(share):
            reader.collect(share)


@settings(max_examples=1000)
@example([("crash", ""), ("anew", ("b", [b""])), ("again", ("a", [b""])), ("again", ("b", [b""]))])
@example([("crash", ""), ("collect", 1.0), ("anew", ("c", [b""])), ("again", ("a", [b""])), ("again", ("c", [b""]))])
@given(STEPS)
def test_what_is_read_is_what_was_written_or_nothing_is(steps: list[tuple[str, object]]) -> None:
    log = Collector()
    reader = Reader(log=log, place=end_of_log(log))
    for what, value in steps:
        happen(log, reader, what, value)
    reader.collect(1.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 1)), max_size=30))
def test_new_names_need_no_full_backup(hours: list[tuple[int, bool, float]]) -> None:
    log = Collector()
    reader = Reader(log=log, place=end_of_log(log))
    for number, (rows, collects, share) in enumerate(hours):
        log.rotate(f"{(number * 7919) % 1000}-{number}.csv")
        for _ in range(rows):
            log.row()
            log.passes(0.001)
        log.passes(1)
        if collects:
            reader.collect(share)
    reader.collect(1.0)
    assert reader.rebased == 0


@given(st.integers(0, 4), st.floats(0, 1))
def test_any_place_of_a_stretch_parts_it(rows: int, share: float) -> None:
    log, since = write_three_files()
    for _ in range(rows):
        log.row()
    whole, content = everything(log, since)
    offset = int(share * len(content))
    middle = place_at(log, whole, offset)
    first, second = between(log, since=since, until=middle), between(log, since=middle, until=whole.until)
    assert b"".join(read_on(log, first)) == content[:offset] == content[: first.size]
    assert b"".join(read_on(log, second)) == content[offset:] == b"".join(read_on(log, whole, after=offset))


@pytest.mark.parametrize("truncate", [True, False])
def test_names_that_come_again(truncate: bool) -> None:
    log, since = write_three_files()
    for week in range(3):
        for name in ("a.csv", "z.csv", "b.csv", "m.csv"):
            since = everything(log, since)[0].until
            log.passes(86400)
            log.rotate(name, truncate=truncate)
            expected = len(log.written)
            for _ in range(5 * week + 5):
                log.row(name.encode())
            assert everything(log, since)[1] == b"".join(piece for _, piece in log.written[expected:])


# --- what cannot be read -----------------------------------------------------------------------


def test_a_removed_file_of_the_place() -> None:
    log, place = write_three_files()
    del log.content["a.csv"]
    with pytest.raises(Inexact, match=r"a\.csv was removed"):
        everything(log, place)


def test_a_file_that_was_begun_anew_before_it_was_read() -> None:
    log, place = write_three_files()
    log.passes(60)
    log.rotate("a.csv")
    log.row()
    with pytest.raises(Inexact, match=r"a\.csv is not the one"):
        everything(log, place)


def test_a_file_that_was_begun_anew_where_nothing_comes_before_the_place() -> None:
    log = Collector()
    log.row()
    since = end_of_log(log)
    stretch = between(log, since=since, until=since)
    assert stretch.segments == ()
    assert place_at(log, stretch, 0) == since
    first = replace(since, offset=0, check=replace(end_of_log(Collector())).check)
    assert between(log, since=first, until=since).size == since.offset


def test_a_file_that_was_cut_off() -> None:
    log, place = write_three_files()
    log.content["a.csv"] = log.content["a.csv"][:10]
    with pytest.raises(Inexact, match=r"a\.csv is not the one"):
        everything(log, place)
    log, _ = write_three_files()
    place = end_of_log(log)
    log.content["z.csv"] = log.content["z.csv"][:-1]
    log.row()
    with pytest.raises(Inexact, match=r"z\.csv was cut off"):
        everything(log, place)


def test_files_that_are_changed_while_they_are_read() -> None:
    log, since = write_three_files()
    stretch = between(log, since=since, until=end_of_log(log))
    log.content["b.csv"] = log.content["b.csv"][:-1]
    with pytest.raises(Inexact, match=r"b\.csv was cut off while"):
        list(read_on(log, stretch))
    log.passes(1)
    log.rotate("b.csv")
    for _ in range(5):
        log.row()
    with pytest.raises(Inexact, match=r"b\.csv was written anew while"):
        list(read_on(log, stretch))
    log.forget("b.csv")
    with pytest.raises(Inexact, match=r"b\.csv was removed"):
        list(read_on(log, stretch))


def test_names_that_come_again_before_anybody_has_read() -> None:
    log = Collector()
    place = end_of_log(log)
    for name in ("b.csv", "c.csv", "b.csv", "c.csv"):
        log.row()
        log.passes(60)
        log.rotate(name, truncate=False)
        log.row()
    with pytest.raises(Inexact, match="overlap in time"):
        everything(log, place)


def test_two_servers_that_share_a_directory() -> None:
    log = Collector()
    place = end_of_log(log)
    log.row()
    log.name = "of the other.csv"
    log.content[log.name] = b""
    log.row()
    log.name = "a.csv"
    with pytest.raises(Inexact, match="in turn"):
        everything(log, place)


def test_a_clock_that_was_put_back() -> None:
    log, place = write_three_files()
    log.passes(-600)
    log.rotate("later.csv")
    log.row()
    with pytest.raises(Inexact, match="overlap in time"):
        everything(log, place)


def test_summer_time_ends() -> None:
    log = Collector(zone="CEST")
    place = end_of_log(log)
    log.row()
    real = log.now
    for hour, (shown, zone) in enumerate([(-0.5, "CET"), (0.6, "CET")]):
        log.zone, log.now = zone, real + timedelta(hours=shown)
        log.rotate(f"{9 - hour}.csv")
        log.row(b"in that hour")
        log.modified[log.name] = int(real.timestamp()) + 3600 * (hour + 1)
    assert everything(log, place)[1] == b"".join(piece for _, piece in log.written)


def test_a_file_that_is_no_log() -> None:
    log, place = write_three_files()
    log.content["report.csv"] = b"name,value\n"
    with pytest.raises(Inexact, match=r"report\.csv .*has no rows of a log"):
        everything(log, place)


def test_files_whose_order_nothing_tells() -> None:
    log, place = write_three_files()
    log.modified["z.csv"], log.modified["b.csv"] = log.modified["b.csv"], log.modified["z.csv"]
    with pytest.raises(Inexact, match="overlap in time"):
        everything(log, place)
    log.modified["z.csv"] = log.modified["b.csv"]
    log.content["z.csv"] = log.content["z.csv"].replace(b"CET", b"CEST")
    with pytest.raises(Inexact, match="not certain"):
        everything(log, place)


# --- places ------------------------------------------------------------------------------------


def test_a_place_travels_as_json() -> None:
    place = end_of_log(write_three_files()[0])
    assert records.from_bytes(LogPlace, json.dumps(records.encode(place)).encode()) == place
    assert set(place.others) == {"a.csv", "z.csv", "b.csv"}


def test_segments_say_where_files_begin() -> None:
    log, place = write_three_files()
    stretch, content = everything(log, place)
    assert [(segment.name, segment.start == 0) for segment in stretch.segments] == [
        ("a.csv", False),
        ("z.csv", True),
        ("b.csv", True),
        ("m.csv", True),
    ]
    for segment in stretch.segments[1:]:
        assert content[segment.place :].startswith(log.content[segment.name][:20])


def test_no_log_at_all() -> None:
    class Silent(Collector):
        def current(self) -> str | None:
            return None

    with pytest.raises(ConfigError, match="writes no CSV log"):
        end_of_log(Silent())
    log = Collector()
    log.content.clear()
    with pytest.raises(Unavailable, match="pg_rotate_logfile"):
        end_of_log(log)


def test_files_change_while_one_looks() -> None:
    @dataclass
    class Busy(Collector):
        asked: int = 0

        def current(self) -> str | None:
            self.asked += 1
            if self.asked == 2:
                self.passes(1)
                self.rotate("b.csv")
            return super().current()

    log = Busy()
    log.row()
    place = end_of_log(log)
    assert place.file == "b.csv"
    assert place.others["a.csv"].size == len(log.content["a.csv"])


# --- waiting -----------------------------------------------------------------------------------


def test_a_marker_is_found_as_a_row_of_its_own() -> None:
    @dataclass
    class Slow(Collector):
        """Writes the marker's row in two pieces, some time after the statement's, and then goes on."""

        asked: int = 0

        def current(self) -> str | None:
            self.asked += 1
            if self.asked == 3:
                self.row(b"statement: DO $$BEGIN RAISE LOG 'the mark'; END$$")
                self.write(b'2026-01-31 12:00:00.000 CET,"app","db",LOG,00000,"the ma')
            if self.asked == 5:
                self.write(b'rk",,"with ""quotes"" and a\nnewline",,')
            if self.asked == 7:
                self.write(b'"psql"\n')
                self.row(b"afterwards")
            return super().current()

    log = Slow()
    log.row()
    since = end_of_log(log)
    place = wait_for(log, b"the mark", since, patience=30)
    rest = everything(log, place)[1]
    assert rest.endswith(b'"afterwards",,\n')
    assert rest.count(b"\n") == 1


def test_a_marker_before_other_files() -> None:
    log, since = write_three_files()
    place = wait_for(log, b"z.csv", since, patience=1)
    assert (place.file, list(place.others)) == ("z.csv", ["a.csv"])
    assert everything(log, place)[1].count(b"\n") == 4


def test_a_marker_that_does_not_come() -> None:
    log, since = write_three_files()
    with pytest.raises(Unavailable, match="not in the server's CSV log after 0 seconds"):
        wait_for(log, b"the mark", since, patience=0)


# --- times and directories ---------------------------------------------------------------------


def test_row_times() -> None:
    assert row_time("2026-01-31 12:00:00.123 CET") is not None
    for text in ("", "name", "2026-13-31 12:00:00.123 CET", "2026-01-31 12:00:00.123", "\\x00"):
        assert row_time(text) is None
    assert last_row_time([]) is None
    pieces = [b"no row\nbegins here,", b'2026-01-31 12:00:01.000 CET,"a\n2026-01-31 12:00:02.000 CET,b']
    found = last_row_time(pieces)
    assert found is not None
    assert found.moment.second == 2


def test_a_row_that_is_longer_than_what_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "TAIL", 100)
    log = Collector()
    place = end_of_log(log)
    log.row(b"x" * 1000)
    log.passes(-60)
    log.rotate("b.csv")
    log.row()
    with pytest.raises(Inexact, match="overlap in time"):
        everything(log, place)


def test_a_directory(tmp_path: Path) -> None:
    files = DirectoryLogFiles(path=tmp_path, asked=lambda: "b.csv")
    for number, name in enumerate(["b.csv", "a.csv", "a.log"]):
        (tmp_path / name).write_bytes(b"2026-01-31 12:00:00.123 CET,1" * number)
        os.utime(tmp_path / name, ns=(0, number))
    (tmp_path / "d.csv").mkdir()
    (tmp_path / ".hidden.csv").touch()
    assert [(file.name, file.size, file.begins) for file in files.listing()] == [
        ("a.csv", 29, "2026-01-31 12:00:00.123 CET"),
        ("b.csv", 0, ""),
    ]
    assert files.current() == "b.csv"
    assert files.read("a.csv", 5, 2) == b"01"
    assert files.read("a.csv", 500, 2) == b""
    assert files.read("gone.csv", 0, 2) is None


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="log_directory"):
        DirectoryLogFiles(path=tmp_path / "nowhere", asked=lambda: None).listing()


def test_a_directory_that_may_not_be_read(tmp_path: Path) -> None:
    """Root may read everything, so it is somebody else for that moment."""
    tmp_path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        with pytest.raises(ConfigError, match="may not be read"):
            DirectoryLogFiles(path=tmp_path, asked=lambda: None).listing()
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
