"""A node as its operator has it: a shell with the sandbox's environment, and databases of one's own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from fix_peers import block_file
from pgkeep import sandbox as servers
from pgkeep.adapters.postgres import Server
from pgkeep.sandbox import peer_servers
from pgkeep.sandbox.demo import Measured, measure


@dataclass(frozen=True)
class Node:
    """Commands of the operator, run as processes."""

    home: Path
    environ: Mapping[str, str]

    def pgkeep(
        self, *arguments: str, code: int = 0, environ: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Runs `pgkeep ARGUMENTS`, which must end with exit code `code`."""
        done = subprocess.run(
            [pgkeep_program(), *arguments],
            env={**self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"pgkeep {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts `pgkeep ARGUMENTS` and does not wait."""
        return subprocess.Popen(
            [pgkeep_program(), *arguments],
            env=dict(self.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def with_source(self, server: Server, *, tools: Path, passwords: Path) -> "Node":
        """The same node with another source. `tools`: PostgreSQL's programs; `passwords`: a file to write."""
        address, user = f"{server.host}:{server.port}", server.user
        passwords.write_text(Path(self.environ["PGPASSFILE"]).read_text() + f"{address}:*:{user}:{server.password}\n")
        passwords.chmod(0o600)
        connection = json.loads(self.environ["AIRFLOW_CONN_PGKEEP_SOURCE"])
        connection |= {"host": server.host, "port": server.port, "login": user, "password": server.password}
        source = {
            "AIRFLOW_CONN_PGKEEP_SOURCE": json.dumps(connection),
            "PGKEEP_SOURCE_URL": f"postgresql://{user}@{address}",
            "PGPASSFILE": str(passwords),
            "PATH": f"{tools}:{self.environ['PATH']}",
        }
        return Node(home=self.home, environ={**self.environ, **source})

    def measure(self, dbname: str, *, server: str = "SOURCE") -> Mapping[str, Measured]:
        """Every table and sequence, measured by the demo's own means, which are not pgkeep's."""
        found = measure(self.environ, dbname, server=server)
        return {name: measured for name, measured in found.items() if not name.startswith("_pgkeep.")}

    def schema(self, dbname: str, *, server: str = "SOURCE") -> str:
        """The definition of everything but what pgkeep itself has put there, as pg_dump writes it."""
        url = f"{self.environ[f'PGKEEP_{server}_URL']}/{dbname}"
        program = ["pg_dump", "--schema-only", "--create", "--exclude-schema=_pgkeep", "--no-publications", "-d", url]
        done = subprocess.run(program, env=dict(self.environ), capture_output=True, text=True, check=True)
        own = re.compile(r"(?s)\n--\n-- Name: pgkeep[^\n]*; Type: (EVENT TRIGGER|PUBLICATION).*?(?=\n--\n-- |\Z)")
        lines = own.sub("", done.stdout).replace(dbname, "shop").splitlines()
        return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict", "-- Dumped")))

    def psql(self, query: str, *, dbname: str = "postgres", server: str = "SOURCE") -> str:
        """The result of a statement, one value a line."""
        url = f"{self.environ[f'PGKEEP_{server}_URL']}/{dbname}"
        done = subprocess.run(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-"],
            env=dict(self.environ),
            input=query,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def psql_complaints(self, script: str, *, dbname: str) -> list[str]:
        """What PostgreSQL refuses of a script that goes on after errors."""
        url = f"{self.environ['PGKEEP_SOURCE_URL']}/{dbname}"
        done = subprocess.run(
            ["psql", "-XAtq", "-d", url, "-f", "-"],
            env=dict(self.environ),
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        return [line for line in done.stderr.splitlines() if "ERROR" in line]

    def entries(self, name: str) -> list[dict[str, Any]]:
        """`pgkeep list NAME --json`."""
        found: list[dict[str, Any]] = json.loads(self.pgkeep("list", name, "--json").stdout)["entries"]
        return found

    def sample(self, *, size: str = "3MB") -> str:
        """Makes a database with some rows of everything, and returns its name."""
        name = f"shop_{uuid.uuid4().hex[:8]}"
        self.pgkeep("sandbox", "sample", name, "--home", str(self.home), "--size", size)
        return name

    def drop(self, dbname: str) -> None:
        """The database is lost. A replication slot would stand in the way of DROP DATABASE."""
        self.psql(f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{dbname}'")
        self.psql(f'DROP DATABASE IF EXISTS "{dbname}" WITH (FORCE)')

    def target(self, dbname: str) -> str:
        """A database on the scratch server."""
        return f"{self.environ['PGKEEP_SCRATCH_URL']}/{dbname}"

    def kill(self, server: str) -> None:
        """SIGKILL to one of the sandbox's servers, and wait until it is gone."""
        pid = next(s.pid for s in servers.status(self.home) if s.name == server)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(s.name == server and s.pid for s in servers.status(self.home)))

    # --- behind pgkeep's back ----------------------------------------------------------------------------------------

    def rpc(self, command: str, *, peer: int = 1, data: bytes | None = None, **parameters: object) -> bytes:
        """Kubo's answer, from that very peer."""
        files = None if data is None else {"file": data}
        parameters = {key.replace("_", "-"): value for key, value in parameters.items()}
        answer = requests.post(
            f"{self._url('KUBO', peer)}/api/v0/{command}",
            params={key: str(value) for key, value in parameters.items()},
            files=files,
            timeout=60,
        )
        answer.raise_for_status()
        return answer.content

    def rest(self, method: str, path: str, *, peer: int = 1) -> list[dict[str, Any]]:
        """What that cluster peer answers, one object a line."""
        connection = self.connection("CLUSTER", peer)
        answer = requests.request(
            method,
            f"{self._url('CLUSTER', peer)}{path}",
            auth=(connection["login"], connection["password"]),
            timeout=60,
        )
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    def pins(self) -> set[str]:
        """Names of all that the own Kubo or the cluster has pinned."""
        own = json.loads(self.rpc("pin/ls", names="true", type="recursive")).get("Keys", {})
        return {pin["Name"] for pin in own.values()} | {pin["name"] for pin in self.rest("GET", "/allocations")}

    def dump_of(self, name: str) -> str:
        """The CID of the newest entry's dump."""
        parts = self.entries(name)[-1]["backup"]["parts"]
        return next(str(part["cid"]) for part in parts if part["name"] == "dump")

    def journal_cid(self, name: str, sequence: int) -> str:
        """What the cluster has under the journal's name."""
        wanted = f"pgkeep/{name}/journal/{sequence}"
        return next((str(pin["cid"]) for pin in self.rest("GET", "/allocations") if pin["name"] == wanted), "")

    def blocks(self, cid: str, *, peer: int) -> list[Path]:
        """The files in which that peer keeps an object."""
        answer = self.rpc("refs", peer=peer, arg=cid, recursive="true", offline="true")
        refs = [json.loads(line)["Ref"] for line in answer.splitlines()]
        store = peer_servers.homes(self.home)[peer - 1].ipfs / "blocks"
        return [next(store.rglob(block_file(ref))) for ref in [cid, *refs]]

    def flip(self, cid: str, *, peer: int) -> None:
        """One bit of the object's last block rots on that peer's disk."""
        block = self.blocks(cid, peer=peer)[-1]
        content = bytearray(block.read_bytes())
        content[len(content) // 2] ^= 1
        block.chmod(0o600)
        block.write_bytes(content)

    def replace_disk(self, peer: int) -> None:
        """Its Kubo comes back with its identity, and with nothing else."""
        self.kill(f"kubo-{peer}")
        for folder in ("blocks", "datastore"):
            shutil.rmtree(peer_servers.homes(self.home)[peer - 1].ipfs / folder)
        self.heal()

    def _url(self, door: str, peer: int) -> str:
        connection = self.connection(door, peer)
        return f"http://{connection['host']}:{connection['port']}"

    def connection(self, door: str, peer: int) -> dict[str, Any]:
        """What `AIRFLOW_CONN_..` says of a peer."""
        suffix = "" if peer == 1 else f"_{peer}"
        return dict(json.loads(self.environ[f"AIRFLOW_CONN_PGKEEP_{door}{suffix}"]))

    def heal(self) -> None:
        """`pgkeep sandbox up`."""
        servers.up(self.home, airflow=False, isolated=False, report=print)


def wait_for(ready: Callable[[], bool], *, patience: float = 60.0) -> None:
    """Returns as soon as `ready()` holds."""
    deadline = time.monotonic() + patience
    while not ready():
        assert time.monotonic() < deadline, f"waited {patience} s in vain"
        time.sleep(0.02)


def pgkeep_program() -> str:
    """The command that was installed with this Python."""
    return str(Path(sys.executable).with_name("pgkeep"))


@pytest.fixture
def node(sandbox_home: Path, sandbox: Mapping[str, str]) -> Node:
    """The operator's shell; all servers run."""
    return Node(home=sandbox_home, environ=sandbox)


@pytest.fixture
def shop(node: Node) -> str:
    """A database of its own for each test, with some rows of everything, known to pgkeep but not backed up yet.

    Full backups only.
    """
    name = node.sample()
    node.pgkeep("init", name, "--full-only")
    return name


@pytest.fixture
def kept(node: Node) -> Iterator[str]:
    """As `shop`, and its changes are kept."""
    name = node.sample()
    node.pgkeep("init", name)
    yield name
    node.drop(name)
