"""What docker-compose's one-shot services make, read by the real servers: everything that needs no container engine.

Only the addresses are other ones: names and ports of this machine instead of names of containers.
"""

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import yaml
from psycopg import sql

from pgkeep.sandbox import binaries, compose, tcp_ports
from pgkeep.sandbox.place import load_state, make_private_directory

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "include" / "compose"
SERVICES: Mapping[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))[
    "services"
]
PEERS = (1, 2, 3)
SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """The volumes after `init`, as directories; `ports` replace the containers' names."""

    root: Path
    ports: Mapping[str, int]

    def peer(self, index: int) -> Path:
        return self.root / "peers" / f"peer-{index}"

    def url(self, kind: str, index: int) -> str:
        return f"http://127.0.0.1:{self.ports[f'{kind}-{index}']}"

    def addresses(self, index: int) -> dict[str, str]:
        """The containers' addresses with a port of each peer's own: still names to look up, still not loopback only."""
        kinds = {"swarm": 4001, "rpc": 5001, "gossip": 9096, "rest": 9094}
        found = compose.in_containers(index)
        for name, address in found.items():
            kind, default = next((k, d) for k, d in kinds.items() if name.startswith(k))
            address = address.replace(f"/dns4/kubo-{index}/", "/dns4/localhost/")
            address = address.replace(f"/dns4/cluster-{index}/", "/dns4/localhost/")
            found[name] = address.replace(str(default), str(self.ports[f"{kind}-{index}"]))
        return found


def make_identities(root: Path) -> None:
    """Runs the script of the two services that do this, with the programs that are in their images."""
    environment = {"PATH": os.pathsep.join([str(binaries.provide(print)), os.defpath])}
    directories = sorted((root / "peers").iterdir())
    for kind in ("ipfs", "cluster"):
        command = ["/bin/sh", SCRIPTS / "identities.sh", kind, *directories]
        subprocess.run(command, env=environment, check=True, timeout=SECONDS)


def prepare(volumes: Volumes) -> None:
    compose.prepare(
        volumes.root,
        owners=compose.Owners() if os.geteuid() == 0 else None,
        addresses=volumes.addresses,
        storage_max="50GB",
    )


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Volumes:
    root = tmp_path_factory.mktemp("compose")
    for name in ("secrets", "site", "postgres", *(f"peers/peer-{index}" for index in PEERS)):
        make_private_directory(root / name)
    names = [f"{kind}-{index}" for kind in ("swarm", "rpc", "gossip", "rest") for index in PEERS]
    found = Volumes(root=root, ports=tcp_ports.choose(names, taken=()))
    make_identities(root)
    prepare(found)
    return found


def content(volumes: Volumes) -> dict[str, tuple[int, int, bytes]]:
    """Mode, owner and bytes of every file but the databases that the peers' programs keep."""
    files = [path for path in volumes.root.rglob("*") if path.is_file() and "datastore" not in path.parts]
    return {str(path): (path.stat().st_mode, path.stat().st_uid, path.read_bytes()) for path in files}


def test_a_second_start_changes_nothing(volumes: Volumes) -> None:
    before = content(volumes)
    make_identities(volumes.root)
    prepare(volumes)
    assert content(volumes) == before


def test_what_the_user_wrote_stays(volumes: Volumes) -> None:
    configuration = volumes.root / "site" / "pgkeep.toml"
    original = configuration.read_text(encoding="utf-8")
    configuration.write_text(original + "[databases.shop]\n", encoding="utf-8")
    prepare(volumes)
    assert configuration.read_text(encoding="utf-8").endswith("[databases.shop]\n")
    configuration.write_text(original, encoding="utf-8")


def test_nobody_but_its_reader_can_read_a_file(volumes: Volumes) -> None:
    files = [path for path in volumes.root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away, as it does in the container")
def test_every_volume_belongs_to_its_reader(volumes: Volumes) -> None:
    def owners(path: Path) -> set[tuple[int, int]]:
        return {(found.lstat().st_uid, found.lstat().st_gid) for found in path.rglob("*")}

    expected = compose.Owners()
    assert owners(volumes.root / "site") == {expected.airflow}
    assert owners(volumes.root / "postgres") == {expected.postgres}
    assert owners(volumes.root / "peers" / "peer-1") == {expected.peers}
    assert owners(volumes.root / "secrets") == {(0, 0)}


def test_an_interrupted_start_is_finished_by_the_next(volumes: Volumes, tmp_path: Path) -> None:
    peer = make_private_directory(tmp_path / "peers" / "peer-1")
    make_private_directory(peer / ".new-ipfs").joinpath("config").write_text("half a")
    make_identities(tmp_path)
    assert sorted(path.name for path in peer.iterdir()) == ["cluster", "ipfs"]
    assert json.loads((peer / "ipfs" / "config").read_text())["Identity"]["PeerID"]


def shell(volumes: Volumes, *command: str) -> str:
    """What a command prints in a container of the Airflow image, as far as its entry script decides."""
    environment = {"PATH": os.environ["PATH"], "PGKEEP_SITE": str(volumes.root / "site")}
    arguments = ["/bin/sh", str(SCRIPTS / "entry.sh"), *command]
    return subprocess.run(arguments, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def test_the_entry_script_passes_everything_on(volumes: Volumes) -> None:
    said = shell(volumes, "env")
    state = load_state(volumes.root / "secrets")
    for name, value in compose.environment(volumes.root / "site", state).items():
        assert f"{name}={value}\n" in said


def test_the_keyring_holds_the_keys_that_the_configuration_names(volumes: Volumes) -> None:
    listed = shell(volumes, "gpg", "--batch", "--with-colons", "--list-secret-keys")
    subprocess.run(["gpgconf", "--homedir", volumes.root / "site" / "gnupg", "--kill", "all"], check=True)
    for fingerprint in load_state(volumes.root / "secrets").fingerprints.values():
        assert f":{fingerprint}:" in listed


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code == 204
    except requests.ConnectionError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """Stands in for the engine: runs the programs of docker-compose.yml with the settings written there."""

    volumes: Volumes
    programs: Path
    running: ExitStack
    daemons: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def environment(self, service: str) -> dict[str, str]:
        peer = self.volumes.peer(int(service[-1]))
        settings = {k: str(v).replace("/peer/", f"{peer}/") for k, v in SERVICES[service]["environment"].items()}
        return {"PATH": os.defpath, **settings}

    def start(self, service: str, program: str) -> None:
        command = [self.programs / program, *SERVICES[service]["command"]]
        with (self.volumes.root / f"{service}.log").open("w") as log:
            daemon = subprocess.Popen(command, env=self.environment(service), stdout=log, stderr=log)
        self.running.callback(daemon.wait, timeout=30)
        self.running.callback(daemon.terminate)
        self.daemons.append(daemon)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Waits, but not for a daemon that has ended; the reason is in its log, below the volumes."""

        def ready_or_over() -> bool:
            assert [daemon.args for daemon in self.daemons if daemon.poll() is not None] == []
            return ready()

        wait_until(ready_or_over)

    def is_healthy(self, service: str) -> bool:
        """Runs a Kubo service's health check."""
        port = str(self.volumes.ports[service.replace("kubo", "rpc")])
        _, program, *arguments = [str(word).replace("5001", port) for word in SERVICES[service]["healthcheck"]["test"]]
        check = [str(self.programs / program), *arguments]
        return subprocess.run(check, env=self.environment(service), capture_output=True, check=False).returncode == 0


@pytest.fixture
def vault(volumes: Volumes) -> Iterator[Volumes]:
    """Three pairs of daemons, started as the compose file starts them."""
    with ExitStack() as running:
        containers = Containers(volumes=volumes, programs=binaries.provide(print), running=running)
        for index in PEERS:
            containers.start(f"kubo-{index}", "ipfs")
        for index in PEERS:
            containers.wait_until(partial(containers.is_healthy, f"kubo-{index}"))
        for index in PEERS:
            containers.start(f"cluster-{index}", "ipfs-cluster-service")
        for index in PEERS:
            containers.wait_until(partial(answers, f"{volumes.url('rest', index)}/health"))
        yield volumes


def test_the_peers_form_one_vault(vault: Volumes) -> None:
    cluster = json.loads(
        compose.environment(vault.root, load_state(vault.root / "secrets"))["AIRFLOW_CONN_PGKEEP_CLUSTER"]
    )
    login = (cluster["login"], cluster["password"])
    assert requests.get(f"{vault.url('rest', 1)}/id", timeout=10).status_code == 401

    def can_pin() -> bool:
        metrics = requests.get(f"{vault.url('rest', 1)}/monitor/metrics/freespace", auth=login, timeout=10).json() or []
        return len([metric for metric in metrics if metric["valid"]]) == len(PEERS)

    wait_until(can_pin)
    added = requests.post(
        f"{vault.url('rpc', 1)}/api/v0/add", params={"progress": "false"}, files={"file": b"kept"}, timeout=30
    )
    pin = f"{vault.url('rest', 1)}/pins/{added.json()['Hash']}"
    requests.post(
        pin, params={"replication-min": "3", "replication-max": "3"}, auth=login, timeout=30
    ).raise_for_status()

    def holders() -> set[str]:
        peers = requests.get(pin, auth=login, timeout=30).json()["peer_map"].values()
        return {peer["ipfs_peer_id"] for peer in peers if peer["status"] == "pinned"}

    wait_until(lambda: len(holders()) == len(PEERS))
    read = requests.post(
        f"{vault.url('rpc', 3)}/api/v0/cat", params={"arg": added.json()["Hash"], "offline": "true"}, timeout=30
    )
    assert read.content == b"kept"


def test_the_databases_script_makes_what_airflow_connects_to(volumes: Volumes, sandbox: Mapping[str, str]) -> None:
    scratch = json.loads(sandbox["AIRFLOW_CONN_PGKEEP_SCRATCH"])
    where = {"host": scratch["host"], "port": scratch["port"]}
    environment = {**sandbox, "PGKEEP_SECRETS": str(volumes.root / "postgres")}
    arguments = ["psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", str(SCRIPTS / "databases.sql")]
    with psycopg.connect(
        **where, user=scratch["login"], dbname="postgres", passfile=sandbox["PGPASSFILE"], autocommit=True
    ) as server:

        def forget() -> None:
            for database in ("airflow", "shop"):
                server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
            server.execute("DROP ROLE IF EXISTS airflow")

        forget()
        try:
            subprocess.run(
                [*arguments, sandbox["PGKEEP_SCRATCH_URL"] + "/postgres"], env=environment, check=True, timeout=60
            )
            password = load_state(volumes.root / "secrets").secrets["airflow"]
            with psycopg.connect(**where, user="airflow", password=password, dbname="airflow") as own:
                own.execute("CREATE TABLE public.of_airflow ()")
            with psycopg.connect(**where, user="airflow", password=password, dbname="shop") as other:
                answer = other.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
                assert answer == (False,)
        finally:
            forget()
