"""What Airflow's users see of the provider: the list, the forms, and the button *Test* beside a connection."""

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.cli.commands.provider_command import providers_list
from fastapi import FastAPI

from in_airflow.api import client
from pgkeep.airflow.provider import get_provider_info

Form = dict[str, Any]


def test_airflow_lists_it(capsys: pytest.CaptureFixture[str], airflow_database: None) -> None:
    providers_list(get_parser().parse_args(["providers", "list", "--output", "json"]))
    said = capsys.readouterr().out
    (listed,) = [line for line in json.loads(said[said.index("[{") :]) if line["package_name"] == "pgkeep"]
    assert listed["description"] == get_provider_info()["description"].rstrip(".")


def test_what_it_declares_is_there() -> None:
    declared = get_provider_info()
    integrations = {integration["integration-name"] for integration in declared["integrations"]}
    for kind in ("hooks", "operators", "triggers"):
        assert {one["integration-name"] for one in declared[kind]} <= integrations
        assert all(import_module(module) for one in declared[kind] for module in one["python-modules"])


@pytest.mark.parametrize(("kind", "port"), [("ipfs", "5001"), ("ipfs_cluster", "9094")])
def test_the_form(server: FastAPI, kind: str, port: str) -> None:
    forms = client(server, "admin").get("/ui/connections/hook_meta").json()
    (form,) = [form for form in forms if form["connection_type"] == kind]
    assert form["standard_fields"]["port"]["placeholder"] == port
    assert form["standard_fields"]["url_schema"]["title"] == "Protocol"


def forms(environ: Mapping[str, str]) -> dict[str, Form]:
    """As a person fills them in: by connection type."""
    found = (json.loads(environ[f"AIRFLOW_CONN_PGKEEP_{name}"]) for name in ("KUBO", "CLUSTER"))
    return {form["conn_type"]: {"connection_id": "as_it_stands_in_the_form", **form} for form in found}


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")  # Airflow's own look-up of the hook
def test_the_button(server: FastAPI, sandbox: Mapping[str, str]) -> None:
    """Good; then each mistake that somebody makes at this form, and what it is answered."""
    admin, filled_in = client(server, "admin"), forms(sandbox)
    ipfs, cluster = filled_in["ipfs"], filled_in["ipfs_cluster"]
    tried: list[tuple[Form, bool, str]] = [
        (ipfs, True, "Kubo 0."),
        (cluster, True, "counts 3 peers"),
        (ipfs | {"port": 1}, False, "cannot be reached (Connection refused). Next: see that it runs"),
        (cluster | {"port": 1}, False, "cannot be reached (Connection refused). Next: see that it runs"),
        (ipfs | {"schema": "https"}, False, "does not speak TLS"),
        (cluster | {"password": "wrong-password"}, False, "refuses our login. Next: correct login and password in the"),
        (cluster | {"login": "", "password": ""}, False, "refuses our login"),
        (cluster | {"conn_type": "ipfs"}, False, "is no Kubo RPC"),
        (ipfs | {"conn_type": "ipfs_cluster"}, False, "is no cluster REST"),
    ]
    for form, works, says in tried:
        answer = admin.post("/api/v2/connections/test", json=form).json()
        assert (answer["status"], says in answer["message"]) == (works, True), answer
        if not works:
            assert f"127.0.0.1:{form['port']}" in answer["message"], "which one it is, not a name that Airflow made up"
            assert not {"wrong-password", cluster["password"]} & set(answer["message"].split())
