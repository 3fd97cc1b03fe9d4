"""The command line refuses what cannot be meant, before anything is opened: what, why, and what to write instead."""

import pytest

from fix_memory_node import MemoryNode
from pgkeep import settings, wiring
from pgkeep.cli import keep, main
from pgkeep.errors import ConfigError


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
