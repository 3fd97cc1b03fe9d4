"""A pin that reaches all cluster peers: only then is a sandbox ready.

Seen twice on ipfs-cluster 1.1, on a busy machine: a daemon that knew all members and their metrics, and heard of no
pin for as long as it ran.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

from pgkeep.errors import Unavailable

from . import processes
from .processes import Server

NOTHING = "bafkqaaa"
"""The CID of no bytes, which holds them itself: there is no block to fetch."""
NOT_FOUND = 404
TRIES, SECONDS, PAUSE = 3, 20.0, 0.1


def require(session: requests.Session, clusters: Sequence[Server], run: Path, ready: Callable[[Server], None]) -> None:
    """Pins, waits until each peer has it, and unpins; who does not hear of it is started anew. `ready` waits for one.

    Raises Unavailable.
    """
    for _ in range(TRIES):
        deaf = _left(session, clusters, _has) if _done(session, "POST", clusters[0]) else clusters
        if not deaf and _done(session, "DELETE", clusters[0]):
            _left(session, clusters, _has_let_go)
            return
        deaf = deaf or clusters[:1]  # it has taken the pin, and does not let go of it
        for server in deaf:
            processes.stop(run, server)
            processes.ensure(run, server)
        for server in clusters:
            ready(server)
    raise Unavailable(
        f"{', '.join(server.name for server in deaf)} does not hear of pins",
        next_step="look at its log; then: pgkeep sandbox down, and up again",
    )


def _done(session: requests.Session, method: str, server: Server) -> bool:
    try:
        return session.request(method, f"{server.address}/pins/{NOTHING}?name=sandbox", timeout=30).ok
    except requests.RequestException:
        return False


def _left(
    session: requests.Session, clusters: Sequence[Server], done: Callable[[requests.Session, Server], bool]
) -> Sequence[Server]:
    """Those of which it does not come true in time."""
    waiting, deadline = list(clusters), time.monotonic() + SECONDS
    while waiting and time.monotonic() < deadline:
        waiting = [server for server in waiting if not done(session, server)]
        time.sleep(PAUSE if waiting else 0)
    return waiting


def _has(session: requests.Session, server: Server) -> bool:
    try:
        said = session.get(f"{server.address}/pins/{NOTHING}?local=true", timeout=5)
    except requests.RequestException:
        return False
    return said.ok and all(one["status"] == "pinned" for one in said.json()["peer_map"].values())


def _has_let_go(session: requests.Session, server: Server) -> bool:
    try:
        return session.get(f"{server.address}/allocations/{NOTHING}", timeout=5).status_code == NOT_FOUND
    except requests.RequestException:
        return False
