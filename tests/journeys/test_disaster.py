"""Everything is lost but one peer's disk and a private key: the disaster page, command by command as it is printed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fix_docs import commands
from fix_node import Node, wait_for
from pgkeep import sandbox as servers
from pgkeep import settings
from pgkeep.sandbox import peer_servers
from pgkeep.sandbox.tcp_ports import is_free

PEERS = ("cluster-1", "cluster-2", "cluster-3", "kubo-1", "kubo-2", "kubo-3")


def run(lines: list[str], environ: Mapping[str, str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        env={**environ, "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def survivor(node: Node, shop: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """After a backup every peer dies, and nothing is left but a copy of the second one's Kubo directory."""
    node.pgkeep("backup", shop, "--full")
    for server in PEERS:
        node.kill(server)
    disk = tmp_path / "disk"
    shutil.copytree(peer_servers.homes(node.home)[1].ipfs, disk, ignore=shutil.ignore_patterns("*.sock"))
    url = node.connection("KUBO", 2)
    environ = {
        **node.environ,
        "IPFS_PATH": str(disk),
        "NAME": shop,
        "SURVIVOR": f"{url['host']}:{url['port']}",
        "PGKEEP_CONFIG": str(written(node, tmp_path / "disaster.toml")),
    }
    run(commands("docs/disaster.md", "A copied disk as a peer"), environ, tmp_path)
    yield environ
    run(["ipfs shutdown"], environ, tmp_path)
    wait_for(lambda: is_free(int(url["port"])))
    servers.up(node.home, airflow=False, isolated=False, report=print)


def written(node: Node, path: Path) -> Path:
    """The page's settings with the real fingerprints in them."""
    keys = settings.load(node.environ["PGKEEP_CONFIG"]).keys
    page = (Path(__file__).parents[2] / "docs" / "disaster.md").read_text(encoding="utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    text = text.replace("/media/safe/gnupg", str(keys.gnupghome)).replace("THE NODE'S FINGERPRINT", keys.node)
    path.write_text(text.replace("YOUR FINGERPRINT", keys.recipients[0]), encoding="utf-8")
    return path


def test_with_pgkeep(node: Node, shop: str, survivor: dict[str, str], tmp_path: Path) -> None:
    said = run(
        commands("docs/disaster.md", "With pgkeep"), {**survivor, "TARGET": node.target(f"disaster_{shop}")}, tmp_path
    )
    assert "? of 3" in said
    assert "equal to its source" in said
    assert node.measure(f"disaster_{shop}", server="SCRATCH") == node.measure(shop)


def test_without_pgkeep(node: Node, shop: str, survivor: dict[str, str], tmp_path: Path) -> None:
    node.psql(f"CREATE DATABASE by_hand_{shop}", server="SCRATCH")
    environ = {**survivor, "TARGET": node.target(f"by_hand_{shop}")}
    said = run(commands("docs/disaster.md", "Without pgkeep"), environ, tmp_path)
    assert said.count("Good signature") == 2
    assert node.measure(f"by_hand_{shop}", server="SCRATCH") == node.measure(shop)


def test_the_clusters_memory_is_lost_and_kubos_names_are_enough(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    for server in PEERS[:3]:
        node.kill(server)
    for home in peer_servers.homes(node.home):
        shutil.rmtree(home.cluster / "leveldb")
    node.heal()
    assert node.rest("GET", "/allocations") == []
    assert [entry["sequence"] for entry in node.entries(shop)] == [1]
    node.pgkeep("restore", shop, "--into", node.target(shop))
    node.pgkeep("backup", shop, "--full")
    assert [entry["sequence"] for entry in node.entries(shop)] == [1, 2]
