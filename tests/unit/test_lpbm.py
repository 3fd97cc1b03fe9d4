"""Moving from LPBM: its journal, its encryption, and the stories over the doubles."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_lpbm import PASSWORD, Legacy, encrypted
from pgkeep import ancestry, backup, lpbm, sentences
from pgkeep.adapters.lpbm import Folder, LegacyOpener
from pgkeep.ancestry import Failures, LegacyFile, newest, read_journal, write_journal
from pgkeep.errors import ConfigError, Corrupted, NotRestorable
from pgkeep.model import Cid
from pgkeep.testing import MemoryTarget, MemoryVault
from unit.test_changes import World as Kept
from unit.test_stories import ORIGIN, World

A, B = "Qm" + "a" * 44, "bafy" + "b" * 55

# --- its journal -------------------------------------------------------------------------------------------------

EARLIEST, LATEST = datetime.fromisoformat("2000-01-02"), datetime.fromisoformat("2100-01-01")
cids = st.sampled_from([A, B])
moments = st.datetimes(min_value=EARLIEST, max_value=LATEST, timezones=st.just(UTC))
kinds = st.sampled_from(["full", "delta"])
DUMP = "dump_2022-04-07-01-00-01.sql.enc"


def test_lines_that_are_older_than_its_names_are_kept_and_never_used() -> None:
    """`ipfs-cluster-ctl add` wrote three words; before it there were dumps, whose names LPBM later wrote shorter."""
    text = f"added {A} {DUMP}\n{B} dump_2022-04-08-02-30.sql.enc\nadded {A}\t2023-01-01T00:00:00.000Z-full.sql.enc\n"
    files = read_journal(text, path="journal.txt")
    assert [(file.kind, file.time) for file in files] == [
        ("dump", "2022-04-07T01:00:01.000000Z"),
        ("dump", "2022-04-08T02:30:00.000000Z"),
        ("full", "2023-01-01T00:00:00.000000Z"),
    ]
    assert write_journal(files).decode() == text.replace("added ", "").replace("\t", " ")
    assert newest(files, path="journal.txt") == files[2:]
    assert " dump " in sentences.legacy_table(files, files[2:])


def test_a_dump_behind_the_newest_full_is_not_passed_over() -> None:
    files = read_journal(f"{A} 2022-01-01T00:00:00Z-full.sql.enc\n{A} {DUMP}\n", path="journal.txt")
    with pytest.raises(NotRestorable, match=rf"line 2: {DUMP} .* is older than LPBM"):
        newest(files, path="journal.txt")


@given(st.lists(st.tuples(moments, cids, kinds)), st.integers(-14, 14), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_every_line_of_its_journal_is_read(found: list[tuple[datetime, str, str]], hours: int, line_end: str) -> None:
    zone = timezone(timedelta(hours=hours))
    lines = [f"{cid} {when.astimezone(zone).isoformat()}-{kind}.sql.enc" for when, cid, kind in sorted(found)]
    files = read_journal("".join(line + line_end for line in lines), path="journal.txt")
    assert [f"{file.cid} {file.name}" for file in files] == lines
    assert [(file.cid, file.kind) for file in files] == [(cid, kind) for _, cid, kind in sorted(found)]
    again = read_journal(write_journal(files).decode(), path="ancestry")
    assert [(file.cid, file.name, file.time) for file in again] == [(file.cid, file.name, file.time) for file in files]


@given(st.lists(kinds))
def test_the_newest_restore_begins_with_the_last_full(found: list[str]) -> None:
    files = journal(*found)
    if "full" not in found:
        with pytest.raises(NotRestorable, match="no full backup"):
            newest(files, path="journal.txt")
        return
    used = newest(files, path="journal.txt")
    assert [file.kind for file in used] == ["full", *["delta"] * (len(used) - 1)]
    assert used[-1] == files[-1]


@pytest.mark.parametrize(
    "odd",
    [
        f"{A}",
        f"{A} 2023-05-01T00:00:00Z-full.sql",
        f"{A} 2023-05-01T00:00:00Z-partial.sql.enc",
        f"{A} 2023-13-01T00:00:00Z-full.sql.enc",
        f"../{A} 2023-05-01T00:00:00Z-full.sql.enc",
        f"{A} ../2023-05-01T00:00:00Z-full.sql.enc",
        "Qm 2023-05-01T00:00:00Z-full.sql.enc",
        f"{A} 2023-05-01T00:00:00Z-full.sql.enc and more",
        f"{A} 2022-12-31T23:59:59Z-delta.sql.enc",
        f"{A} dump_2023-13-01-00-00-00.sql.enc",
        f"{A} dump_2023-12-01.sql.enc",
        f"removed {A} 2023-05-01T00:00:00Z-full.sql.enc",
    ],
)
def test_an_odd_line_is_named(odd: str) -> None:
    text = f"{A} 2023-01-01T00:00:00Z-full.sql.enc\n\n{odd}\n"
    with pytest.raises(Corrupted, match=r"^old/journal.txt, line 3 .*expected: <CID> <ISO date>-full.sql.enc or"):
        read_journal(text, path="old/journal.txt")


def journal(*found: str) -> tuple[LegacyFile, ...]:
    lines = [f"{A} 2023-01-01T00:{i // 60:02}:{i % 60:02}Z-{kind}.sql.enc\n" for i, kind in enumerate(found)]
    return read_journal("".join(lines), path="journal.txt")


def test_the_list_marks_what_the_newest_restore_uses() -> None:
    files = journal("full", "delta", "full", "delta")
    said = sentences.legacy_table(files, newest(files, path="journal.txt")).splitlines()
    assert [line[0] for line in said] == [" ", " ", " ", "*", "*", "*"]
    assert said[4].split() == ["*", "4", "delta", "2023-01-01", "00:00:03", "UTC", A]
    assert "the full of 2023-01-01 00:00:02 UTC (line 3) and 1 delta up to" in said[-1]
    assert "nothing can be restored" in sentences.legacy_table(journal("delta"), ())


# --- the stories -------------------------------------------------------------------------------------------------

DONE = b"\n-- PostgreSQL database dump complete\n--\n\n"


def replay(folder: Path, *plain: bytes, target: MemoryTarget, keep_going: bool = False) -> lpbm.Replayed:
    legacy = Legacy(folder)
    for number, text in enumerate(plain):
        legacy.add("delta" if number else "full", text, by_cid=number % 2 == 1)
    way = read_journal(legacy.journal.read_text(), path="journal.txt")
    opener = LegacyOpener(password=PASSWORD.encode())
    return lpbm.restore(way, Folder(path=folder), opener, target, keep_going=keep_going)


def test_a_full_and_its_deltas_take_the_place(tmp_path: Path) -> None:
    target = MemoryTarget()
    replayed = replay(tmp_path, b"3" + DONE, b"4\n", b"5\n", target=target)
    assert target.database is not None
    assert target.database.totals.rows == 12
    said = sentences.replayed_line(replayed, "db/shop")
    assert "and 2 deltas up to 2023-05-01 02:00:00 UTC; no statement failed. Nothing was compared" in said
    lpbm.require_success(replayed, label="db/shop")


def test_an_archive_is_restored_and_its_deltas_replayed(tmp_path: Path) -> None:
    target = MemoryTarget()
    replay(tmp_path, ancestry.ARCHIVE + b"\0\n3\n", b"4\n", target=target)
    assert target.database is not None
    assert target.database.totals.rows == 7


def test_a_delta_is_no_archive(tmp_path: Path) -> None:
    target = MemoryTarget()
    replayed = replay(tmp_path, b"3" + DONE, ancestry.ARCHIVE + b"\n4\nbad\n", target=target, keep_going=True)
    assert [failures.count for _, failures in replayed.files] == [0, 1]


def test_the_first_error_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    target = MemoryTarget()
    with pytest.raises(NotRestorable, match=r"the delta .*, line 2 of LPBM's journal, .*: line 2: it is bad; nothing"):
        replay(tmp_path, b"3" + DONE, b"4\nbad\n5\n", target=target)
    assert (target.database, target.leftovers) == (None, 0)


def test_going_on_says_what_failed_in_the_end(tmp_path: Path) -> None:
    target = MemoryTarget()
    replayed = replay(tmp_path, b"3" + DONE, b"4\nbad\n5\n", b"bad\n" * 9, target=target, keep_going=True)
    assert target.database is not None
    assert target.database.totals.rows == 12
    assert [failures.count for _, failures in replayed.files] == [0, 1, 9]
    with pytest.raises(NotRestorable, match=r"10 of its statements failed, in 2 of 3 files: .* 9 failed") as caught:
        lpbm.require_success(replayed, label="db/shop")
    assert str(caught.value).count("it is bad") == 1 + lpbm.FIRST
    lines = [*sentences.failed_lines(replayed)]
    assert len(lines) == 10
    assert lines[0] == f"failed: {replayed.files[1][0].name}, line 2: it is bad"
    many = replace(replayed, files=((replayed.files[0][0], Failures(count=7, said=("line 1: no",))),))
    assert [*sentences.failed_lines(many)][1].endswith("and 6 more")


def test_a_full_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    target = MemoryTarget()
    with pytest.raises(NotRestorable, match="it was cut off"):
        replay(tmp_path, b"3\n", target=target)
    assert target.database is None
    replayed = replay(tmp_path, b"3\n", target=target, keep_going=True)
    with pytest.raises(NotRestorable, match="it was cut off"):
        lpbm.require_success(replayed, label="db/shop")


def test_nothing_begins_before_all_files_are_there(tmp_path: Path) -> None:
    legacy, target = Legacy(tmp_path), MemoryTarget()
    for kind in ("full", "delta", "delta"):
        legacy.add(kind, b"3" + DONE)
    way = read_journal(legacy.journal.read_text(), path="journal.txt")
    (tmp_path / way[1].name).unlink()
    (tmp_path / way[2].name).unlink()
    opener = LegacyOpener(password=PASSWORD.encode())
    with pytest.raises(NotRestorable, match=f"lacks {re.escape(str(way[1]))}, {re.escape(str(way[2]))}"):
        lpbm.restore(way, Folder(path=tmp_path), opener, target)
    with pytest.raises(NotRestorable, match=f"no peer gives {re.escape(way[0].name)}"):
        lpbm.restore(way, lpbm.VaultArchive(vault=MemoryVault()), opener, target)
    assert target.leftovers == 0


def test_the_cluster_gives_its_files(tmp_path: Path) -> None:
    vault, target = MemoryVault(), MemoryTarget()
    cid = vault.add(iter([encrypted(b"3" + DONE)]), name="of LPBM")
    (way,) = read_journal(f"{A} 2023-05-01T00:00:00Z-full.sql.enc", path="journal.txt")
    archive = lpbm.VaultArchive(vault=vault)
    assert b"".join(archive.read_cid(Cid(cid)))[32:]
    with pytest.raises(NotRestorable):
        archive.require([way])
    assert target.database is None


# --- the ancestry ------------------------------------------------------------------------------------------------


def test_the_first_full_backup_names_the_ancestors() -> None:
    world, files = World(), journal("full", "delta", "full")
    world.journals.begin()
    world.full()  # Airflow was faster
    lpbm.require_not_imported(world.journals.head_for_writing().journal)
    stored = backup.capture(
        world.source, world.sealer, world.vault, world.journals, origin=ORIGIN, ancestry=write_journal(files)
    )
    entry = world.record(backup.check(stored, world.sealer, world.vault))
    assert [(file.cid, file.name) for file in lpbm.ancestors(entry, world.sealer, world.vault)] == [
        (file.cid, file.name) for file in files
    ]
    assert sentences.continues(entry, files).startswith("entry 2 continues 3 files of LPBM: pgkeep fetch ")
    with pytest.raises(ConfigError, match=r"entry 2 of .* names LPBM's files already"):
        lpbm.require_not_imported(world.journals.head_for_writing().journal)


def test_an_import_that_was_interrupted_can_be_repeated() -> None:
    """The gap with which changes begin to be kept is recorded before the full backup is."""
    kept = Kept()
    run = replace(kept.run, ancestry=write_journal(journal("full", "delta")))
    run.full()
    assert kept.kinds == ["gap"]
    lpbm.require_not_imported(kept.journal)
    entry = run.finish(run.full())
    assert kept.kinds == ["gap", "changes", "full"]
    assert len(lpbm.ancestors(entry, kept.sealer, kept.vault)) == 2
    assert lpbm.ancestors(kept.full(), kept.sealer, kept.vault) == ()


def test_other_backups_have_no_ancestors() -> None:
    world = World()
    world.journals.begin()
    assert lpbm.ancestors(world.full(), world.sealer, world.vault) == ()
