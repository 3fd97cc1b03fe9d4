"""The file in `plugins/`: it registers the page exactly where no installed package does."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from in_airflow.home import ROOT

REGISTERED = """
import json, runpy, sys
sys.path[:0] = sys.argv[2:]
found = runpy.run_path(sys.argv[1])
print(json.dumps([name for name in found if name.endswith("Plugin")]))
"""


@pytest.fixture
def uninstalled(tmp_path: Path) -> list[str]:
    """Where to import from in an environment like ours that has pgkeep's files, but no installed pgkeep."""
    packages = Path(sysconfig.get_path("purelib"))
    for path in packages.iterdir():
        if not path.name.startswith(("pgkeep-", "_editable_impl_pgkeep")):
            (tmp_path / path.name).symlink_to(path)
    return [str(tmp_path), str(ROOT / "include")]


def registered(*arguments: str, isolated: bool) -> list[str]:
    command = [sys.executable, *(["-S"] if isolated else []), "-W", "ignore", "-c", REGISTERED]
    shim = str(ROOT / "plugins" / "pgkeep_plugin.py")
    done = subprocess.run([*command, shim, *arguments], env=os.environ, capture_output=True, text=True, check=True)
    return [str(name) for name in json.loads(done.stdout.splitlines()[-1])]


def test_an_installed_package_registers_itself() -> None:
    assert registered(isolated=False) == []


def test_files_on_the_path_are_registered_by_the_shim(uninstalled: list[str]) -> None:
    assert registered(*uninstalled, isolated=True) == ["PgkeepPlugin"]
