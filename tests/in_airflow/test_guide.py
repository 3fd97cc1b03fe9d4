"""docs/airflow.md is true: its snippets run, and the example that is shipped makes a backup."""

import re
from importlib.resources import files

import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.sdk import DAG

from in_airflow.dags import Keep, entries, states
from in_airflow.home import ROOT
from pgkeep.airflow import operators

EXAMPLE = ROOT / "include/pgkeep/airflow/example_dags/example_full_backup.py"
GUIDE = (ROOT / "docs/airflow.md").read_text(encoding="utf-8")
STEPS = ["dump_database", "check_encryption", "replicate", "record", "release"]


@pytest.fixture(scope="module")
def example() -> DAG:
    bag = DagBag(str(EXAMPLE))
    assert not bag.import_errors
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(bag, "dags-folder", None)
    return bag.dags["example_full_backup"]


def test_the_example_and_the_snippets_run(
    keep: Keep, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    site = keep("orders")
    example: DAG = request.getfixturevalue("example")
    assert states(example.test(logical_date=None)) == dict.fromkeys(STEPS, "success")
    (entry,) = entries(site)
    capsys.readouterr()
    snippets = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    for snippet in snippets:
        exec(compile(snippet, "docs/airflow.md", "exec"), {"__name__": "snippet"})
    said = capsys.readouterr().out
    assert len(snippets) == 4
    assert "b'some bytes'" in said
    assert "['peer-1', 'peer-2', 'peer-3']" in said
    assert f"{entry.sequence} {entry.backup.cut.time} 3" in said


def test_the_example_is_ten_lines_and_is_not_loaded() -> None:
    code = EXAMPLE.read_text(encoding="utf-8").split("with DAG(")[1]
    assert len(code.splitlines()) <= 10
    assert files("pgkeep").joinpath("airflow/example_dags/example_full_backup.py").is_file(), "it is shipped"
    assert EXAMPLE.parent not in [path.parent for path in (ROOT / "dags").rglob("*.py")]


def test_the_guide_names_every_operator_and_its_templates() -> None:
    table = GUIDE.split("## Operators")[1].split("## ")[0]
    steps = [
        found
        for found in vars(operators).values()
        if isinstance(found, type) and issubclass(found, operators.BackupStep)
    ]
    for step in steps:
        if step is not operators.BackupStep:
            (line,) = [line for line in table.splitlines() if line.startswith("|") and f"`{step.__name__}`" in line]
            assert set(step.template_fields) == set(re.findall(r"`([a-z]+)`", line.split("|")[2]))
