"""Moving day: the page for those who come from LPBM, command by command as printed, with files that OpenSSL made."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fix_docs import ROOT, commands
from fix_lpbm import PASSWORD, Legacy
from fix_node import Node

DELTAS = (
    "CREATE TABLE note (id serial PRIMARY KEY, t text);\nINSERT INTO note (t) VALUES ('it''s; -- no comment');",
    "UPDATE note SET t = t || '!' WHERE id = 1;\nINSERT INTO note (t) SELECT 'no ' || i FROM generate_series(1, 9) i;",
)


@dataclass(frozen=True, kw_only=True)
class MovingDay:
    """A database, what LPBM has kept of it in the cluster, and the shell of somebody who moves."""

    name: str
    legacy: Legacy
    environ: Mapping[str, str]

    def run(self, lines: list[str]) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            env={**self.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{self.environ['PATH']}"},
            cwd=self.legacy.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout}\n{done.stderr}"
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def moving(node: Node, tmp_path: Path) -> Iterator[MovingDay]:
    name = node.sample(size="1MB")
    yield MovingDay(name=name, legacy=kept_by_lpbm(node, name, tmp_path), environ=shell(node, name, tmp_path))
    node.drop(name)


def kept_by_lpbm(node: Node, name: str, folder: Path) -> Legacy:
    """An old full that nobody needs, a newer one, two deltas: in the cluster, and nowhere else."""
    legacy = Legacy(folder)
    files = [legacy.add("full", b"SELECT 'an old one';\n"), legacy.add("full", dump(node, name))]
    for delta in DELTAS:
        node.psql(delta, dbname=name)
        files.append(legacy.add("delta", delta.encode()))
    cids = [str(json.loads(node.rpc("add", data=file.read_bytes(), cid_version=0))["Hash"]) for file in files]
    for cid, file in zip(cids, files, strict=True):
        node.rest("POST", f"/pins/{cid}")
        file.unlink()
    legacy.rename(cids)
    return legacy


def dump(node: Node, name: str) -> bytes:
    url = f"{node.environ['PGKEEP_SOURCE_URL']}/{name}"
    command = ["pg_dump", "-F", "c", "-d", url]
    return subprocess.run(command, env=dict(node.environ), capture_output=True, check=True).stdout


def shell(node: Node, name: str, folder: Path) -> dict[str, str]:
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n", encoding="utf-8")
    own = {"NAME": name, "JOURNAL": str(folder / "journal.txt"), "PASSWORD_FILE": str(password)}
    return {**node.environ, **own}


def test_moving_day_is_true(node: Node, moving: MovingDay) -> None:
    name = moving.name
    said = moving.run(commands("docs/lpbm.md", "Moving day"))
    assert "replayed the full of 2023-05-01 01:00:00 UTC (line 2) and 2 deltas up to 2023-05-01 03:00:00 UTC" in said
    assert node.measure(name, server="SCRATCH") == node.measure(name)
    gap, full = node.entries(name)
    assert (gap["backup"]["kind"], gap["backup"]["parts"], full["backup"]["kind"]) == ("gap", [], "full")
    assert [part["name"] for part in full["backup"]["parts"]] == ["dump", "globals", "inventory", "ancestry"]
    assert "entry 2 continues 4 files of LPBM: pgkeep fetch" in said
    assert [line.split() for line in moving.legacy.lines] == [
        line.split() for line in (moving.legacy.folder / "journal.txt").read_text().splitlines()
    ]


def test_after_it_everything_is_as_ever(node: Node, moving: MovingDay) -> None:
    """The chain goes on, a restore needs nothing of LPBM's, and there is no second first backup."""
    name, journal = moving.name, str(moving.legacy.journal)
    assert "pgkeep init" in node.pgkeep("lpbm", "import", name, "--journal", journal, code=3).stderr
    node.pgkeep("init", name)
    node.pgkeep("lpbm", "import", name, "--journal", journal)
    node.psql("INSERT INTO note (t) VALUES ('after LPBM')", dbname=name)
    node.pgkeep("backup", name)
    node.pgkeep("restore", name, "--into", node.target(f"after_{name}"))
    assert node.measure(f"after_{name}", server="SCRATCH") == node.measure(name)
    refused = node.pgkeep("lpbm", "import", name, "--journal", journal, code=3).stderr
    assert "names LPBM's files already" in refused


def test_full_backups_only_have_ancestors_too(node: Node, moving: MovingDay) -> None:
    name = moving.name
    node.pgkeep("init", name, "--full-only")
    node.pgkeep("lpbm", "import", name, "--journal", str(moving.legacy.journal))
    (full,) = node.entries(name)
    cid = next(part["cid"] for part in full["backup"]["parts"] if part["name"] == "ancestry")
    assert f"entry 1 continues 4 files of LPBM: pgkeep fetch {cid}" in node.pgkeep("list", name).stdout
    assert node.pgkeep("fetch", cid).stdout == moving.legacy.journal.read_text()


def test_what_fails_is_said_by_the_exit_code(node: Node, moving: MovingDay) -> None:
    name, secret = moving.name, {"LPBM_PASSWORD": PASSWORD}
    into = ["--into", node.target(f"failed_{name}")]
    journal = str(moving.legacy.journal)
    wrong = node.pgkeep("lpbm", "restore", journal, *into, code=6, environ={"LPBM_PASSWORD": "hunter2"})
    assert "wrong password, or the file is damaged" in wrong.stderr
    assert "hunter2" not in wrong.stderr
    bad = moving.legacy.add("delta", b"SELECT 1;\nINSERT INTO note (id) VALUES ('hunter2');\nDELETE FROM note;\n")
    (cid,) = [str(json.loads(node.rpc("add", data=bad.read_bytes()))["Hash"])]
    moving.legacy.rename([*(line.split()[0] for line in moving.legacy.lines[:-1]), cid])
    bad.unlink()
    stopped = node.pgkeep("lpbm", "restore", journal, *into, code=7, environ=secret).stderr
    assert f"({cid}), line 5 of LPBM's journal, cannot be replayed: line 2: invalid input syntax" in stopped
    went_on = node.pgkeep("lpbm", "restore", journal, *into, "--keep-going", code=7, environ=secret)
    assert "1 statement failed" in went_on.stdout
    assert "hunter2" not in stopped + went_on.stdout + went_on.stderr
    assert node.psql("SELECT count(*) FROM note", dbname=f"failed_{name}", server="SCRATCH") == "0"


NAMES = """
Backup FullBackup Restore Pause Default command.txt error.txt journal.txt MAX_FULL_BACKUPS RESTORE_AND_CLOSE
TRIGGER_CRON FULL_BACKUP_TRIGGER_CRON ENC_PASSWORD WORKING_DIRECTORY LOG_DIRECTORY LOG_LEVEL PG_HOST PG_USER PG_DATABASE
IPFS IPFS_HOST IPFS_CLUSTER_CTL IPFS_CLUSTER_HOST IPFS_MIN_REPLICA IPFS_MAX_REPLICA MAIL_TO MAIL_SUBJECT_PREFIX
SMTP_ENABLED SMTP_FROM SMTP_HOST SMTP_PORT SMTP_USER SMTP_PASSWD SMTP_SECURE SMTP_LOGGER
"""


@pytest.mark.parametrize("named", [name for line in NAMES.splitlines() for name in line.split()])
def test_the_page_says_what_became_of(named: str) -> None:
    rows = [line for line in (ROOT / "docs" / "lpbm.md").read_text().splitlines() if line.startswith("| ")]
    assert sum(f"`{named}`" in row.split(" | ")[0] for row in rows) == 1
