"""Three real peers of a private cluster that a test may break in any way: `start` makes them whole again."""

import base64
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from pgkeep.adapters.ipfs import Cluster, Endpoint, IpfsVault, Kubo, PeerAddress
from pgkeep.model import Cid
from pgkeep.sandbox import binaries, peer_homes, peer_servers, processes, tcp_ports
from pgkeep.sandbox.place import State, make_private_directory
from pgkeep.sandbox.processes import Server

Kind = Literal["kubo", "cluster"]
STALL = 30.0


@dataclass
class Peers:
    """Peers 1 to 3, named as the sandbox names them; 1 is the own one."""

    home: Path
    state: State
    frozen: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Starts what does not run; returns when all can take a pin."""
        for pid in self.frozen:
            os.kill(pid, signal.SIGCONT)
        self.frozen.clear()
        peer_servers.start(self.home, self.state, peer_servers.configure(self.home, self.state))

    def vault(self, *, stall: float = STALL) -> IpfsVault:
        return IpfsVault([self.address(i) for i in (1, 2, 3)], stall=stall)

    def address(self, index: int) -> PeerAddress:
        return PeerAddress(name=f"peer-{index}", kubo=self.rpc(index), cluster=self.rest(index))

    def rpc(self, index: int) -> Endpoint:
        return Endpoint(url=f"http://127.0.0.1:{self.state.ports[f'rpc-{index}']}")

    def rest(self, index: int, *, password: str | None = None) -> Endpoint:
        return Endpoint(
            url=f"http://127.0.0.1:{self.state.ports[f'rest-{index}']}",
            login=peer_servers.REST_USER,
            password=password or self.state.secrets["rest"],
        )

    def kubo(self, index: int) -> Kubo:
        return Kubo(self.rpc(index), stall=STALL)

    def cluster(self, index: int) -> Cluster:
        return Cluster(self.rest(index), stall=STALL)

    def kill(self, kind: Kind, index: int) -> None:
        """SIGKILL, and wait until it is gone."""
        found = processes.leader(self.home / "run", f"{kind}-{index}")
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        processes.stop(self.home / "run", self._server(kind, index))

    def kill_peer(self, index: int) -> None:
        self.kill("cluster", index)
        self.kill("kubo", index)

    def freeze(self, kind: Kind, index: int) -> None:
        """It keeps its connections and says nothing any more, until `start`."""
        found = processes.leader(self.home / "run", f"{kind}-{index}")
        assert found is not None
        self.frozen.append(found.pid)
        os.kill(found.pid, signal.SIGSTOP)

    def blocks(self, index: int) -> Path:
        return peer_servers.homes(self.home)[index - 1].ipfs / "blocks"

    def block(self, index: int, cid: Cid) -> Path:
        """The file in which that peer keeps that block."""
        return next(self.blocks(index).rglob(block_file(cid)))

    def replace_disk(self, index: int) -> None:
        """Its Kubo comes back with its identity, and with nothing else."""
        self.kill("kubo", index)
        for folder in ("blocks", "datastore"):
            shutil.rmtree(self.blocks(index).with_name(folder))
        self.start()

    @contextmanager
    def disk_failing(self, index: int) -> Iterator[None]:
        """Whatever Kubo wants to write into its block store fails meanwhile."""
        blocks, aside = self.blocks(index), self.blocks(index).with_name("blocks.aside")
        blocks.rename(aside)
        try:
            yield
        finally:
            aside.rename(blocks)

    def stop(self) -> None:
        for pid in self.frozen:
            os.kill(pid, signal.SIGCONT)
        for server in reversed(peer_servers.servers(self.home, self.state)):
            processes.stop(self.home / "run", server)

    def _server(self, kind: Kind, index: int) -> Server:
        servers = peer_servers.servers(self.home, self.state)
        return next(server for server in servers if server.name == f"{kind}-{index}")


@contextmanager
def running_peers(home: Path) -> Iterator[Peers]:
    """Three peers with new identities in `home`; stopped at the end. Start them before each use."""
    programs = binaries.provide(print)
    chosen = tcp_ports.choose(peer_servers.port_names(), taken=())
    state = State(ports=chosen, ipfs_programs=str(programs)).with_secrets("swarm", "cluster", "rest")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda peer: peer_homes.initialise(peer, programs), peer_servers.homes(home)))
    peers = Peers(home=home, state=state)
    for server in peer_servers.servers(home, state):
        make_private_directory(server.directory)
    try:
        yield peers
    finally:
        peers.stop()


def block_file(cid: str) -> str:
    """The name of a block's file in flatfs: CIDv1 is version, codec and multihash, in base32."""
    text = cid.removeprefix("b").upper()
    binary = base64.b32decode(text + "=" * (-len(text) % 8))
    return base64.b32encode(binary[2:]).decode().rstrip("=") + ".data"


def cid_of(content: bytes) -> Cid:
    """What an object of one block is called: CIDv1, raw, SHA-256."""
    binary = bytes([0x01, 0x55, 0x12, 0x20]) + hashlib.sha256(content).digest()
    return Cid("b" + base64.b32encode(binary).decode().lower().rstrip("="))


def eventually(holds: Callable[[], bool], *, seconds: float = 90.0) -> bool:
    """Whether it becomes true in time: what a cluster agrees on needs a moment to get around."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def peers_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with running_peers(tmp_path_factory.mktemp("peers")) as peers:
        yield peers


@pytest.fixture
def peers(peers_of_module: Peers) -> Peers:
    """Running, whatever an earlier test of the file has done to them."""
    peers_of_module.start()
    return peers_of_module
