"""kill -9 at any moment of a real backup: the journal stays whole, and the next try succeeds."""

import signal
import time
from pathlib import Path

from fix_node import Node

MOMENTS = 12


def seconds(node: Node, name: str) -> float:
    started = time.monotonic()
    node.pgkeep("backup", name, "--full")
    return time.monotonic() - started


def test_killed_at_many_moments_and_never_a_lie(node: Node, shop: str, tmp_path: Path) -> None:
    node = Node(home=node.home, environ={**node.environ, "XDG_STATE_HOME": str(tmp_path)})
    usual = min(seconds(node, shop), seconds(node, shop))
    codes = list[int]()
    for moment in range(MOMENTS):
        before = len(node.entries(shop))
        backup = node.start("backup", shop, "--full")
        time.sleep(usual * moment / MOMENTS)
        backup.kill()
        backup.communicate()
        codes.append(backup.returncode)
        entries = node.entries(shop)
        assert len(entries) - before in (0, 1)
        assert all(entry["copies_now"] == 3 for entry in entries), "what is named is held"
    assert codes.count(-signal.SIGKILL) >= MOMENTS // 3, "else hardly anything was killed"
    node.pgkeep("backup", shop, "--full")
    sequences = [entry["sequence"] for entry in node.entries(shop)]
    assert sequences == list(range(1, len(sequences) + 1))
    node.pgkeep("restore", shop, "--into", node.target(shop))
    assert node.measure(shop, server="SCRATCH") == node.measure(shop)


def test_what_was_stored_before_a_peer_went_missing_is_gone_on_with(node: Node, shop: str, tmp_path: Path) -> None:
    """No new dump: the resumed backup shows the moment of the first try."""
    node = Node(home=node.home, environ={**node.environ, "XDG_STATE_HOME": str(tmp_path)})
    node.kill("cluster-3")
    failed = node.start("backup", shop, "--full", "--wait", "3")
    _, said = failed.communicate(timeout=120)
    assert failed.returncode in (4, 5), said
    (pending,) = (tmp_path / "pgkeep").iterdir()
    assert pending.stat().st_mode & 0o777 == 0o600
    node.psql("CREATE TABLE made_later (x int)", dbname=shop)
    node.heal()
    node.pgkeep("backup", shop, "--full", "--resume")
    assert not pending.exists()
    node.pgkeep("restore", shop, "--into", node.target(shop))
    assert node.psql("SELECT to_regclass('made_later') IS NULL", dbname=shop, server="SCRATCH") == "t"
    assert "no unfinished backup" in node.pgkeep("backup", shop, "--full", "--resume", code=3).stderr
