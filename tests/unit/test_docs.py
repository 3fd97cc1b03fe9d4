"""The documents are what the code is."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pgkeep import settings

ROOT = Path(__file__).parents[2]


def test_the_tables_are_those_of_the_code() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=False)
    assert done.returncode == 0, "run: make docs"


def test_the_settings_of_the_first_day_are_settings() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    found = settings.parse(tomllib.loads(example + "[databases.shop]\n"))
    assert found.database("shop").scratch == "pgkeep_scratch"


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_documents_name_only_documents_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [part.split(")")[0].partition("#")[0] for part in text.split("](")[1:]]
    assert links or document.name != "README.md"
    assert [link for link in links if not (document.parent / link).exists()] == []


THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "row", [row for row in THREATS.splitlines() if row.startswith("| ")][1:], ids=lambda r: r[2:40]
)
def test_each_threat_names_its_tests(row: str) -> None:
    assert re.findall(r"`tests/[^`]+`", row.split("|")[4])


def test_the_tests_of_the_threat_model_exist() -> None:
    named = re.findall(r"`(tests/[^`]+)::([^`]+)`", THREATS)
    assert named
    assert [f"{path}::{name}" for path, name in named if not defines(ROOT / path, name)] == []


def defines(path: Path, name: str) -> bool:
    return path.exists() and f"\ndef {name}(" in path.read_text(encoding="utf-8")


def test_plugins_holds_one_file() -> None:
    """Airflow runs every Python file below it as a top-level module."""
    assert [path.name for path in (ROOT / "plugins").rglob("*.py")] == ["pgkeep_plugin.py"]
