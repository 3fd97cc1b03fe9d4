"""Everything is lost but a private key and one peer's disk, or a key itself is lost: the disaster page, command by
command as it is printed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fix_docs import commands
from fix_node import Node, wait_for
from fix_openpgp import Home, Homes, homes
from pgkeep import sandbox as servers
from pgkeep import settings
from pgkeep.sandbox import peer_servers
from pgkeep.sandbox.tcp_ports import is_free

PAGE = "docs/disaster.md"
PEERS = ("cluster-1", "cluster-2", "cluster-3", "kubo-1", "kubo-2", "kubo-3")


def run(lines: Sequence[str], environ: Mapping[str, str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        env={**environ, "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def place() -> Iterator[Homes]:
    with homes() as place:
        yield place


def keys_of(node: Node) -> settings.Keys:
    return settings.load(node.environ["PGKEEP_CONFIG"]).keys


def given(home: Home, node: Node, *public: str, secret: Sequence[str] = ()) -> None:
    """Keys of the sandbox, imported as from a safe."""
    for option, keys in (("--export", public), ("--export-secret-keys", secret)):
        if keys:
            home.gpg("--import", data=exported(node, option, *keys))


def exported(node: Node, option: str, *keys: str) -> bytes:
    """Keys out of the sandbox's keyring."""
    gpg = ["gpg", "--homedir", str(keys_of(node).gnupghome), "--batch", "--pinentry-mode", "loopback"]
    done = subprocess.run([*gpg, "--passphrase", "", option, *keys], capture_output=True, check=True)
    return done.stdout


@dataclass(frozen=True)
class Laptop:
    """A shell with a recipient's private key, the node's public one, PostgreSQL's programs, and nothing of pgkeep's."""

    environ: Mapping[str, str]
    folder: Path

    def follow(self, heading: str, **variables: str) -> str:
        """Does what stands under that heading of the page."""
        return run(commands(PAGE, heading), {**self.environ, **variables}, self.folder)


@pytest.fixture
def laptop(node: Node, place: Homes, tmp_path: Path) -> Laptop:
    home, keys = place.new("laptop"), keys_of(node)
    given(home, node, keys.node, secret=keys.recipients[:1])
    own = {name: text for name, text in node.environ.items() if not name.startswith(("AIRFLOW", "PGKEEP"))}
    elsewhere = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "GNUPGHOME": str(home.path)}
    peer = node.connection("KUBO", 2)
    environ = {**own, **elsewhere, "NODE": keys.node, "PEER": f"http://{peer['host']}:{peer['port']}"}
    return Laptop(environ=environ, folder=tmp_path)


def changed(node: Node, name: str) -> None:
    """Two hours of changes, kept."""
    node.psql("CREATE TABLE made_later (x int PRIMARY KEY); INSERT INTO made_later VALUES (7)", dbname=name)
    node.pgkeep("backup", name)
    node.psql("INSERT INTO made_later SELECT generate_series(100, 200)", dbname=name)
    node.pgkeep("backup", name)


@pytest.fixture
def mailed(node: Node, kept: str, tmp_path: Path) -> Path:
    """The journal as operators get it, after a full backup and changes."""
    node.pgkeep("backup", kept, "--full")
    changed(node, kept)
    file = tmp_path / "journal of the shop"
    newest = max(entry["sequence"] for entry in node.entries(kept))
    file.write_bytes(node.rpc("cat", arg=node.journal_cid(kept, newest)))
    return file


# --- keys --------------------------------------------------------------------------------------------------------


def operator(node: Node, place: Homes, folder: Path) -> tuple[Node, Home]:
    """The node on a machine of its own: no recipient's private key is there, as it should be."""
    home, keys = place.new("node"), keys_of(node)
    given(home, node, keys.node, *keys.recipients, secret=[keys.node])
    config = folder / "pgkeep.toml"
    config.write_text(Path(node.environ["PGKEEP_CONFIG"]).read_text().replace(str(keys.gnupghome), str(home.path)))
    environ = {**node.environ, "PGKEEP_CONFIG": str(config), "GNUPGHOME": str(home.path)}
    return Node(home=node.home, environ=environ), home


def settle(own: Node, old: str, new: str) -> None:
    """Somebody corrects pgkeep.toml."""
    config = Path(own.environ["PGKEEP_CONFIG"])
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_the_nodes_key_and_a_recipients_are_lost(node: Node, kept: str, place: Homes, tmp_path: Path) -> None:
    """A new key for the node breaks the chain where everybody can see it; new recipients read all of it."""
    own, home = operator(node, place, tmp_path)
    own.pgkeep("backup", kept, "--full")
    own.psql("CREATE TABLE made_later (x int PRIMARY KEY); INSERT INTO made_later VALUES (7)", dbname=kept)
    own.pgkeep("backup", kept)
    last = own.entries(kept)[-1]
    at_last = own.measure(kept)
    keys = keys_of(own)
    safe = tmp_path / "recipient.asc"
    safe.write_bytes(exported(node, "--export-secret-keys", keys.recipients[0]))

    home.gpg("--yes", "--delete-secret-keys", keys.node)
    before, making = commands(PAGE, "A new key for the node"), 3
    run(before[:making], own.environ, tmp_path)
    rows = home.gpg("--with-colons", "-k", "pgkeep node, second key").decode().splitlines()
    new = next(row.split(":")[9] for row in rows if row.startswith("fpr:"))
    reader = place.new("reader")
    newcomer = reader.make_key("newcomer")
    home.receive(reader, "newcomer")
    settle(own, f'node = "{keys.node}"', f'node = "{new}"\nsigners = ["{keys.node}"]')
    settle(own, keys.recipients[1], newcomer)
    assert "no private key" in own.pgkeep("backup", kept, code=3).stderr
    variables = {"NAME": kept, "RECIPIENT": keys.recipients[0], "RECIPIENT_KEY": str(safe)}
    refused = run([before[making], "pgkeep rekey $NAME || test $? = 3"], {**own.environ, **variables}, tmp_path)
    assert "the journal does not show that break yet" in refused

    own.psql("INSERT INTO made_later VALUES (1000)", dbname=kept)
    run([before[making + 1]], {**own.environ, **variables}, tmp_path)
    gap, full = own.entries(kept)[-2:]
    assert gap["backup"]["link"]["since"] == last["backup"]["cut"]
    assert f"up to entry {last['sequence']} it was {keys.node}" in gap["backup"]["link"]["gap"]
    assert (full["backup"]["kind"], full["signer"]) == ("full", new)
    _kill_a_rekey(own, kept)
    said = run([*commands(PAGE, "Other recipients"), *before[making + 2 :]], {**own.environ, **variables}, tmp_path)
    assert f"and signed by {new}" in said
    _require_rekeyed(own, kept, recipients={keys.recipients[0], newcomer}, signer=new)

    # The newcomer believes the new node alone, and has nobody else's key.
    reader.gpg("--import", data=home.gpg("--export", new))
    own.psql("INSERT INTO made_later VALUES (1001)", dbname=kept)
    own.pgkeep("backup", kept)
    peer = node.connection("KUBO", 3)
    options = ["--peer", f"http://{peer['host']}:{peer['port']}", "--node", new]
    alone = {"PGKEEP_CONFIG": "", "GNUPGHOME": str(reader.path)}
    own.pgkeep("restore", kept, "--into", own.target(f"new_{kept}"), *options, environ=alone)
    assert own.measure(f"new_{kept}", server="SCRATCH") == own.measure(kept)
    into = ["--into", own.target(f"old_{kept}"), "--entry", str(last["sequence"])]
    own.pgkeep("restore", kept, *into, *options, environ=alone)
    assert own.measure(f"old_{kept}", server="SCRATCH") == at_last


def _kill_a_rekey(own: Node, name: str) -> None:
    """As soon as it has stored something anew."""
    before = _kept_pins(own, name)
    doing = own.start("rekey", name)
    wait_for(lambda: _kept_pins(own, name) > before)
    doing.kill()
    doing.communicate()
    assert doing.returncode == -signal.SIGKILL
    assert len(own.entries(name)) > 4, "the journal is whole"


def _kept_pins(own: Node, name: str) -> int:
    found = json.loads(own.rpc("pin/ls", names="true", type="recursive"))["Keys"]
    return sum(pin["Name"].startswith(f"pgkeep/{name}/") for pin in found.values())


def _require_rekeyed(own: Node, name: str, *, recipients: set[str], signer: str) -> None:
    with_parts = [entry for entry in own.entries(name) if entry["backup"]["parts"]]
    assert len(with_parts) == 3
    for entry in with_parts:
        assert (set(entry["recipients"]), entry["signer"]) == (recipients, signer)
        assert entry["copies_now"] == 3


def test_the_clusters_memory_is_lost_and_kubos_names_are_enough(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    for server in PEERS[:3]:
        node.kill(server)
    for home in peer_servers.homes(node.home):
        shutil.rmtree(home.cluster / "leveldb")
    node.heal()
    assert node.rest("GET", "/allocations") == []
    assert [entry["sequence"] for entry in node.entries(shop)] == [1]
    node.pgkeep("restore", shop, "--into", node.target(shop))
    node.pgkeep("backup", shop, "--full")
    assert [entry["sequence"] for entry in node.entries(shop)] == [1, 2]


# --- everything but a key and a peer, or its disk: last, for all peers are killed -------------------------------------


@contextmanager
def nothing_but_a_disk(node: Node, laptop: Laptop) -> Iterator[Laptop]:
    """Every peer dies, and nothing is left but a copy of the second one's Kubo directory."""
    for server in PEERS:
        node.kill(server)
    disk = laptop.folder / "disk"
    shutil.copytree(peer_servers.homes(node.home)[1].ipfs, disk, ignore=shutil.ignore_patterns("*.sock"))
    copied = replace(laptop, environ={**laptop.environ, "IPFS_PATH": str(disk)})
    try:
        copied.follow("A copied disk as a peer")
        yield copied
        run(["ipfs shutdown"], copied.environ, copied.folder)
        wait_for(lambda: is_free(int(node.connection("KUBO", 2)["port"])))
    finally:
        servers.up(node.home, airflow=False, isolated=False, report=print)


def test_nothing_but_a_private_key_and_a_peer_and_then_its_disk(
    node: Node, kept: str, mailed: Path, laptop: Laptop
) -> None:
    before, dump = node.measure(kept), _dump_of(node, kept)
    laptop = replace(laptop, environ={**laptop.environ, "NAME": kept, "FILE": str(mailed)})
    _by_addresses(node, laptop)
    with nothing_but_a_disk(node, laptop) as survivor:
        ways = {
            "With pgkeep": node.target(f"named_{kept}"),
            "A journal that was mailed": node.target(f"mailed_{kept}"),
            "Without pgkeep": node.target(f"by_hand_{kept}"),
        }
        node.psql(f"CREATE DATABASE by_hand_{kept}", server="SCRATCH")
        said = {heading: survivor.follow(heading, TARGET=target) for heading, target in ways.items()}
        _without_names(kept, survivor)
        fetch = f'pgkeep fetch {dump} --peer "$PEER" --node "$NODE" --journal "$FILE"'
        fetched = run([f"{fetch} | (head --bytes=5; cat > /dev/null)"], survivor.environ, survivor.folder)
    for heading in ("With pgkeep", "A journal that was mailed"):
        assert "? of 3" in said[heading]
        assert "equal to its source" in said[heading]
    assert said["Without pgkeep"].count("Good signature") == 4, "the journal, the dump, and two files of changes"
    for target in ways.values():
        assert node.measure(target.rpartition("/")[2], server="SCRATCH") == before
    assert fetched.startswith("PGDMP")


def _by_addresses(node: Node, laptop: Laptop) -> None:
    """Living peers: the cluster says how many copies there are; and nobody is believed whom nobody has named."""
    cluster = node.connection("CLUSTER", 3)
    doors = f'--peer "$PEER" --cluster http://{cluster["login"]}@{cluster["host"]}:{cluster["port"]}'
    environ = {**laptop.environ, "PGKEEP_PASSWORD": cluster["password"]}
    assert "3 of 3" in run([f'pgkeep list "$NAME" {doors} --node "$NODE"'], environ, laptop.folder)
    said = run([f'pgkeep list "$NAME" {doors} || test $? = 3'], environ, laptop.folder)
    assert f"it is signed by {environ['NODE']}, and nobody has said that this key is a node's" in said
    assert f"name it: --node {environ['NODE']}" in said
    said = run(
        [f'pgkeep list "$NAME" --peer "$PEER" --node {keys_of(node).recipients[0]} || test $? = 6'],
        environ,
        laptop.folder,
    )
    assert f"it is signed by a stranger, {environ['NODE']}" in said
    environ["PGKEEP_PASSWORD"] = "wrong"
    own = ['echo "$NODE:6:" | gpg --import-ownertrust', f'pgkeep list "$NAME" {doors}']
    said = run(own, environ, laptop.folder)
    assert "? of 3" in said, "the peer's Kubo is enough, and the keyring calls the key one's own"
    assert said.count("how many copies there are now is not known") == 1


def _without_names(name: str, survivor: Laptop) -> None:
    """The pins of other databases go first: all of them are tried."""
    pins = run(["ipfs pin ls --names --type=recursive"], survivor.environ, survivor.folder).splitlines()
    others = [pin.split()[0] for pin in pins if f"pgkeep/{name}/" not in pin]
    run([f"ipfs pin rm {' '.join(others)}"] if others else ["true"], survivor.environ, survivor.folder)
    cid, version = survivor.follow("A journal that has lost its name").split()
    assert f"{cid} recursive pgkeep/{name}/journal/{version}" in pins
    options = f'--peer "$PEER" --node "$NODE" --journal {cid}'
    listed = run([f"pgkeep list {name} {options}"], survivor.environ, survivor.folder)
    assert f"{name}: version {version} of the journal" in listed


def _dump_of(node: Node, name: str) -> str:
    parts = (part for entry in node.entries(name) for part in entry["backup"]["parts"])
    return next(str(part["cid"]) for part in parts if part["name"] == "dump")
