"""The sandbox with real servers: what `up` promises is there, survives accidents, and is gone after `down`."""

import contextlib
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import gnupg
import psycopg
import pytest
import requests

from pgkeep import sandbox
from pgkeep.errors import ConfigError
from pgkeep.sandbox import first_pin, keys, processes
from pgkeep.sandbox.place import State, load_state
from pgkeep.sandbox.processes import Server

SERVERS = ["source", "scratch", "kubo-1", "kubo-2", "kubo-3", "cluster-1", "cluster-2", "cluster-3"]
COMMAND = "import sys; from pathlib import Path; from pgkeep import sandbox; "
UP = (
    COMMAND
    + "sandbox.up(Path(sys.argv[1]), airflow=False, isolated=False, report=lambda line: print(line, flush=True))"
)


def up(home: Path) -> list[str]:
    lines: list[str] = []
    sandbox.up(home, airflow=False, isolated=False, report=lines.append)
    return lines


def down(home: Path) -> list[str]:
    lines: list[str] = []
    sandbox.down(home, report=lines.append)
    return lines


def pids(home: Path) -> dict[str, int | None]:
    return {server.name: server.pid for server in sandbox.status(home)}


def connect(home: Path, server: str = "source") -> "psycopg.Connection[tuple[object, ...]]":
    """Connects as a user of the sandbox would: with what `env` says, and nothing else."""
    variables = sandbox.environment(home)
    connection = json.loads(variables[f"AIRFLOW_CONN_PGKEEP_{server.upper()}"])
    return psycopg.connect(
        host=connection["host"],
        port=connection["port"],
        user=connection["login"],
        dbname="postgres",
        passfile=variables["PGPASSFILE"],
        autocommit=True,
    )


def store(home: Path, content: bytes) -> str:
    """Adds an object at the first peer and has the cluster pin it on all three; its CID."""
    variables = sandbox.environment(home)
    kubo, cluster = (json.loads(variables[f"AIRFLOW_CONN_PGKEEP_{kind}"]) for kind in ("KUBO", "CLUSTER"))
    answer = requests.post(
        f"http://127.0.0.1:{kubo['port']}/api/v0/add",
        params={"cid-version": "1", "progress": "false"},
        files={"file": content},
        timeout=30,
    )
    cid = str(answer.json()["Hash"])
    deadline = time.monotonic() + 60
    while True:  # a peer that has just come back has not told yet how much room it has
        pinned = requests.post(
            f"http://127.0.0.1:{cluster['port']}/pins/{cid}",
            params={"replication-min": "3", "replication-max": "3", "name": "test"},
            auth=(cluster["login"], cluster["password"]),
            timeout=30,
        )
        if pinned.ok or time.monotonic() > deadline:
            pinned.raise_for_status()
            return cid
        time.sleep(0.2)


def holders(home: Path, cid: str) -> set[str]:
    """Kubo identities that hold the object, as the third peer sees it; waits until there are three, or a minute."""
    cluster = json.loads(sandbox.environment(home)["AIRFLOW_CONN_PGKEEP_CLUSTER_3"])
    found: set[str] = set()
    deadline = time.monotonic() + 60
    while len(found) < 3 and time.monotonic() < deadline:
        answer = requests.get(
            f"http://127.0.0.1:{cluster['port']}/pins/{cid}", auth=(cluster["login"], cluster["password"]), timeout=30
        )
        peers = answer.json()["peer_map"].values()
        found = {peer["ipfs_peer_id"] for peer in peers if peer["status"] == "pinned"}
        time.sleep(0.05)
    return found


def kill(home: Path, name: str) -> None:
    victim = processes.leader(home / "run", name)
    assert victim
    os.kill(victim.pid, signal.SIGKILL)
    while processes.look_up(victim.pid):
        time.sleep(0.01)


def remains(home: Path) -> list[processes.Process]:
    """Processes that run below the sandbox's home or its data directory."""
    places = (str(home.resolve()), load_state(home).postgres_data or "/nowhere")
    return [p for p in processes.process_table() if p.directory.startswith(places)]


def listening(ports: Sequence[int]) -> list[int]:
    def answers(port: int) -> bool:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
        return False

    return [port for port in ports if answers(port)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One sandbox for this file, at an address that is hard on shells, URLs and sockets: spaces, and long."""
    place = tmp_path_factory.mktemp("a place with 'quotes' and spaces") / ("long " * 24).strip()
    assert len(str(place)) > 120
    try:
        up(place)
        yield place
    finally:
        sandbox.remove(place, report=lambda _: None)


@pytest.fixture
def running(home: Path) -> Path:
    up(home)
    return home


def test_up_starts_every_server(running: Path) -> None:
    found = pids(running)
    assert list(found) == SERVERS
    assert all(found.values())


def test_source_and_scratch_are_ready_for_logical_decoding(running: Path) -> None:
    for server in ("source", "scratch"):
        with connect(running, server) as connection:
            assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
            assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (
                True,
            )
            assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_postgres_listens_on_loopback_only_and_asks_for_a_password(running: Path) -> None:
    state = load_state(running)
    with connect(running) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            host="127.0.0.1", port=state.ports["source"], user="pgkeep", password="wrong", dbname="postgres"
        )


def test_postgres_never_runs_as_root(running: Path) -> None:
    for name in ("source", "scratch"):
        assert Path(f"/proc/{pids(running)[name]}").stat().st_uid != 0


def test_env_is_all_that_a_shell_needs(running: Path) -> None:
    use = 'psql "$PGKEEP_SOURCE_URL/postgres" -Atc "select 6*7"; gpg -K --with-colons'
    script = f". {shlex.quote(str(running / 'env'))}; {use}"
    answer = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.defpath})
    assert answer.stdout.startswith("42\n")
    assert answer.stdout.count("\nsec:") == 3


def test_an_object_gets_three_copies(running: Path) -> None:
    assert len(holders(running, store(running, b"three copies"))) == 3


def test_the_cluster_asks_for_a_password(running: Path) -> None:
    cluster = json.loads(sandbox.environment(running)["AIRFLOW_CONN_PGKEEP_CLUSTER"])
    assert requests.get(f"http://127.0.0.1:{cluster['port']}/peers", timeout=10).status_code == 401


def test_peers_are_configured_for_keeping(running: Path) -> None:
    for peer in (running / "peers").iterdir():
        kubo = json.loads((peer / "ipfs/config").read_text())
        cluster = json.loads((peer / "cluster/service.json").read_text())
        assert kubo["Datastore"]["HashOnRead"] is True
        assert kubo["Datastore"]["Spec"]["mounts"][0]["sync"] is True
        assert kubo["Bootstrap"] == []
        assert len(set(cluster["consensus"]["crdt"]["trusted_peers"])) == 3
        assert list(cluster["datastore"]) == ["leveldb"]


def test_keys_encrypt_and_sign(running: Path) -> None:
    state = load_state(running)
    keyring = gnupg.GPG(gnupghome=str(running / "gnupg"))
    recipients = [state.fingerprints["recipient-1"], state.fingerprints["recipient-2"]]
    sealed = keyring.encrypt(b"secret", recipients, sign=state.fingerprints["node"], always_trust=True)
    opened = keyring.decrypt(str(sealed))
    assert opened.data == b"secret"
    assert opened.pubkey_fingerprint == state.fingerprints["node"]
    ends = [int(key["expires"]) for key in keyring.list_keys()]
    assert all(end > time.time() + 4 * 365 * 86_400 for end in ends)


@pytest.mark.parametrize("size", [106, 107, 108])
def test_keys_are_made_at_any_depth(tmp_path: Path, size: int) -> None:
    home = tmp_path / ("d" * (size - len(str(tmp_path)) - len("//S.gpg-agent.browser")))
    sockets = keys.prepare_keyring(home, sockets="")
    try:
        assert len(keys.provide_keys(home)) == 3
    finally:
        keys.stop_agent(home, sockets=sockets)


def test_the_configuration_names_the_keys(running: Path) -> None:
    state = load_state(running)
    content = tomllib.loads((running / "pgkeep.toml").read_text())
    assert content["keys"]["gnupghome"] == str(running / "gnupg")
    assert content["keys"]["node"] == state.fingerprints["node"]
    assert [peer["kubo"] for peer in content["vault"]["peers"]] == ["pgkeep_kubo", "pgkeep_kubo_2", "pgkeep_kubo_3"]
    assert not any(secret in (running / "pgkeep.toml").read_text() for secret in state.secrets.values())


def test_nobody_else_can_read_anything(running: Path) -> None:
    places = [running, *running.rglob("*")]
    open_to_others = [p for p in places if not p.is_symlink() and p.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    # Root's sandbox may let the databases' user walk through these two, which shows nothing.
    allowed = {running, running / "postgres"} if os.geteuid() == 0 else set()
    assert {p for p in open_to_others if p.stat().st_mode & 0o777 != 0o711 or p not in allowed} == set()


def test_no_secret_is_on_a_command_line(running: Path) -> None:
    lines = []
    for process in processes.process_table():
        with contextlib.suppress(OSError):
            lines.append(Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace"))
    assert not [secret for secret in load_state(running).secrets.values() for line in lines if secret in line]


def test_secrets_are_not_shown(running: Path) -> None:
    state = load_state(running)
    assert isinstance(state, State)
    assert not [secret for secret in state.secrets.values() if secret in repr(state)]


def test_a_second_up_changes_nothing(running: Path) -> None:
    before = pids(running)
    lines = up(running)
    assert pids(running) == before
    assert "everything is running already" in lines


@pytest.mark.parametrize("name", SERVERS)
def test_up_heals_one_killed_server(running: Path, name: str) -> None:
    with connect(running) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (name text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [name])
    cid = store(running, f"kept by {name}".encode())
    assert len(holders(running, cid)) == 3
    before, ports = pids(running), load_state(running).ports
    kill(running, name)
    assert pids(running)[name] is None
    up(running)
    after = pids(running)
    assert [server for server in SERVERS if after[server] != before[server]] == [name]
    assert load_state(running).ports == ports
    with connect(running) as connection:
        assert connection.execute("SELECT count(*) FROM kept WHERE name = %s", [name]).fetchone() == (1,)
    assert len(holders(running, cid)) == 3


def test_up_heals_when_everything_was_killed(running: Path) -> None:
    cid = store(running, b"kept when everything dies")
    assert len(holders(running, cid)) == 3
    for name in SERVERS:
        kill(running, name)
    up(running)
    assert all(pids(running).values())
    assert len(holders(running, cid)) == 3


def test_a_cluster_peer_that_hears_of_no_pin_is_started_anew(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVERS[-3:]:
        kill(running, name)
    has, deaf = first_pin._has, list[int | None]()

    def hears(session: requests.Session, server: Server) -> bool:
        pid = pids(running)[server.name]
        if server.name == "cluster-2" and not deaf:
            deaf.append(pid)
        return pid not in deaf and has(session, server)

    monkeypatch.setattr(first_pin, "SECONDS", 1.0)
    monkeypatch.setattr(first_pin, "_has", hears)
    up(running)
    assert pids(running)["cluster-2"] not in (None, *deaf)
    assert len(holders(running, store(running, b"heard of by all"))) == 3


def test_a_lost_record_does_not_lose_the_process(running: Path) -> None:
    (running / "run/kubo-2.json").unlink()
    before = pids(running)
    up(running)
    assert len([p for p in remains(running) if p.directory.endswith("run/kubo-2")]) == 1
    assert before["kubo-2"] is None


def test_a_recycled_number_is_nobody_we_know(running: Path) -> None:
    down(running)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        record = {"pid": bystander.pid, "started": 1, "world": processes._this_world(), "configuration": ""}
        (running / "run/kubo-1.json").write_text(json.dumps(record))
        assert pids(running)["kubo-1"] is None
        up(running)
        down(running)
        assert bystander.poll() is None
        bystander.terminate()


def test_a_taken_port_is_replaced_everywhere(running: Path) -> None:
    down(running)
    before = load_state(running).ports
    with socket.create_server(("127.0.0.1", before["source"])), socket.create_server(("127.0.0.1", before["swarm-2"])):
        lines = up(running)
        after = load_state(running).ports
        assert {name for name in after if after[name] != before[name]} == {"source", "swarm-2"}
        assert sum("was taken by another program" in line for line in lines) == 2
        assert f"127.0.0.1:{after['source']}" in (running / "env").read_text()
        with connect(running) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert len(holders(running, store(running, b"after moving"))) == 3


def test_two_at_once_take_turns(running: Path) -> None:
    down(running)
    both = [
        subprocess.Popen([sys.executable, "-c", UP, str(running)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("everything is running already" in output for output in outputs) == 1
    assert sum("waiting for it" in output for output in outputs) <= 1
    assert all(pids(running).values())
    names = [Path(p.directory).name for p in remains(running) if p.session == p.pid and "run" in p.directory]
    assert sorted(names) == sorted(SERVERS[2:])


@pytest.mark.parametrize(
    ("seconds", "how"),
    [(0.4, signal.SIGKILL), (0.9, signal.SIGINT), (1.5, signal.SIGKILL), (2.0, signal.SIGINT), (3.0, signal.SIGKILL)],
)
def test_an_interrupted_up_can_be_repeated(
    tmp_path_factory: pytest.TempPathFactory, seconds: float, how: signal.Signals
) -> None:
    place = tmp_path_factory.mktemp("half") / "way"  # short: gpg-agent's sockets are below it
    try:
        with subprocess.Popen([sys.executable, "-c", UP, str(place)], stderr=subprocess.DEVNULL) as first:
            time.sleep(seconds)
            first.send_signal(how)
        up(place)
        assert all(pids(place).values())
        down(place)
        assert remains(place) == []
    finally:
        sandbox.remove(place, report=lambda _: None)


def test_two_sandboxes_side_by_side(running: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    in_use = listening(list(load_state(running).ports.values()))
    try:
        up(other)
        assert not set(in_use) & set(load_state(other).ports.values())
        mine = pids(running)
        down(other)
        assert pids(running) == mine
        assert all(mine.values())
        data = Path(load_state(other).postgres_data)
        assert data.is_dir()
        pgkeep = Path(sys.executable).with_name("pgkeep")
        subprocess.run([pgkeep, "sandbox", "down", "--remove", "--home", other], check=True)
        assert not data.exists()
        assert not other.exists()
    finally:
        sandbox.remove(other, report=lambda _: None)


def test_down_leaves_nothing_but_the_data(running: Path) -> None:
    with connect(running) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS stays ()")
    subprocess.run(["gpg", "--homedir", running / "gnupg", "-K"], capture_output=True, check=True)
    ports = list(load_state(running).ports.values())
    down(running)
    assert not any(pids(running).values())
    assert remains(running) == []
    assert listening(ports) == []
    agents = [p.pid for p in processes.process_table() if str(running / "gnupg") in _command_line(p.pid)]
    assert agents == []
    assert down(running) == ["nothing was running"]
    up(running)
    with connect(running) as connection:
        assert connection.execute("SELECT to_regclass('stays') IS NOT NULL").fetchone() == (True,)


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def test_a_changed_password_is_said(running: Path) -> None:
    with connect(running, "scratch") as connection:
        connection.execute("ALTER ROLE pgkeep PASSWORD 'another'")
        with pytest.raises(ConfigError, match="does not accept the sandbox's password"):
            up(running)
        password = psycopg.sql.Literal(load_state(running).secrets["scratch"])
        connection.execute(psycopg.sql.SQL("ALTER ROLE pgkeep PASSWORD {}").format(password))
    up(running)


def test_there_is_no_environment_without_a_sandbox(tmp_path: Path) -> None:
    assert list(sandbox.status(tmp_path / "none")) == []
    assert down(tmp_path / "none") == [f"there is no sandbox in {tmp_path / 'none'}"]
    with pytest.raises(ConfigError, match="there is no sandbox"):
        sandbox.environment(tmp_path / "none")
    assert not (tmp_path / "none").exists()
