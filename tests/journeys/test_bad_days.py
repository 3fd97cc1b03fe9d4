"""Bad days of a real node: what is killed, damaged or missing is named, and nothing half-done is left behind."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fix_node import Node, pgkeep_program, wait_for
from pgkeep import settings
from pgkeep.sandbox import peer_servers
from pgkeep.sandbox.sample import create_sample


def test_pg_dump_killed_midway_leaves_nothing_that_looks_like_a_backup(node: Node, big_shop: str) -> None:
    before = node.pins()
    backup = node.start("backup", big_shop, "--full")
    victim = child_of(backup, "pg_dump", "--format=custom")
    victim.send_signal(signal.SIGKILL)
    _, said = backup.communicate(timeout=120)
    assert backup.returncode == 4, said
    assert "pg_dump" in said
    assert node.pins() == before
    assert node.entries(big_shop) == []
    node.pgkeep("backup", big_shop, "--full")


def test_gpg_killed_midway_leaves_nothing_that_looks_like_a_backup(node: Node, big_shop: str) -> None:
    before = node.pins()
    backup = node.start("backup", big_shop, "--full")
    child_of(backup, "pg_dump", "--format=custom")
    child_of(backup, "gpg", "--encrypt").send_signal(signal.SIGKILL)
    _, said = backup.communicate(timeout=120)
    assert backup.returncode == 4, said
    assert "gpg" in said
    assert node.pins() == before
    assert node.entries(big_shop) == []


def test_the_own_peer_dies_during_the_dump(node: Node, big_shop: str) -> None:
    before = node.pins()
    backup = node.start("backup", big_shop, "--full")
    child_of(backup, "pg_dump", "--format=custom")
    node.kill("kubo-1")
    _, said = backup.communicate(timeout=180)
    assert backup.returncode == 4, said
    node.heal()
    assert node.pins() == before
    node.pgkeep("backup", big_shop, "--full")
    assert len(node.entries(big_shop)) == 1


def test_the_own_peer_is_down_before(node: Node, shop: str) -> None:
    node.kill("kubo-1")
    failed = node.pgkeep("backup", shop, "--full", code=4)
    assert "pgkeep_cluster" in failed.stderr or "pgkeep_kubo" in failed.stderr
    assert "Next:" in failed.stderr


def test_a_missing_peer_is_named_while_copies_are_too_few(node: Node, shop: str) -> None:
    node.kill("cluster-3")
    failed = subprocess.run(
        [pgkeep_program(), "backup", shop, "--full", "--wait", "2"],
        env=dict(node.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode in (4, 5), failed.stderr
    node.heal()
    assert node.entries(shop) == []
    node.pgkeep("backup", shop, "--full")


@pytest.mark.parametrize("peers", [[1], [1, 2]])
def test_flipped_bytes_on_some_peers_do_no_harm(node: Node, shop: str, peers: list[int]) -> None:
    node.pgkeep("backup", shop, "--full")
    for peer in peers:
        node.flip(node.dump_of(shop), peer=peer)
    done = node.pgkeep("restore", shop, "--into", node.target(shop))
    assert node.measure(shop, server="SCRATCH") == node.measure(shop)
    assert "gives" in done.stderr, "the damaged copy is named"


def test_flipped_bytes_everywhere_are_refused_before_anything_is_decrypted(node: Node, shop: str) -> None:
    """Or truncated, as at the third peer."""
    node.pgkeep("backup", shop, "--full")
    for peer in (1, 2):
        node.flip(node.dump_of(shop), peer=peer)
    node.blocks(node.dump_of(shop), peer=3)[-1].unlink()
    failed = node.pgkeep("restore", shop, "--into", node.target(shop), code=6)
    assert "no whole copy of dump" in failed.stderr
    assert node.psql(f"SELECT count(*) FROM pg_database WHERE datname LIKE '{shop}%'", server="SCRATCH") == "0"


def test_a_damaged_journal_stops_everything_until_a_person_speaks(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    node.pgkeep("backup", shop, "--full")
    for peer in (1, 2, 3):
        node.flip(node.journal_cid(shop, 2), peer=peer)
    assert "version 2" in node.pgkeep("list", shop, code=6).stderr
    node.pgkeep("backup", shop, "--full", code=6)
    node.pgkeep("restore", shop, "--into", node.target(shop), code=6)
    done = node.pgkeep("restore", shop, "--into", node.target(shop), "--journal", "1")
    assert "entry 1" in done.stdout


def test_an_older_journal_in_the_place_of_the_newest_is_noticed(node: Node, shop: str) -> None:
    """By somebody with the cluster's password, but without the node's key."""
    node.pgkeep("backup", shop, "--full")
    node.pgkeep("backup", shop, "--full")
    newest, older = node.journal_cid(shop, 2), node.journal_cid(shop, 1)
    node.rest("DELETE", f"/pins/{newest}")
    node.rest("POST", f"/pins/{older}?name=pgkeep/{shop}/journal/2")
    wait_for(lambda: node.journal_cid(shop, 2) == older)
    assert "somebody put an older" in node.pgkeep("list", shop, code=6).stderr


def test_a_removed_newest_journal_is_noticed(node: Node, shop: str) -> None:
    for _ in range(3):
        node.pgkeep("backup", shop, "--full")
    removed = [node.journal_cid(shop, sequence) for sequence in (2, 3)]
    for cid in removed:
        node.rest("DELETE", f"/pins/{cid}")
    assert "newer versions were removed" in node.pgkeep("list", shop, code=6).stderr
    node.rest("POST", f"/pins/{removed[-1]}?name=pgkeep/{shop}/journal/3")  # as docs/operating.md says
    wait_for(lambda: f"pgkeep/{shop}/journal/3" in node.pins(), patience=60)
    assert [entry["sequence"] for entry in node.entries(shop)] == [1, 2, 3]


def test_a_journal_signed_by_a_stranger_is_noticed(node: Node, shop: str, tmp_path: Path) -> None:
    """A stranger who knows the recipients' and the node's public keys, and the cluster's password."""
    node.pgkeep("backup", shop, "--full")
    home = tmp_path / "stranger"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--trust-model", "always"]
    public = subprocess.run(["gpg", "--export"], env=dict(node.environ), capture_output=True, check=True).stdout
    subprocess.run([*gpg, "--import"], input=public, check=True, capture_output=True)
    subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", "stranger", "ed25519", "sign"], check=True)
    version = subprocess.run(
        ["gpg", "--batch", "--quiet", "--decrypt"],
        env=dict(node.environ),
        input=node.rpc("cat", arg=node.journal_cid(shop, 1)),
        capture_output=True,
        check=True,
    ).stdout
    readers = [word for key in keys_of(node).recipients for word in ("--recipient", key)]
    forged = subprocess.run(
        [*gpg, "--local-user", "stranger", "--sign", "--encrypt", *readers, "--recipient", keys_of(node).node],
        input=version,
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)
    cid = json.loads(node.rpc("add", data=forged, pin="false", cid_version=1))["Hash"]
    node.rest("POST", f"/pins/{cid}?name=pgkeep/{shop}/journal/2")
    wait_for(lambda: node.journal_cid(shop, 2) == cid)
    node.pgkeep("list", shop, code=6)


def test_a_missing_recipients_key_stops_the_backup(node: Node, shop: str, keyring: Path) -> None:
    recipient = keys_of(node).recipients[1]
    gpg(keyring, "--yes", "--delete-secret-and-public-key", recipient)
    with configured(node, keyring) as environ:
        failed = node.pgkeep("backup", shop, "--full", code=3, environ=environ)
    assert recipient in failed.stderr
    assert node.entries(shop) == []


def test_an_expired_recipients_key_stops_the_backup(node: Node, shop: str, keyring: Path) -> None:
    recipient = keys_of(node).recipients[0]
    gpg(keyring, "--quick-set-expire", recipient, "seconds=1")
    gpg(keyring, "--quick-set-expire", recipient, "seconds=1", "*")
    wait_for(lambda: "expired" in gpg(keyring, "--list-keys", recipient))
    with configured(node, keyring) as environ:
        failed = node.pgkeep("backup", shop, "--full", code=3, environ=environ)
    assert recipient in failed.stderr
    assert "expired" in failed.stderr


def test_without_a_private_key_a_restore_says_which_one_is_wanted(node: Node, shop: str, keyring: Path) -> None:
    node.pgkeep("backup", shop, "--full")
    for recipient in keys_of(node).recipients:
        gpg(keyring, "--yes", "--delete-secret-keys", recipient)
    with configured(node, keyring) as environ:
        listed = node.pgkeep("list", shop, environ=environ).stdout
        failed = node.pgkeep("restore", shop, "--into", node.target(shop), code=3, environ=environ)
    assert "1 " in listed, "the node's key reads the journal"
    assert keys_of(node).recipients[0] in failed.stderr
    assert node.psql(f"SELECT count(*) FROM pg_database WHERE datname LIKE '{shop}%'", server="SCRATCH") == "0"


def test_an_unknown_database_is_one_clear_sentence(node: Node) -> None:
    assert "no database 'nonesuch'" in node.pgkeep("backup", "nonesuch", "--full", code=3).stderr
    assert "nonesuch" in node.pgkeep("init", "nonesuch", code=3).stderr
    assert "no journal of nonesuch" in node.pgkeep("list", "nonesuch", code=7).stderr


def test_a_role_without_privileges_is_told_what_to_grant(node: Node, shop: str) -> None:
    node.psql(f"CREATE ROLE poor_{shop} LOGIN PASSWORD 'poor-password'")
    connection = json.loads(node.environ["AIRFLOW_CONN_PGKEEP_SOURCE"])
    poor = json.dumps(connection | {"login": f"poor_{shop}", "password": "poor-password"})
    failed = node.pgkeep("backup", shop, "--full", code=3, environ={"AIRFLOW_CONN_PGKEEP_SOURCE": poor})
    assert "GRANT" in failed.stderr
    assert "poor-password" not in failed.stderr


def test_a_full_disk_on_a_peer_is_not_a_backup(node: Node, shop: str) -> None:
    """The peer's block store cannot be written to, as on a full disk."""
    store = peer_servers.homes(node.home)[0].ipfs / "blocks"
    aside = store.with_name("blocks.aside")
    store.rename(aside)
    try:
        failed = node.start("backup", shop, "--full")
        failed.communicate(timeout=120)
        assert failed.returncode in (4, 5)
    finally:
        aside.rename(store)
    assert node.entries(shop) == []


# --- means -------------------------------------------------------------------------------------------------------


@pytest.fixture
def big_shop(node: Node) -> str:
    """Large enough to be caught in the middle of its dump."""
    name = f"big_{os.urandom(4).hex()}"
    source = f"{node.environ['PGKEEP_SOURCE_URL']}?passfile={node.environ['PGPASSFILE']}"
    create_sample(source, dbname=name, size=150_000_000, seed=1, report=print)
    node.pgkeep("init", name, "--full-only")
    return name


@pytest.fixture
def keyring(node: Node, tmp_path: Path) -> Iterator[Path]:
    """A copy of the sandbox's keys that a test may spoil."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    for option in ("--export", "--export-secret-keys"):
        keys = subprocess.run(
            ["gpg", "--batch", option], env=dict(node.environ), capture_output=True, check=True
        ).stdout
        subprocess.run(["gpg", "--homedir", str(home), "--batch", "--import"], input=keys, check=True)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)


def gpg(home: Path, *arguments: str) -> str:
    command = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout


@contextmanager
def configured(node: Node, keyring: Path) -> Iterator[dict[str, str]]:
    """The sandbox's settings with another GNUPGHOME."""
    text = Path(node.environ["PGKEEP_CONFIG"]).read_text(encoding="utf-8")
    other = keyring.parent / "pgkeep.toml"
    other.write_text(text.replace(node.environ["GNUPGHOME"], str(keyring)), encoding="utf-8")
    yield {"PGKEEP_CONFIG": str(other), "GNUPGHOME": str(keyring)}


def keys_of(node: Node) -> settings.Keys:
    return settings.load(node.environ["PGKEEP_CONFIG"]).keys


def child_of(process: "subprocess.Popen[str]", name: str, argument: str) -> psutil.Process:
    """The running child with that name and argument, as soon as there is one."""

    def found() -> list[psutil.Process]:
        assert process.poll() is None, process.communicate()
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if is_it(child, name, argument)]

    wait_for(lambda: bool(found()))
    return found()[0]


def is_it(child: psutil.Process, name: str, argument: str) -> bool:
    try:
        return child.name() == name and argument in child.cmdline()
    except psutil.Error:  # it ended meanwhile
        return False
