"""Everything at the same time on one real node, and killed in the middle: what is kept stays whole."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fix_docs import commands
from fix_node import Node, pgkeep_program, wait_for
from pgkeep.sandbox import peer_servers

# A drill needs the newest two full backups, so these stay; what is before them goes.
LITTLE = """\
scratch = "pgkeep_scratch"
keep_last = 2
keep_hourly = 0
keep_daily = 0
keep_weekly = 0
keep_monthly = 0
keep_yearly = 0
min_full = 1
"""


@pytest.fixture
def three(node: Node, kept: str) -> str:
    """Three full backups with changes between them, the newest proven: the next retirement lets go of the first."""
    path = Path(node.environ["PGKEEP_CONFIG"])
    section = f"[databases.{kept}]\n"
    path.write_text(path.read_text(encoding="utf-8").replace(section, section + LITTLE), encoding="utf-8")
    node.pgkeep("backup", kept)
    node.psql("CREATE TABLE visit (id serial PRIMARY KEY, t text)", dbname=kept)
    for _ in range(2):
        visit(node, kept)
        node.pgkeep("backup", kept, "--full")
    node.pgkeep("drill", kept)
    assert kinds(node, kept).count("full") == 3
    return kept


def visit(node: Node, name: str) -> None:
    node.psql("INSERT INTO visit (t) SELECT 'x' FROM generate_series(1, 5)", dbname=name)


def kinds(node: Node, name: str) -> list[str]:
    return [str(entry["backup"]["kind"]) for entry in node.entries(name)]


def sequences(node: Node, name: str) -> list[int]:
    return [int(entry["sequence"]) for entry in node.entries(name)]


def held(entries: list[dict[str, Any]]) -> bool:
    return all(entry["copies_now"] == 3 for entry in entries if entry["backup"]["parts"])


def damage(node: Node, name: str) -> set[str]:
    """The oldest and the newest dump rot, each at another peer, and a crash has left something. Litter's names."""
    dumps = [part["cid"] for entry in node.entries(name) for part in entry["backup"]["parts"] if part["name"] == "dump"]
    node.flip(dumps[0], peer=2)
    litter = f"pgkeep/{name}/full/2/dump"
    node.rpc("add", data=name.encode(), pin="true", pin_name=litter, cid_version=1)
    return {litter}


def sound(node: Node, name: str) -> None:
    """All that the journal names is held, proven by reading it, and comes back as it is at the source."""
    assert "all is well" in node.pgkeep("audit", name, "--share", "1").stdout
    assert held(node.entries(name))
    node.pgkeep("backup", name)
    node.pgkeep("restore", name, "--into", node.target(name))
    assert node.measure(name, server="SCRATCH") == node.measure(name)


def test_audit_retirement_drill_and_backups_at_the_same_time(node: Node, three: str) -> None:
    litter = damage(node, three)
    before = sequences(node, three)
    visit(node, three)
    everything = [
        ("audit", three, "--share", "1"),
        ("retire", three),
        ("drill", three),
        ("backup", three),
        ("backup", three, "--full"),
        ("audit", three, "--share", "1"),
    ]
    running = [node.start(*command) for command in everything]
    for command, process in zip(everything, running, strict=True):
        said = process.communicate(timeout=300)
        assert process.returncode in (0, 4, 5), (command, said)  # 4: another was faster; 5: what it held has left
        assert "Traceback" not in said[1], (command, said)
    after = sequences(node, three)
    assert after == sorted(set(after))
    node.pgkeep("retire", three)
    left = sequences(node, three)
    assert before[1] not in left, "the first full backup is gone"
    assert left == [number for number in after if number >= left[0]]
    assert litter <= node.pins(), "its grace is not over"
    sound(node, three)
    node.pgkeep("drill", three)


def test_killed_in_the_middle_of_an_audit_and_of_a_retirement(node: Node, three: str) -> None:
    started = time.monotonic()
    node.pgkeep("audit", three, "--share", "1", "--dry-run")
    usual = time.monotonic() - started
    litter, first = damage(node, three), node.entries(three)[1]
    before, going = sequences(node, three), {part["cid"] for part in first["backup"]["parts"]}
    for words in (("audit", three, "--share", "1"), ("retire", three)):
        for moment in (0.5, 0.8, 1.0, 1.2):
            process = node.start(*words)
            time.sleep(usual * moment)
            process.kill()
            process.communicate()
            entries = node.entries(three)
            assert held(entries), "what is named is held"
            assert before[-len(entries) :] == [entry["sequence"] for entry in entries]
        said = node.pgkeep(*words).stdout
        assert words[0] != "audit" or "all is well" in said
    assert first["sequence"] not in sequences(node, three)
    assert not going & {str(pin["cid"]) for pin in node.rest("GET", "/allocations")}
    assert litter <= node.pins()
    sound(node, three)


def test_bytes_that_are_flipped_deleted_or_gone_with_their_disk(node: Node, shop: str) -> None:
    """By the operator's own command, each peer in another way."""
    node.pgkeep("backup", shop, "--full")
    cid = node.dump_of(shop)
    node.flip(cid, peer=1)
    node.blocks(cid, peer=3)[-1].unlink()
    said = node.pgkeep("audit", shop, "--share", "1").stdout
    for name in ("pgkeep_cluster", "pgkeep_cluster_3"):
        assert f"REPAIRED dump of entry 1 ({cid}) at {name}: " in said
    node.replace_disk(2)
    report = json.loads(node.pgkeep("audit", shop, "--share", "1", "--json").stdout)
    assert {repair["peer"] for repair in report["repairs"]} <= {"pgkeep_cluster_2"}, "a cluster mends some by itself"
    assert [peer["read"] for peer in report["peers"]] == [report["objects"]] * 3
    for peer in (1, 3):
        node.kill(f"cluster-{peer}")
        node.kill(f"kubo-{peer}")
    node.pgkeep("restore", shop, "--into", node.target(shop))
    assert node.measure(shop, server="SCRATCH") == node.measure(shop)


def test_two_of_three_peers_are_lost_for_good(node: Node, shop: str) -> None:
    """The node's own one too. New ones with new identities take their places, as docs/operating.md says."""
    for _ in range(2):
        node.pgkeep("backup", shop, "--full")
    before, old, lost = node.entries(shop), identities(node), (1, 3)
    for peer in (1, 2, 3):  # the survivor has to learn the others' identities, and starts anew
        node.kill(f"cluster-{peer}")
        node.kill(f"kubo-{peer}")
    for peer in lost:
        shutil.rmtree(peer_servers.homes(node.home)[peer - 1].directory)
    node.heal()
    new = identities(node)
    assert [one == other for one, other in zip(old, new, strict=True)] == [False, True, False]
    wait_for(lambda: {entry["copies_now"] for entry in node.entries(shop)} == {1})
    said = "".join(run(line, node, NAME=shop) for line in commands("docs/operating.md", "A peer that is lost for good"))
    assert said.count("replicated anew") >= 2 * (3 * len(before) + 3), "parts of the entries, versions of the journal"
    assert "all is well again" in said
    assert [entry | {"copies_now": 1} for entry in node.entries(shop)] == [e | {"copies_now": 1} for e in before]
    assert {entry["copies_now"] for entry in node.entries(shop)} == {3}
    for peer in lost:
        for other in {1, 2, 3} - {peer}:
            node.kill(f"cluster-{other}")
            node.kill(f"kubo-{other}")
        node.pgkeep("restore", shop, "--into", node.target(f"{shop}_{peer}"))
        assert node.measure(f"{shop}_{peer}", server="SCRATCH") == node.measure(shop)
        node.heal()
    node.pgkeep("backup", shop, "--full")
    assert "all is well" in node.pgkeep("audit", shop, "--share", "1").stdout


def identities(node: Node) -> list[tuple[str, str]]:
    return [home.identities() for home in peer_servers.homes(node.home)]


def run(line: str, node: Node, **variables: str) -> str:
    path = f"{Path(pgkeep_program()).parent}:{node.environ['PATH']}"
    environ = {**node.environ, **variables, "PATH": path}
    done = subprocess.run(["sh", "-ec", line], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout
