"""Airflow's home for these tests: made, and told to Airflow, when this is imported; before Airflow is."""

import json
import os
import secrets
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
USERS = {"admin": "admin", "vera": "viewer"}
PASSWORDS = {user: secrets.token_urlsafe(12) for user in USERS}

# A site whose servers do not exist.
SITE = f"""
[vault]
copies = 1
peers = [{{ kubo = "nobody_kubo", cluster = "nobody_cluster" }}]
[keys]
gnupghome = "/nowhere"
node = "{"A" * 40}"
recipients = ["{"B" * 40}"]
[defaults]
connection = "nobody_source"
scratch = "nobody_scratch"
drill_queue = "keys"
"""
NOBODY_PASSWORD = "pass-of-nobody"
NOBODY = {
    f"AIRFLOW_CONN_NOBODY_{name}": json.dumps(
        {"conn_type": kind, "host": "127.0.0.1", "port": 1, "login": "keeper", "password": NOBODY_PASSWORD}
    )
    for name, kind in {"KUBO": "ipfs", "CLUSTER": "ipfs_cluster", "SOURCE": "postgres"}.items()
}

directory = tempfile.TemporaryDirectory(prefix="pgkeep-airflow-")
HOME = Path(directory.name)
(HOME / "passwords.json").write_text(json.dumps(PASSWORDS), encoding="utf-8")
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    # `dag.test` may write a DAG anew after this time, and then finds two of it.
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "3600",
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(HOME / "passwords.json"),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
}
