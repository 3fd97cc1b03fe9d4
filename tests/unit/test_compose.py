"""docker-compose.yml and what belongs to it, as far as it can be judged by reading.

What its one-shot services make is tried with the real servers in tests/contracts/test_compose.py.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgkeep.sandbox import airflow_servers, binaries, compose, compose_health, peer_settings
from pgkeep.sandbox.place import State
from pgkeep.settings import from_environment, parse
from pgkeep.wiring import endpoint, open_vault, server

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "docker-compose.yml"
DOCKERFILE = (REPOSITORY / "include" / "compose" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
STATE = State(
    secrets={name: f"{number:064x}" for number, name in enumerate(compose.SECRETS, start=1)},
    fingerprints={name: f"{number:040X}" for number, name in enumerate(("node", "recipient-1", "recipient-2"))},
)
PAIRS = [f"{kind}-{index}" for kind in ("kubo", "cluster") for index in (1, 2, 3)]
AIRFLOW = ["airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"]
LASTING = [*PAIRS, "postgres", *AIRFLOW]
ONCE = ["kubo-identities", "cluster-identities", "init", "airflow-migrate"]
BY_HAND = ["shell"]
BUILT = "pgkeep-airflow"


def conditions(service: str) -> Mapping[str, str]:
    return {name: entry["condition"] for name, entry in SERVICES[service].get("depends_on", {}).items()}


def mounts(service: str) -> list[list[str]]:
    """[source, target, mode if given] of each."""
    return [str(mount).split(":") for mount in SERVICES[service].get("volumes", [])]


def test_the_file_follows_the_compose_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def has_compose_client() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_compose_client(), reason="there is no `docker compose` here; the schema is checked anyway")
def test_the_compose_client_accepts_the_file() -> None:
    check = ["docker", "compose", "--file", str(FILE), "--profile", "*", "config", "--quiet"]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_services_are_these() -> None:
    assert sorted(SERVICES) == sorted([*LASTING, *ONCE, *BY_HAND])


@pytest.mark.parametrize("service", LASTING)
def test_what_lasts_is_watched_and_restarted(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[service]["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in SERVICES[service]["security_opt"]


@pytest.mark.parametrize("service", [*ONCE, *BY_HAND])
def test_what_ends_is_not_restarted(service: str) -> None:
    assert SERVICES[service]["restart"] == "no"
    assert "healthcheck" not in SERVICES[service]


@pytest.mark.parametrize("service", SERVICES)
def test_every_dependency_can_be_fulfilled(service: str) -> None:
    for name, condition in conditions(service).items():
        wanted = "service_completed_successfully" if name in ONCE else "service_healthy"
        assert condition == wanted, name


def test_nothing_starts_before_its_configuration_is_there() -> None:
    def reaches_init(service: str) -> bool:
        return service == "init" or any(map(reaches_init, conditions(service)))

    assert [name for name in [*LASTING, *BY_HAND, "airflow-migrate"] if not reaches_init(name)] == []
    assert set(conditions("init")) == {"kubo-identities", "cluster-identities"}


def test_the_api_server_comes_before_those_who_report_to_it() -> None:
    assert [name for name in AIRFLOW[1:] if set(conditions(name)) != {"airflow-api-server"}] == []


def test_images_are_pinned_to_the_tried_versions() -> None:
    images = {name: str(service["image"]) for name, service in SERVICES.items()}
    assert {images[name] for name in ("kubo-1", "kubo-2", "kubo-3", "kubo-identities")} == {
        f"ipfs/kubo:v{binaries.KUBO}"
    }
    assert {images[name] for name in ("cluster-1", "cluster-2", "cluster-3", "cluster-identities")} == {
        f"ipfs/ipfs-cluster:v{binaries.CLUSTER}"
    }
    assert {images[name] for name in [*AIRFLOW, *BY_HAND, "init", "airflow-migrate"]} == {f"{BUILT}:{version()}"}
    assert re.fullmatch(r"postgres:\d+\.\d+-[a-z]+", images["postgres"])
    assert [name for name, service in SERVICES.items() if "build" in service] == ["init"]


def version() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def test_the_image_is_built_from_the_locked_airflow_with_the_servers_own_client() -> None:
    base = re.search(r"^ARG AIRFLOW=apache/airflow:slim-([\d.]+)-python3\.(\d+)$", DOCKERFILE, re.MULTILINE)
    client = re.search(r"^ARG POSTGRES=(\d+)$", DOCKERFILE, re.MULTILINE)
    assert base
    assert client
    assert f"\napache-airflow=={base[1]} " in (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert int(base[2]) >= 11
    assert str(SERVICES["postgres"]["image"]).startswith(f"postgres:{client[1]}.")


def test_every_file_that_is_named_is_there() -> None:
    named = [source for name in SERVICES for source, *_ in mounts(name) if source.startswith("./")]
    named += [
        words[1] for words in map(str.split, DOCKERFILE.splitlines()) if words[:1] == ["COPY"] and "--" not in words[1]
    ]
    named += [str(SERVICES["init"]["build"]["dockerfile"])]
    assert len(named) > 5
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


def test_only_loopback_is_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"airflow-api-server": ["127.0.0.1:8080:8080"]}


def test_only_the_api_server_has_a_way_out() -> None:
    inside = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal") is True}
    for name, service in SERVICES.items():
        assert service.get("network_mode") in (None, "none"), name
        networks = set(service.get("networks", []))
        assert bool(networks) != ("network_mode" in service), name
        assert networks <= set(COMPOSE["networks"]), name
        assert (networks <= inside) == (name != "airflow-api-server"), name
    assert {name for name in SERVICES if SERVICES[name].get("networks") == ["vault"]} == set(PAIRS)


def test_volumes_are_named_and_declared() -> None:
    for name in SERVICES:
        for source, target, *mode in mounts(name):
            assert target.startswith("/")
            assert (source in COMPOSE["volumes"]) or (source.startswith("./include/compose/") and mode == ["ro"])


def test_each_secret_is_mounted_by_its_reader_only() -> None:
    users = {volume: {n for n in SERVICES if any(m[0] == volume for m in mounts(n))} for volume in COMPOSE["volumes"]}
    assert users["secrets"] == {"init"}
    assert users["postgres-secrets"] == {"init", "postgres"}
    assert users["site"] == {"init", "airflow-migrate", *AIRFLOW, *BY_HAND}
    for index in (1, 2, 3):
        everybody = {"kubo-identities", "cluster-identities", "init", f"kubo-{index}", f"cluster-{index}"}
        assert users[f"peer-{index}"] == everybody


def words(value: object) -> Iterator[tuple[str, str]]:
    """Every (key, text) of a tree."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from [(str(key), inner)] if isinstance(inner, str) else words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from [("", inner)] if isinstance(inner, str) else words(inner)


def test_the_file_holds_no_secret() -> None:
    for key, text in words(COMPOSE):
        if re.search("password|secret|_key|token", key, re.IGNORECASE):
            assert text.startswith("/"), f"{key} is not the name of a file"
        assert not re.search(r"[0-9a-fA-F]{32}", text)
        assert not re.search(r"://[^/@]*:[^/@]*@", text), "a password in an address"


@pytest.mark.parametrize("index", [1, 2, 3])
def test_peers_run_with_the_sandbox_settings(index: int) -> None:
    kubo, cluster = SERVICES[f"kubo-{index}"], SERVICES[f"cluster-{index}"]
    assert kubo["environment"] == {"IPFS_PATH": "/peer/ipfs", **peer_settings.kubo_environment()}
    # ipfs-cluster lets CLUSTER_... override service.json; that must stay the one source.
    assert cluster["environment"] == {"IPFS_CLUSTER_PATH": "/peer/cluster"}
    assert kubo["user"] == cluster["user"] == ":".join(map(str, compose.Owners().peers))
    assert mounts(f"kubo-{index}") == mounts(f"cluster-{index}") == [[f"peer-{index}", "/peer"]]


def test_addresses_name_services_and_their_ports() -> None:
    for index in (1, 2, 3):
        found = compose.in_containers(index)
        for kind in ("swarm", "rpc", "gossip"):
            host, port = re.fullmatch(r"/dns4/([a-z0-9-]+)/tcp/(\d+)", found[f"{kind}_dial"]).groups()  # type: ignore[union-attr]
            assert SERVICES[host]["networks"] == ["vault"]
            assert found[f"{kind}_listen"] == f"/ip4/0.0.0.0/tcp/{port}"
        assert any(found["rpc_listen"].endswith(word.rpartition("/")[2]) for word in health(f"kubo-{index}"))
        assert any(f":{found['rest_listen'].rpartition('/')[2]}/" in word for word in health(f"cluster-{index}"))


def health(service: str) -> list[str]:
    return [str(word) for word in SERVICES[service]["healthcheck"]["test"]]


def test_airflow_has_every_setting_that_it_has_in_the_sandbox(tmp_path: Path) -> None:
    sandbox = State(secrets=STATE.secrets, ports={airflow_servers.PORT: 8080, "metadata": 5432})
    wanted = {name for name in airflow_servers.variables(tmp_path, sandbox) if name.startswith("AIRFLOW__")}
    # The image's plugin comes from the installed package; a folder of its own would register it twice.
    wanted -= {"AIRFLOW__CORE__PLUGINS_FOLDER"}
    for service in AIRFLOW:
        there = set(SERVICES[service]["environment"]) | set(compose.environment(tmp_path, STATE))
        assert wanted - there == set()


def test_airflow_is_set_as_in_the_sandbox(tmp_path: Path) -> None:
    """All but addresses and places, which differ, and what is secret, which is not in the file."""
    sandbox = State(secrets=STATE.secrets, ports={airflow_servers.PORT: 8080, "metadata": 5432})
    here = airflow_servers.variables(tmp_path, sandbox)
    for service in AIRFLOW:
        there = SERVICES[service]["environment"]
        different = {name for name in here.keys() & there.keys() if here[name] != there[name]}
        assert {name.removeprefix("AIRFLOW__") for name in different} == {
            "API__HOST",
            "CORE__DAGS_FOLDER",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
            "DATABASE__SQL_ALCHEMY_CONN",
            "LOGGING__BASE_LOG_FOLDER",
        }


def test_everything_in_the_configuration_leads_to_a_service(tmp_path: Path) -> None:
    compose.write_site(tmp_path, STATE)
    settings = parse(tomllib.loads((tmp_path / "pgkeep.toml").read_text(encoding="utf-8")))
    connections = from_environment(compose.environment(tmp_path, STATE))
    open_vault(settings, connections)
    for index, peer in enumerate(settings.vault.peers, start=1):
        assert peer.kubo
        assert peer.cluster
        assert endpoint(connections(peer.kubo), type="ipfs", port=0).url == f"http://kubo-{index}:5001"
        assert endpoint(connections(peer.cluster), type="ipfs_cluster", port=0).url == f"http://cluster-{index}:9094"
    assert server(connections(str(settings.defaults["connection"]))).host in SERVICES
    assert (settings.keys.gnupghome, settings.keys.node) == (tmp_path / "gnupg", STATE.fingerprints["node"])


def test_health_is_unknown_while_nobody_answers() -> None:
    assert compose_health.status("http://127.0.0.1:1", "scheduler") == "no answer from http://127.0.0.1:1 (URLError)"
    with pytest.raises(SystemExit) as ended:
        compose_health.main(["http://127.0.0.1:1", "scheduler"])
    assert ended.value.code == 1


def test_the_health_checks_ask_for_components_that_airflow_reports() -> None:
    asked = {service: health(service)[-2:] for service in AIRFLOW}
    url = "http://airflow-api-server:8080"
    assert asked == {
        "airflow-api-server": [url, "metadatabase"],
        "airflow-scheduler": [url, "scheduler"],
        "airflow-dag-processor": [url, "dag_processor"],
        "airflow-triggerer": [url, "triggerer"],
    }
