"""The README's commands, run as they are printed there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fix_docs import commands
from fix_node import Node


def run(node: Node, command: str) -> str:
    """As in a shell with the sandbox's environment and pgkeep on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{node.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**node.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_first_screen_is_true(node: Node) -> None:
    """Back it up, lose it, get it back: in that order here, in the other order on the page."""
    node.pgkeep("sandbox", "sample", "shop", "--home", str(node.home), "--size", "2MB")
    before = node.measure("shop")
    said = [run(node, command) for command in commands("README.md", "Back it up")]
    assert "held by" in "".join(said)
    node.drop("shop")
    for command in commands("README.md", "Get it back"):
        if not command.startswith("ipfs cat"):  # that line has a test of its own: it needs a CID
            run(node, command)
    assert node.measure("shop", server="SCRATCH") == before


@pytest.mark.parametrize("heading", ["2. A database, and its first backup", "3. Lose it, and get it back"])
def test_the_guide_names_commands_that_exist(heading: str) -> None:
    assert all(line.startswith(("pgkeep ", "psql ")) for line in commands("docs/testing.md", heading))


def test_the_guide_is_true(node: Node) -> None:
    node.drop("shop")
    for heading in ("2. A database, and its first backup", "3. Lose it, and get it back"):
        for command in commands("docs/testing.md", heading):
            run(node, command.replace("pgkeep sandbox sample", f"pgkeep sandbox sample --home '{node.home}'"))
    found = node.psql("SELECT count(*) FROM pg_database WHERE datname ~ '^shop(_before_.*)?$'")
    assert found == "2", "the restored one, and the one it replaced"
