"""The disaster tool: the wheel with its base dependencies and nothing else, in an environment of its own."""

import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fix_node import Node

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pip install pgkeep` as it would be on a laptop: built from this tree; dependencies linked from here."""
    folder = tmp_path_factory.mktemp("bare")
    build = "from hatchling.build import build_wheel; print(build_wheel(__import__('sys').argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    wheel = folder / done.stdout.split()[-1]
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    subprocess.run([*install, "--python", str(folder / "venv" / "bin" / "python"), str(wheel)], check=True)
    for name in sorted(closure("pgkeep")):
        link(name, site)
    return folder / "venv" / "bin"


def closure(name: str) -> set[str]:
    """The distributions that an installation without extras brings, by their own metadata."""
    found, todo = set[str](), [Requirement(name)]
    while todo:
        requirement = todo.pop()
        for text in metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            extras = [*requirement.extras, ""]
            applies = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras)
            if applies and needed.name not in found:
                found.add(needed.name)
                todo.append(needed)
    return found


def link(name: str, site: Path) -> None:
    distribution = metadata.distribution(name)
    for top in top_level(distribution):
        target = site / top
        if not target.exists():
            target.symlink_to(Path(str(distribution.locate_file(top))))


def top_level(distribution: metadata.Distribution) -> Iterator[str]:
    files = distribution.files or []
    return iter({str(file).split("/")[0] for file in files if not str(file).startswith("..")} - {"__pycache__"})


def test_the_base_installation_brings_no_airflow(bare: Path) -> None:
    assert not any("airflow" in name for name in closure("pgkeep"))
    done = subprocess.run([bare / "python", "-c", "import airflow"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr


def test_a_laptop_without_airflow_brings_the_database_back(node: Node, shop: str, bare: Path) -> None:
    """And without settings and connections: one peer's address, and the keys."""
    node.pgkeep("backup", shop, "--full")
    laptop = {name: text for name, text in node.environ.items() if not name.startswith(("PGKEEP", "AIRFLOW"))}
    peer = ["--peer", node.environ["PGKEEP_PEER_URL"]]
    subprocess.run([bare / "pgkeep", "restore", shop, "--into", node.target(shop), *peer], env=laptop, check=True)
    assert node.measure(shop, server="SCRATCH") == node.measure(shop)
    listed = subprocess.run(
        [bare / "pgkeep", "list", shop], env=dict(node.environ), check=True, capture_output=True, text=True
    )
    assert "3 of 3" in listed.stdout


def test_what_reads_lpbms_files_is_an_extra(bare: Path, tmp_path: Path) -> None:
    assert "cryptography" not in closure("pgkeep")
    file = tmp_path / "of-lpbm"
    file.write_bytes(bytes(48))
    said = subprocess.run(
        [bare / "pgkeep", "lpbm", "decrypt", file, "-o", tmp_path / "out"],
        env={"LPBM_PASSWORD": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, "Next: pip install pgkeep[lpbm]" in said.stderr) == (3, True)


def test_the_wheel_carries_the_dags(bare: Path) -> None:
    (site,) = (bare.parent / "lib").glob("python*/site-packages")
    assert (site / "pgkeep" / "dags" / "pgkeep_full.py").is_file()
