"""Connections and their forms: what Airflow knows becomes what pgkeep opens, and nothing is asked before it is used."""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import metadata
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from in_airflow.home import NOBODY_PASSWORD
from in_airflow.supervised import supervised
from pgkeep import wiring
from pgkeep.adapters.ipfs import Cluster, Kubo
from pgkeep.airflow.hooks import IpfsClusterHook, IpfsHook, SiteHook, airflow_connection
from pgkeep.airflow.provider import get_provider_info
from pgkeep.errors import ConfigError, Unavailable

Configure = Callable[..., Path]


def test_the_declaration_is_what_airflow_asks_for() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(get_provider_info(), schema)
    assert get_provider_info()["package-name"] == metadata("pgkeep")["Name"]


@pytest.mark.parametrize(("kind", "hook"), [("ipfs", IpfsHook), ("ipfs_cluster", IpfsClusterHook)])
def test_airflow_knows_the_connection_types(kind: str, hook: type) -> None:
    found = ProvidersManagerTaskRuntime().hooks[kind]  # type: ignore[no-untyped-call]
    assert found is not None
    assert found.hook_class_name == f"{hook.__module__}.{hook.__name__}"
    forms = ProvidersManager().field_behaviours  # type: ignore[no-untyped-call]
    assert forms[kind]["relabeling"]["schema"] == "Protocol"
    declared = get_provider_info()["connection-types"]
    assert [d["hook-name"] for d in declared if d["connection-type"] == kind] == [hook.hook_name]  # type: ignore[attr-defined]


def test_a_connection_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {
        "conn_type": "ipfs_cluster",
        "host": "h",
        "port": 9,
        "login": "l",
        "password": "p@ss-word",
        "schema": "https",
    }
    monkeypatch.setenv("AIRFLOW_CONN_SOME", json.dumps(value))
    found = airflow_connection("some")
    assert (found.type, found.host, found.port, found.login, found.schema) == ("ipfs_cluster", "h", 9, "l", "https")
    assert found.password == "p@ss-word"
    assert "p@ss" not in repr(found)


def test_libpq_does_not_get_what_only_airflow_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SOME", "postgres://u:p@h/d?sslmode=require&cursor=dictcursor&iam=false")
    found = wiring.server(airflow_connection("some"), environ={}).parameters("d")
    assert (found["host"], found["sslmode"]) == ("h", "require")
    assert not {"cursor", "iam"} & set(found)


def test_a_connection_that_is_not_there(airflow_database: None) -> None:
    with pytest.raises(ConfigError, match=r"no connection nowhere.*AIRFLOW_CONN_NOWHERE"):
        airflow_connection("nowhere")


@pytest.mark.parametrize("away", ["without_api_server", "without_database"])
def test_airflow_that_does_not_answer_says_nothing_of_a_connection(
    airflow_database: None, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a task. Those of the environment are there all the same."""
    monkeypatch.setenv("AIRFLOW_CONN_SOME", "ipfs://h:9")
    with supervised() as supervisor:
        with pytest.raises(ConfigError, match="no connection nowhere"):
            airflow_connection("nowhere")
        with getattr(supervisor, away)():
            with pytest.raises(Unavailable, match="does not say whether there is a connection nowhere") as caught:
                airflow_connection("nowhere")
            assert caught.value.transient
            assert airflow_connection("some").host == "h"


def test_opening_a_site_asks_nobody(configure: Configure) -> None:
    configure("shop", 'we"ird Name')
    site = SiteHook().site('we"ird Name')
    assert site.database.dbname == 'we"ird Name'
    assert site.copies == 1
    assert set(SiteHook().journals()) == {"shop", 'we"ird Name'}


def test_an_unknown_database(configure: Configure) -> None:
    configure("shop")
    with pytest.raises(ConfigError, match="no database 'shpo'"):
        SiteHook().site("shpo")


@pytest.mark.parametrize("hook", [IpfsHook("nobody_kubo"), IpfsClusterHook("nobody_cluster")])
def test_nobody_answers_the_test_button(hook: IpfsHook | IpfsClusterHook, configure: Configure) -> None:
    configure("shop")
    works, message = hook.test_connection()
    assert not works
    assert "Next:" in message
    assert NOBODY_PASSWORD not in message


def test_the_wrong_type_is_said(configure: Configure) -> None:
    configure("shop")
    works, message = IpfsHook("nobody_cluster").test_connection()
    assert not works
    assert "ipfs_cluster, not ipfs" in message


def test_real_peers_answer(sandbox: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIRFLOW_CONN_PGKEEP_KUBO", "AIRFLOW_CONN_PGKEEP_CLUSTER"):
        monkeypatch.setenv(name, sandbox[name])
    assert isinstance(IpfsHook().get_conn(), Kubo)
    assert isinstance(IpfsClusterHook().get_conn(), Cluster)
    for hook, says in ((IpfsHook(), "Kubo 0."), (IpfsClusterHook(), "counts 3 peers")):
        works, message = hook.test_connection()
        assert works, message
        assert says in message
