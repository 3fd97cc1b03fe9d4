"""The promise, told with the operator's own commands: a database is lost, and comes back the same."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from fix_node import Node
from pgkeep import sandbox as servers


def test_a_lost_database_comes_back_the_same(node: Node, shop: str) -> None:
    before = node.measure(shop)
    assert sum(table.rows for table in before.values()) > 100
    said = node.pgkeep("backup", shop, "--full").stdout
    assert re.search(
        r"entry 1: \S+, full, .* rows in \d+ tables, .* encrypted, held by .*read back.*read back.*read back", said
    )
    node.psql(f"DROP DATABASE {shop}")
    said = node.pgkeep("restore", shop, "--into", f"{node.environ['PGKEEP_SOURCE_URL']}/{shop}").stdout
    assert "and equal to its source in" in said
    assert node.measure(shop) == before
    left = node.psql("SELECT datname FROM pg_database WHERE datname LIKE '%pgkeep%'")
    assert left == "", "no database of the restore is left beside it"


def test_the_journal_is_found_without_anything_local(node: Node, shop: str, tmp_path: Path) -> None:
    """Another machine: nothing but settings, keys and peers."""
    node.pgkeep("backup", shop, "--full")
    elsewhere = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    node.pgkeep("restore", shop, "--into", node.target(shop), environ=elsewhere)
    assert node.measure(shop, server="SCRATCH") == node.measure(shop)


@pytest.mark.parametrize("survivor", [1, 2, 3])
def test_one_peer_of_three_is_enough(node: Node, shop: str, survivor: int) -> None:
    node.pgkeep("backup", shop, "--full")
    for peer in {1, 2, 3} - {survivor}:
        node.kill(f"cluster-{peer}")
        node.kill(f"kubo-{peer}")
    dbname = f"{shop}_from_{survivor}"
    node.pgkeep("restore", shop, "--into", node.target(dbname))
    assert node.measure(dbname, server="SCRATCH") == node.measure(shop)


def test_all_servers_die_at_once_and_nothing_is_lost(node: Node, shop: str) -> None:
    before = node.measure(shop)
    node.pgkeep("backup", shop, "--full")
    for server in servers.status(node.home):
        if server.pid:
            node.kill(server.name)
    node.heal()
    node.pgkeep("restore", shop, "--into", node.target(shop))
    assert node.measure(shop, server="SCRATCH") == before


def test_replace_keeps_the_old_database_beside(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    node.psql("CREATE TABLE made_later (x int); INSERT INTO made_later VALUES (7)", dbname=shop)
    into = f"{node.environ['PGKEEP_SOURCE_URL']}/{shop}"
    refused = node.pgkeep("restore", shop, "--into", into, code=3)
    assert "with `replace`" in refused.stderr
    said = node.pgkeep("restore", shop, "--into", into, "--replace").stdout
    old = re.search(r"what was there is now (\S+)", said)
    assert old is not None
    assert node.psql("SELECT x FROM made_later", dbname=old[1]) == "7"
    assert node.psql("SELECT to_regclass('made_later') IS NULL", dbname=shop) == "t"


def test_an_older_entry_can_be_chosen(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    before = node.measure(shop)
    node.psql("CREATE TABLE made_later AS SELECT generate_series(1, 10) x", dbname=shop)
    node.pgkeep("backup", shop, "--full")
    assert [entry["sequence"] for entry in node.entries(shop)] == [1, 2]
    node.pgkeep("restore", shop, "--into", node.target(shop), "--entry", "1")
    assert node.measure(shop, server="SCRATCH") == before
    missing = node.pgkeep("restore", shop, "--into", node.target("x"), "--entry", "9", code=7)
    assert "no entry 9; it has 1, 2" in missing.stderr


@pytest.mark.parametrize("name", ['we"ird Name', "-dash=a b'c", "naïve/ö", "UPPER"])
def test_odd_names_are_names(node: Node, name: str) -> None:
    node.psql('CREATE DATABASE "{}"'.format(name.replace('"', '""')))
    node.psql("CREATE TABLE t AS SELECT generate_series(1, 5) x", dbname=quote(name, safe=""))
    node.pgkeep("init", "--full-only", "--", name)
    node.pgkeep("backup", "--full", "--", name)
    target = f"pgkeep_scratch/{name}"
    node.pgkeep("restore", "--into", target, "--", name)
    assert node.measure(name, server="SCRATCH") == node.measure(name)


def test_an_empty_database_is_a_database(node: Node) -> None:
    node.psql("CREATE DATABASE nothing_in_it")
    node.pgkeep("init", "nothing_in_it", "--full-only")
    said = node.pgkeep("backup", "nothing_in_it", "--full").stdout
    assert "0 rows in 0 tables" in said
    node.pgkeep("restore", "nothing_in_it", "--into", node.target("nothing_in_it"))


def test_fetch_gives_the_plaintext_of_a_part(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    parts = {part["name"]: part for part in node.entries(shop)[0]["backup"]["parts"]}
    assert "CREATE ROLE" in node.pgkeep("fetch", parts["globals"]["cid"]).stdout
    inventory = json.loads(node.pgkeep("fetch", parts["inventory"]["cid"]).stdout)
    assert inventory["dbname"] == shop
    unknown = node.pgkeep("fetch", "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", code=7)
    assert "names bafkreigh" in unknown.stderr


def test_what_the_sandbox_and_pgkeep_write_is_for_their_user_only(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    open_to_others = [
        path
        for path in node.home.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077 and path.parent.stat().st_mode & 0o007
    ]
    assert open_to_others == []
    assert Path(node.environ["PGKEEP_CONFIG"]).stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_any_message_or_command_line(node: Node, shop: str) -> None:
    secrets = [json.loads(value)["password"] for value in _connections(node.environ) if "password" in value]
    done = node.pgkeep("-v", "backup", shop, "--full")
    shown = done.stdout + done.stderr + node.pgkeep("-v", "check", shop).stdout
    assert len(secrets) >= 3
    assert not [secret for secret in secrets if secret in shown]


def _connections(environ: Mapping[str, str]) -> list[str]:
    return [value for key, value in environ.items() if key.startswith("AIRFLOW_CONN_PGKEEP")]


def test_without_pgkeep_four_programs_are_enough(node: Node, shop: str) -> None:
    """The README's own line, as it is printed there."""
    before = node.measure(shop)
    node.pgkeep("backup", shop, "--full")
    parts = {part["name"]: part["cid"] for part in node.entries(shop)[0]["backup"]["parts"]}
    node.psql(f"CREATE DATABASE by_hand_{shop}", server="SCRATCH")
    kubo = json.loads(node.environ["AIRFLOW_CONN_PGKEEP_KUBO"])
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if line.startswith('ipfs cat "$CID"'))
    values = {
        "CID": parts["dump"],
        "TARGET": node.target(f"by_hand_{shop}"),
        "IPFS_PATH": str(node.home),
    }
    script = "set -o pipefail; " + line.replace("ipfs cat", f"ipfs --api /ip4/{kubo['host']}/tcp/{kubo['port']} cat")
    subprocess.run(["bash", "-c", script], env={**os.environ, **node.environ, **values}, check=True)
    assert node.measure(f"by_hand_{shop}", server="SCRATCH") == before
