"""The peers' settings: pure functions, so every promise about them is a plain assertion."""

import json
from pathlib import Path

import pytest
import requests

from pgkeep.errors import ConfigError, Unavailable
from pgkeep.sandbox import first_pin, peer_homes, peer_servers, processes
from pgkeep.sandbox.peer_settings import Json, Peer, cluster_config, kubo_config, loopback, swarm_key
from pgkeep.sandbox.place import State

BASE: Json = {
    "Identity": {"PeerID": "12D3KooWown", "PrivKey": "private"},
    "Datastore": {
        "StorageMax": "10GB",
        "Spec": {
            "type": "mount",
            "mounts": [
                {"type": "flatfs", "mountpoint": "/blocks", "sync": False},
                {"type": "levelds", "mountpoint": "/"},
            ],
        },
    },
    "Ipns": {"RepublishPeriod": "", "DelegatedPublishers": ["auto"]},
    "Swarm": {"ConnMgr": {}, "DisableNatPortMap": False},
    "Bootstrap": ["auto"],
    "Gateway": {"NoFetch": False},
}


def peer(number: int) -> Peer:
    swarm, rpc, gossip, rest = (loopback(1000 * number + part) for part in range(4))
    return Peer(
        name=f"peer-{number}",
        kubo_id=f"kubo{number}",
        cluster_id=f"cluster{number}",
        swarm_listen=swarm,
        swarm_dial=swarm,
        rpc_listen=rpc,
        rpc_dial=rpc,
        gossip_listen=gossip,
        gossip_dial=gossip,
        rest_listen=rest,
    )


OWN, OTHERS = peer(1), [peer(2), peer(3)]


def settings(*, quick: bool = False) -> Json:
    return cluster_config(OWN, OTHERS, secret="ab" * 32, credentials={"pgkeep": "word"}, quick=quick)


def test_kubo_keeps_its_identity_and_what_it_does_not_concern() -> None:
    config = kubo_config(BASE, OWN, OTHERS)
    assert config["Identity"] == BASE["Identity"]
    assert config["Gateway"] == BASE["Gateway"]
    assert config["Swarm"]["ConnMgr"] == {}


def test_kubo_checks_and_syncs_its_blocks() -> None:
    datastore = kubo_config(BASE, OWN, OTHERS, storage_max="7GB")["Datastore"]
    assert datastore["HashOnRead"] is True
    assert [mount.get("sync") for mount in datastore["Spec"]["mounts"]] == [True, None]
    assert datastore["StorageMax"] == "7GB"


def test_kubo_knows_its_neighbours_and_nobody_else() -> None:
    config = kubo_config(BASE, OWN, OTHERS)
    assert config["Peering"]["Peers"] == [
        {"ID": "kubo2", "Addrs": ["/ip4/127.0.0.1/tcp/2000"]},
        {"ID": "kubo3", "Addrs": ["/ip4/127.0.0.1/tcp/3000"]},
    ]
    assert config["Bootstrap"] == []
    assert config["Routing"]["Type"] == "none"
    assert config["Addresses"] == {"Swarm": [loopback(1000)], "API": loopback(1001), "Gateway": []}
    assert "auto" not in json.dumps({k: v for k, v in config.items() if k not in {"AutoConf", "AutoNAT", "AutoTLS"}})


def test_kubo_does_not_report_home() -> None:
    config = kubo_config(BASE, OWN, OTHERS)
    assert config["Plugins"]["Plugins"]["telemetry"]["Disabled"] is True
    assert config["AutoConf"]["Enabled"] is config["Version"]["SwarmCheckEnabled"] is False


def test_the_given_configuration_is_not_changed() -> None:
    before = json.dumps(BASE)
    kubo_config(BASE, OWN, OTHERS)
    assert json.dumps(BASE) == before


def test_the_cluster_trusts_exactly_its_peers() -> None:
    assert settings()["consensus"]["crdt"]["trusted_peers"] == ["cluster1", "cluster2", "cluster3"]
    assert settings()["cluster"]["peer_addresses"] == [
        "/ip4/127.0.0.1/tcp/2002/p2p/cluster2",
        "/ip4/127.0.0.1/tcp/3002/p2p/cluster3",
    ]


def test_the_cluster_forgets_nothing_and_opens_one_locked_door() -> None:
    config = settings()
    assert config["datastore"] == {"leveldb": {}}
    assert config["consensus"]["crdt"]["batching"]["max_batch_age"] == "100ms"
    assert list(config["api"]) == ["restapi"]
    assert config["api"]["restapi"]["basic_auth_credentials"] == {"pgkeep": "word"}
    assert "ipfsproxy" not in config["ipfs_connector"]


def test_production_has_no_quick_intervals() -> None:
    production, quick = settings(), settings(quick=True)
    assert "monitor_ping_interval" not in production["cluster"]
    assert "rebroadcast_interval" not in production["consensus"]["crdt"]
    assert quick["cluster"]["monitor_ping_interval"] == "1s"
    assert quick["cluster"].items() >= production["cluster"].items()
    assert quick["consensus"]["crdt"].items() >= production["consensus"]["crdt"].items()


def test_the_swarm_key_has_three_lines() -> None:
    assert swarm_key("cd" * 32).splitlines() == ["/key/swarm/psk/1.0.0/", "/base16/", "cd" * 32]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        home = tmp_path / f"peer-{number}"
        (home / "ipfs").mkdir(parents=True)
        (home / "cluster").mkdir()
        (home / "ipfs/config").write_text(json.dumps(BASE | {"Identity": {"PeerID": f"kubo{number}"}}))
        (home / "cluster/identity.json").write_text(json.dumps({"id": f"cluster{number}"}))
    return tmp_path


def wanted() -> Json:
    addresses = [
        {name: value for name in Peer.__slots__ if not name.endswith("_id") and (value := getattr(peer(i), name))}
        for i in (1, 2, 3)
    ]
    secrets = {"swarm_secret": "aa" * 32, "cluster_secret": "bb" * 32, "credentials": {"pgkeep": "word"}}
    return secrets | {"peers": addresses}


def test_files_are_written_for_all_peers_alike(root: Path) -> None:
    peer_homes.configure_below(root, wanted())
    for number in (1, 2, 3):
        home = root / f"peer-{number}"
        assert (home / "ipfs/swarm.key").read_text() == swarm_key("aa" * 32)
        assert len(json.loads((home / "ipfs/config").read_text())["Peering"]["Peers"]) == 2
        service = json.loads((home / "cluster/service.json").read_text())
        assert service["cluster"]["peername"] == f"peer-{number}"
        for file in ("ipfs/swarm.key", "ipfs/config", "cluster/service.json"):
            assert (home / file).stat().st_mode & 0o777 == 0o600


def test_configuring_again_gives_the_same(root: Path) -> None:
    peer_homes.configure_below(root, wanted())
    first = {path: path.read_text() for path in root.rglob("*") if path.is_file()}
    peer_homes.configure_below(root, wanted())
    assert {path: path.read_text() for path in root.rglob("*") if path.is_file()} == first


def test_a_peer_without_identity_is_named(root: Path) -> None:
    (root / "peer-2/cluster/identity.json").unlink()
    with pytest.raises(ConfigError, match="peer-2 has no readable identity"):
        peer_homes.configure_below(root, wanted())


def test_what_is_wiped_is_made_anew_and_nothing_that_is_left_is_lost(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[str]()

    def make(new: peer_homes.PeerHome, program: Path, *_: str) -> None:
        folder = new.ipfs if program.name == "ipfs" else new.cluster
        folder.mkdir(parents=True)
        made.append(program.name)

    monkeypatch.setattr(peer_homes, "_run", make)
    home = peer_homes.PeerHome(directory=root / "peer-2")
    (home.ipfs / "config").unlink()
    peer_homes.initialise(home, Path("/programs"))
    assert made == ["ipfs"]
    (home.ipfs / "blocks").mkdir()
    peer_homes.initialise(home, Path("/programs"))
    assert made == ["ipfs"]
    with pytest.raises(ConfigError, match=r"peer-2 has no readable identity in .*Next: move .*/peer-2/ipfs away"):
        home.identities()


def test_a_peer_that_does_not_let_go_of_the_first_pin_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(first_pin, "_done", lambda _session, method, _server: method == "POST")
    monkeypatch.setattr(first_pin, "_left", lambda *_: [])
    again = list[str]()
    monkeypatch.setattr(processes, "stop", lambda _run, server: again.append(server.name))
    monkeypatch.setattr(processes, "ensure", lambda _run, server: True)
    state = State(ports={}, ipfs_programs="/programs")
    clusters = peer_servers.servers(tmp_path, state)[peer_servers.COUNT :]
    with requests.Session() as session, pytest.raises(Unavailable, match=r"^cluster-1 does not hear of pins"):
        first_pin.require(session, clusters, tmp_path, lambda _: None)
    assert again == ["cluster-1"] * first_pin.TRIES


def test_secrets_do_not_show() -> None:
    shared = peer_homes.Shared(swarm_secret="aa" * 32, cluster_secret="bb" * 32, credentials={"pgkeep": "word"})
    assert "aa" not in repr(shared)
    assert "word" not in repr(shared)
