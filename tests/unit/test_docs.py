"""The documents are what the code is."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_readme_are_those_of_the_code() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=False)
    assert done.returncode == 0, "run: make docs"


def test_the_readme_names_only_documents_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_plugins_holds_one_file() -> None:
    """Airflow runs every Python file below it as a top-level module."""
    assert [path.name for path in (ROOT / "plugins").rglob("*.py")] == ["pgkeep_plugin.py"]
