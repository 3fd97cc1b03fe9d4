"""The gate to a daemon: whatever a server answers or fails to answer becomes one of pgkeep's errors, and says why."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pgkeep.adapters.ipfs import Cluster, Endpoint, IpfsVault, Kubo, PeerAddress
from pgkeep.copies import holders_of
from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.model import Cid

CID = Cid("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4")


@contextmanager
def server(status: int, body: bytes = b"{}", *, headers: tuple[tuple[str, str], ...] = ()) -> Iterator[str]:
    """A real web server on loopback that gives one answer to everything; its URL."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET  # noqa: N815 - the names they have there

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def refusal(url: str) -> PgkeepError:
    """What a Kubo client says of it."""
    with pytest.raises(PgkeepError) as caught:
        Kubo(Endpoint(url=url), name="pgkeep_kubo", stall=1).id()
    assert "pgkeep_kubo" in str(caught.value)
    assert caught.value.next_step
    return caught.value


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 405, 422])
def test_what_only_a_person_can_change_is_a_config_error(status: int) -> None:
    with server(status, headers=(("Location", "http://127.0.0.1:1/"),)) as url:
        assert isinstance(refusal(url), ConfigError)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_unavailable(status: int) -> None:
    with server(status, b'{"Message":"the disk is\\n full"}') as url:
        error = refusal(url)
    assert isinstance(error, Unavailable)
    assert "the disk is full" in error.what


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"ID": 7}', b'{"ID": null}', b"\xff"])
def test_another_web_server_is_a_config_error(body: bytes) -> None:
    with server(200, body) as url:
        assert isinstance(refusal(url), ConfigError)


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "ftp://127.0.0.1:1", "http://127.0.0.1:port"])
def test_what_is_no_address_is_a_config_error(url: str) -> None:
    assert isinstance(refusal(url), ConfigError)


def test_nobody_there_is_unavailable() -> None:
    assert "Connection refused" in refusal("http://127.0.0.1:1").what


def test_a_name_that_cannot_be_resolved_is_unavailable() -> None:
    assert "host name" in refusal("http://nowhere.invalid:5001").what


def test_a_server_that_does_not_speak_tls_is_unavailable() -> None:
    with server(200) as url:
        assert "TLS" in refusal(url.replace("http:", "https:")).what


def test_silence_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert "no progress for 1 s" in refusal(f"http://127.0.0.1:{listening.getsockname()[1]}").what


def test_who_was_silent_once_is_waited_for_a_moment_only_and_the_message_says_how_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kubo = Kubo(Endpoint(url=f"http://127.0.0.1:{listening.getsockname()[1]}"), name="pgkeep_kubo", stall=2)
        for seconds in (2, 1):
            with pytest.raises(Unavailable, match=f"no progress for {seconds} s"):
                kubo.id()


def test_whom_all_wait_for_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("pgkeep.adapters.ipfs.peers.SLOW_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = Endpoint(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        vault = IpfsVault([PeerAddress(name="the slow one", kubo=silent, cluster=None)], stall=1)
        for _ in range(2):
            with pytest.raises(Unavailable):
                vault.places()
    assert caplog.text.count("the slow one does not answer at once: waiting for it") == 1


@pytest.mark.parametrize("answer", [b'{"Version": "0.43.0"}', b'{"Version": "0.43.0", "Hash": "bafy", "Keys": {}}'])
def test_an_object_that_is_not_said_to_be_stored_and_pinned_is_no_object(answer: bytes) -> None:
    with server(200, answer) as url, pytest.raises(ConfigError):
        Kubo(Endpoint(url=url), stall=1).add([b"x"], name="x")


def test_a_password_in_an_address_is_not_shown() -> None:
    endpoint = Endpoint(url="http://user:secret@127.0.0.1:1", login="user", password="secret")
    with pytest.raises(Unavailable) as caught:
        Kubo(endpoint).id()
    assert "secret" not in f"{caught.value} {endpoint} {endpoint!r} {Kubo(endpoint)}"


@pytest.mark.parametrize("answer", [b'{"id": null}\n', b"not json\n", b"[1]\n"])
def test_another_server_behind_the_cluster_connection(answer: bytes) -> None:
    with server(200, answer) as url:
        cluster = Cluster(Endpoint(url=url), name="pgkeep_cluster")
        for ask in (cluster.id, cluster.peers, cluster.pins, cluster.free_space, lambda: cluster.claims([CID])):
            with pytest.raises(ConfigError, match="pgkeep_cluster"):
                ask()


def test_an_empty_pinset_is_an_answer() -> None:
    with server(200, b"") as url:
        assert list(Cluster(Endpoint(url=url)).pins()) == []


SOMEWHERE = Endpoint(url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "peers",
    [
        [],
        [PeerAddress(name="a", kubo=None, cluster=SOMEWHERE)],
        [PeerAddress(name="a", kubo=SOMEWHERE, cluster=SOMEWHERE), PeerAddress(name="b", kubo=None, cluster=None)],
        [PeerAddress(name="a", kubo=SOMEWHERE, cluster=SOMEWHERE)] * 2,
    ],
)
def test_peers_that_make_no_vault(peers: list[PeerAddress]) -> None:
    with pytest.raises(ConfigError, match=r"vault\.peers"):
        IpfsVault(peers)


def test_two_cluster_peers_on_one_kubo_are_one_holder() -> None:
    """`ipfs_peer_id` is what makes a copy distinct (ipfs-cluster 1.1.6, GET /pins/{cid})."""
    said = ", ".join(
        f'"member{i}": {{"peername": "p{i}", "ipfs_peer_id": "{kubo}", "status": "{status}", "error": ""}}'
        for i, (kubo, status) in enumerate([("K1", "pinning"), ("K1", "pinned"), ("K2", "pinned"), ("", "pinned")])
    )
    allocations = '"allocations": ["member0", "member1", "member2", "member3"]'
    body = f'{{"cid": "{CID}", "name": "n", {allocations}, "peer_map": {{{said}}}}}'.encode()
    with server(200, body) as url:
        address = PeerAddress(name="own", kubo=Endpoint(url=url), cluster=Endpoint(url=url))
        holders = holders_of(CID, IpfsVault([address]))
    assert [(holder.peer, holder.holds) for holder in holders] == [("K1", True), ("K2", True), ("member3", False)]


def test_an_object_that_is_left_out_of_an_answer_is_not_held_by_nobody() -> None:
    """What fails for one of many stands in a trailer, X-Stream-Error, of a 200 (ipfs-cluster 1.1.6, GET /pins)."""
    body = f'{{"cid": "{CID}", "name": "n", "allocations": [], "peer_map": {{}}}}'.encode()
    other = Cid("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
    with server(200, body) as url, pytest.raises(Unavailable, match=f"does not say who holds {other}"):
        Cluster(Endpoint(url=url)).claims([CID, other])


def test_a_vault_without_any_cluster_connection_is_only_read() -> None:
    vault = IpfsVault([PeerAddress(name="a", kubo=SOMEWHERE, cluster=None)])
    with pytest.raises(ConfigError, match=r"can be read, not written.*--cluster URL"):
        holders_of(Cid("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"), vault)
