"""The documents are what the code is."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_readme_are_those_of_the_code() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=False)
    assert done.returncode == 0, "run: make docs"


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_documents_name_only_documents_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [part.split(")")[0].partition("#")[0] for part in text.split("](")[1:]]
    assert links or document.name != "README.md"
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_plugins_holds_one_file() -> None:
    """Airflow runs every Python file below it as a top-level module."""
    assert [path.name for path in (ROOT / "plugins").rglob("*.py")] == ["pgkeep_plugin.py"]
