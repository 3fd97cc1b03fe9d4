"""The command line refuses what cannot be meant, before anything is opened: what, why, and what to write instead."""

from dataclasses import replace
from pathlib import Path

import pytest

from fix_memory_node import ORIGIN, MemoryNode
from in_airflow.world import World
from pgkeep import backup, settings, wiring
from pgkeep.cli import keep, main
from pgkeep.cli.pending import pending
from pgkeep.errors import ConfigError
from pgkeep.meter import unwatched
from pgkeep.model import KeyFingerprint
from pgkeep.testing import MemorySealer


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (["init", ""], "NAME"),
        (["init", "shop", "--source", ""], "--source"),
        (["backup", " "], "NAME"),
        (["check", ""], "NAME"),
        (["list", "shop", "--journal", ""], "--journal"),
        (["restore", "", "--into", "c/shop"], "NAME"),
        (["restore", "shop", "--into", ""], "--into"),
        (["fetch", "x", "--database", ""], "--database"),
        (["drill", ""], "NAME"),
        (["drill", "shop", "--into", ""], "--into"),
        (["retire", ""], "NAME"),
        (["rekey", ""], "NAME"),
    ],
)
def test_what_is_empty_is_named(arguments: list[str], about: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(arguments, capsys).endswith(
        f"argument {about}: is empty, perhaps for a variable that is not set. Next: write what it stands for"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["restore", "shop", "--into", "c/x", "--at", "2026-01-31T14:05:00"], "write it as 2026-01-31T14:05:00Z"),
        (["restore", "shop", "--into", "c/x", "--at", "yesterday"], "'yesterday' is no moment with its time zone"),
        (["backup", "shop", "--wait", "-1"], "no number of seconds from 0 up"),
    ],
)
def test_what_is_no_such_thing_says_how_it_is_written(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(arguments, capsys)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.strip()


def test_a_target_without_a_server() -> None:
    with pytest.raises(ConfigError, match="names no server"):
        wiring.target("/shop", settings.from_environment({}))


def test_peers_that_are_slow_hold_no_list_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The newest are asked for first; what was not asked is not known."""
    node = MemoryNode()
    node.full()
    node.full()
    entries = [entry for entry in node.journal.entries if entry.backup.parts]
    assert [copies for _, copies in keep.with_copies(entries, node.vault)] == [3, 3]
    clock = iter([0.0, 1.0, keep.PATIENCE + 1.0])
    monkeypatch.setattr(keep, "TOGETHER", 1)
    monkeypatch.setattr("pgkeep.cli.keep.time.monotonic", lambda: next(clock))
    assert [copies for _, copies in keep.with_copies(entries, node.vault)] == [None, 3]
    assert f"entries up to {entries[0].sequence} have now was not asked: peers are slow" in caplog.text


def test_an_unfinished_backup_is_gone_on_with_by_its_own_configuration_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    world = World()
    site = world.site("shop")
    sealed = backup.check(site.full(origin=ORIGIN, patience=0.0, watch=unwatched), site.sealer, site.vault)
    pending(site).write(sealed)
    assert pending(world.site("shop")).read() == sealed
    assert pending(site).path("full").stat().st_mode & 0o777 == 0o600
    pending(site).write(replace(sealed, backup=replace(sealed.backup, kind="changes")))
    assert pending(site).read() == sealed, "an hour's changes do not take its place"
    elsewhere = World()
    elsewhere.vault.peers.reverse()
    world.sealer = replace(world.sealer, signer=KeyFingerprint("B" * 40))
    for other in (elsewhere.site("shop"), world.site("shop")):
        with pytest.raises(ConfigError, match=r"no unfinished backup of shop is known here.*pgkeep backup shop"):
            pending(other).read()
    world.sealer = replace(MemorySealer(), recipients=(KeyFingerprint("C" * 40),))
    with pytest.raises(ConfigError, match="is not encrypted for the keys configured now"):
        pending(world.site("shop")).read()
    pending(site).forget(sealed)
    site_file = pending(site).path("changes")
    site_file.write_bytes(b"")
    with pytest.raises(ConfigError, match=f"{site_file} is no note of a backup.*remove that file"):
        pending(site).read()
    pending(site).forget(replace(sealed, backup=replace(sealed.backup, kind="changes")))
    assert not list((tmp_path / "pgkeep").iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    keep.carry_through(site, sealed, origin=ORIGIN, patience=0.0)
    assert "cannot be written (Not a directory): this backup cannot be gone on with" in caplog.text
    assert world.source.released == [1]
