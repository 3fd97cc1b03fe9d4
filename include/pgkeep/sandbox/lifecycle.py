"""The sandbox's life, read top to bottom: `up` makes and starts what is missing, `down` ends all that runs."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

from pgkeep.errors import ConfigError

from . import (
    airflow_servers,
    binaries,
    keys,
    peer_homes,
    peer_servers,
    postgres_servers,
    processes,
    tcp_ports,
    user_files,
)
from .place import Report, State, load_state, locked, make_private_directory, save_state
from .postgres_programs import find_programs
from .processes import Server, ServerStatus

SECRETS = ("source", "scratch", "metadata", "swarm", "cluster", "rest", *airflow_servers.SECRETS)
PORTS = ("source", "scratch", "metadata", airflow_servers.PORT, *peer_servers.port_names())


def up(home: Path, *, airflow: bool, report: Report) -> None:
    """Starts what does not run yet, in the world that we are in. `isolated_sandbox.up` says the rest."""
    with locked(home, report):
        state = _prepare(home, airflow=airflow, report=report)
        state, started = _start(home, state, report)
        if state.airflow:
            started += _start_airflow(home, state, report)
        report(f"started {', '.join(started)}" if started else "everything is running already")
        report(f"the sandbox is ready: . {home / 'env'}")


def _prepare(home: Path, *, airflow: bool, report: Report) -> State:
    """Decides and records all that the servers need to know of each other, before any of them is started."""
    for name in ("run", "logs"):
        make_private_directory(home / name)
    state = load_state(home).with_secrets(*SECRETS)
    state = replace(state, airflow=airflow or state.airflow)
    if state.airflow:
        airflow_servers.require()
    state = _with_programs(home, state, report)
    state = _with_free_ports(home, state, report)
    save_state(home, state)
    for server in servers(home, state):
        if server.directory.parent == home / "run":
            make_private_directory(server.directory)
    return state


def _with_programs(home: Path, state: State, report: Report) -> State:
    owner = postgres_servers.find_owner()
    programs = postgres_servers.reachable_programs(find_programs(preferred=state.postgres_major), owner)
    return replace(
        state,
        ipfs_programs=str(binaries.provide(report, known=state.ipfs_programs)),
        postgres_programs=str(programs.directory),
        postgres_major=programs.major,
        postgres_data=state.postgres_data or str(postgres_servers.choose_data(home, owner)),
        agent_sockets=keys.prepare_keyring(home / "gnupg", sockets=state.agent_sockets),
    )


def _with_free_ports(home: Path, state: State, report: Report) -> State:
    """Keeps every port that is free or held by our own server, and chooses the others."""
    state = state.with_ports(tcp_ports.choose([n for n in PORTS if n not in state.ports], taken=state.ports.values()))
    running = {server.name for server in servers(home, state) if processes.members(home / "run", server)}
    lost = [n for n in PORTS if _server_of(n) not in running and not tcp_ports.is_free(state.ports[n])]
    for name in lost:
        report(f"port {state.ports[name]} ({name}) was taken by another program: choosing another, read `env` again")
    return state.with_ports(tcp_ports.choose(lost, taken=state.ports.values()))


def _server_of(port: str) -> str:
    kind, _, index = port.partition("-")
    owners = {"swarm": "kubo", "rpc": "kubo", "gossip": "cluster", "rest": "cluster", "airflow": "airflow-api-server"}
    return "-".join(filter(None, (owners.get(kind, kind), index)))


def _start(home: Path, state: State, report: Report) -> tuple[State, list[str]]:
    """Databases, keys and peers at the same time; then what a user reads about them."""
    owner = postgres_servers.find_owner()
    with ThreadPoolExecutor() as pool:
        keyring = pool.submit(keys.provide_keys, home / "gnupg")
        peers = pool.submit(_start_peers, home, state)
        databases = [pool.submit(postgres_servers.start, home, state, name, owner) for name in _databases(state)]
        if state.airflow:
            databases[-1].result()  # the metadata server: Airflow's tables are made while the peers find each other
            _prepare_airflow(home, state, report)
    started = [*chain.from_iterable(future.result() for future in databases), *peers.result()]
    state = replace(state, fingerprints=dict(keyring.result()))
    save_state(home, state)
    user_files.write_files(home, state)
    return state, started


def _databases(state: State) -> list[str]:
    return ["source", "scratch", *(["metadata"] if state.airflow else [])]


def _start_peers(home: Path, state: State) -> list[str]:
    programs = Path(state.ipfs_programs)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda peer: peer_homes.initialise(peer, programs), peer_servers.homes(home)))
    return peer_servers.start(home, state, peer_servers.configure(home, state))


def _airflow(home: Path, state: State) -> list[Server]:
    return airflow_servers.servers(home, user_files.environment(home, state), state)


def _prepare_airflow(home: Path, state: State, report: Report) -> None:
    if not all(processes.is_current(home / "run", server) for server in _airflow(home, state)):
        user_files.write_passwords(home, state)
        airflow_servers.prepare(home, user_files.environment(home, state), state, report)


def _start_airflow(home: Path, state: State, report: Report) -> list[str]:
    started = airflow_servers.start(home, _airflow(home, state), report)
    login = f"user {airflow_servers.USER}, password in {home / 'airflow' / 'admin-password'}"
    report(f"Airflow: {airflow_servers.url(state)} ({login})")
    return started


def _in_order(home: Path, state: State) -> list[list[Server]]:
    """Every server, in groups that may start and stop together; empty if there never was a sandbox."""
    if not state.postgres_data:
        return []
    owner = postgres_servers.find_owner()
    databases = [postgres_servers.server(name, state, owner, logs=home / "logs") for name in _databases(state)]
    peers = peer_servers.servers(home, state)
    groups = [databases, peers[: peer_servers.COUNT], peers[peer_servers.COUNT :]]
    if state.airflow:
        api, *others = _airflow(home, state)
        groups += [[api], others]
    return groups


def servers(home: Path, state: State) -> list[Server]:
    """Every server of the sandbox, in the order in which they start."""
    return list(chain.from_iterable(_in_order(home, state)))


def status(home: Path) -> Sequence[ServerStatus]:
    """What runs in the world that we are in, server by server; empty if there is no sandbox in `home`."""
    return [processes.status_of(home / "run", server) for server in servers(home, load_state(home))]


def environment(home: Path) -> dict[str, str]:
    state = load_state(home)
    if not state.fingerprints:
        raise ConfigError(f"there is no sandbox in {home}", next_step="pgkeep sandbox up")
    return user_files.environment(home, state)


def down(home: Path, *, report: Report) -> None:
    """Ends every process of the sandbox in the world that we are in, and keeps its data."""
    if not home.is_dir():
        report(f"there is no sandbox in {home}")
        return
    with locked(home, report):
        state = load_state(home)
        stopped = []
        for group in reversed(_in_order(home, state)):
            with ThreadPoolExecutor() as pool:
                ended = pool.map(lambda server: processes.stop(home / "run", server), group)
                stopped += [server.name for server, was_running in zip(group, ended, strict=True) if was_running]
        keys.stop_agent(home / "gnupg", sockets=state.agent_sockets)
        save_state(home, replace(state, airflow=False, agent_sockets=""))
        report(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


def delete(home: Path) -> None:
    """Deletes all data of a sandbox that is down."""
    data = load_state(home).postgres_data
    if data:
        shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
