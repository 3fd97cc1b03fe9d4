"""Airflow on the sandbox: api-server, dag-processor, scheduler and triggerer, with their metadata on PostgreSQL.

The api-server comes first, and goes last: workers report to it. Nobody serves logs over a port (Airflow would do it on
all interfaces): all processes see the same log directory. Airflow is only ever started from here, never imported.
"""

import base64
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import requests
from psycopg import sql

import pgkeep
from pgkeep.errors import ConfigError, Unavailable

from . import postgres_servers, processes
from .place import Report, State, digest, make_private_directory, write_private
from .processes import Server, inherited_environment

PORT = "airflow"
USER, SECOND = "admin", "vera"
ROLES = {USER: "admin", SECOND: "user"}
"""Two people: a restore may have to be approved by another than who asked for it."""
SECRETS = ("airflow-password", "airflow-second", "airflow-jwt", "airflow-fernet", "airflow-api")
DATABASE = "airflow"
SECONDS = 240.0
COMPONENTS = {
    "airflow-dag-processor": "dag_processor",
    "airflow-scheduler": "scheduler",
    "airflow-triggerer": "triggerer",
}


def require() -> None:
    """Raises ConfigError unless Airflow is installed."""
    if importlib.util.find_spec("airflow") is None:
        raise ConfigError(
            "Airflow is not installed in this environment",
            next_step="pip install 'pgkeep[airflow]', or leave out --airflow",
        )


def declarations() -> tuple[Path, Path | None]:
    """The folders with DAGs and plugins: the repository's in a checkout, else the packaged DAGs (and no plugins)."""
    package = Path(pgkeep.__file__).parent
    checkout = package.parent.parent
    if (checkout / "pyproject.toml").exists() and (checkout / "dags").is_dir():
        return checkout / "dags", checkout / "plugins"
    return package / "dags", None


def url(state: State) -> str:
    return f"http://127.0.0.1:{state.ports[PORT]}"


def variables(home: Path, state: State) -> dict[str, str]:
    """What the user's shell and every Airflow process need, besides the sandbox's own variables."""
    place = home / "airflow"
    dags, plugins = declarations()
    settings = _settings(state, place) | {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__PLUGINS_FOLDER": str(plugins or place / "plugins"),
    }
    return {
        "AIRFLOW_HOME": str(place),
        "PGKEEP_UI_URL": url(state),
        "PGKEEP_UI_USER": USER,
        "PGKEEP_UI_PASSWORD_FILE": str(place / "admin-password"),
        "PGKEEP_UI_SECOND_USER": SECOND,
        "PGKEEP_UI_SECOND_PASSWORD_FILE": str(place / f"{SECOND}-password"),
    } | {f"AIRFLOW__{name}": value for name, value in settings.items()}


def _settings(state: State, place: Path) -> dict[str, str]:
    # The password comes from PGPASSFILE, so that no program prints it with the address.
    database = f"postgresql+psycopg2://{postgres_servers.ROLE}@127.0.0.1:{state.ports['metadata']}/{DATABASE}"
    return {
        "API__BASE_URL": url(state),
        "API__HOST": "127.0.0.1",
        "API__PORT": str(state.ports[PORT]),
        "API__SECRET_KEY": state.secrets["airflow-api"],
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": state.secrets["airflow-jwt"],
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(bytes.fromhex(state.secrets["airflow-fernet"])).decode(),
        "CORE__LOAD_EXAMPLES": "False",
        "WORKERS__EXECUTION_API_TIMEOUT": "60",  # a busy machine's api-server builds its schemas at the first question
        "CORE__PARALLELISM": "4",  # LocalExecutor forks that many workers
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(place / "passwords.json"),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in ROLES.items()),
        "CORE__TEST_CONNECTION": "Enabled",  # the button *Test* beside a connection
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "LOGGING__BASE_LOG_FOLDER": str(place / "logs"),
        "LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        "LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "SCHEDULER__CREATE_CRON_DATA_INTERVALS": "True",
    }


def servers(home: Path, environment: Mapping[str, str], state: State) -> list[Server]:
    """The api-server, then the others; `environment` is all of the sandbox's variables."""
    commands = {
        "airflow-api-server": ["api-server"],
        "airflow-dag-processor": ["dag-processor"],
        "airflow-scheduler": ["scheduler", "--skip-serve-logs"],
        "airflow-triggerer": ["triggerer", "--skip-serve-logs"],
    }
    configuration = digest(sys.executable, commands, dict(environment) | {"PATH": ""})
    return [
        Server(
            name=name,
            argv=[sys.executable, "-m", "airflow", *command],
            directory=home / "run" / name,
            log=home / "logs" / f"{name}.log",
            environment=environment,
            configuration=configuration,
            grace=25.0,
            address=url(state) if name == "airflow-api-server" else "",
        )
        for name, command in commands.items()
    ]


def prepare(home: Path, environment: Mapping[str, str], state: State, report: Report) -> None:
    """Writes the login and brings the metadata database up to Airflow's version. Raises Unavailable if that fails."""
    place = make_private_directory(home / "airflow")
    write_logins(place, state)
    mark = place / "migrated"
    if not _create_database(state) and mark.exists() and mark.read_text(encoding="utf-8") == _version():
        return
    report("preparing Airflow's metadata database")
    result = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        cwd=place,
        env=inherited_environment() | dict(environment),
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        write_private(home / "logs" / "airflow-migrate.log", result.stderr.decode(errors="replace"))
        raise Unavailable(
            f"`airflow db migrate` failed (exit code {result.returncode})",
            next_step=f"read {home / 'logs' / 'airflow-migrate.log'}",
        )
    write_private(mark, _version())


def write_logins(place: Path, state: State) -> None:
    """Writes what Airflow compares with, and a file for each of its users to read."""
    passwords = {USER: state.secrets["airflow-password"], SECOND: state.secrets["airflow-second"]}
    write_private(place / "passwords.json", json.dumps(passwords))
    for user, password in passwords.items():
        write_private(place / f"{user}-password", f"{password}\n")


def _version() -> str:
    return importlib.metadata.version("apache-airflow-core")


def _create_database(state: State) -> bool:
    """True if it was not there."""
    with psycopg.connect(postgres_servers.conninfo("metadata", state), autocommit=True) as connection:
        missing = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None
        if missing:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        return missing


def start(home: Path, everything: list[Server], report: Report) -> list[str]:
    """Starts what does not run; returns the names when all are healthy."""
    run, begin = home / "run", datetime.now(UTC)
    api, *others = everything
    started = [api.name] if processes.ensure(run, api) else []
    if started:
        report("starting Airflow: about 15 seconds")
    processes.wait_until(lambda: bool(_health(api)), run, api, seconds=SECONDS)
    started += [server.name for server in others if processes.ensure(run, server)]
    for server in others:
        since = begin if server.name in started else datetime.min.replace(tzinfo=UTC)
        processes.wait_until(_healthy(api, server, since), run, server, seconds=SECONDS)
    return started


def _healthy(api: Server, server: Server, since: datetime) -> Callable[[], bool]:
    """Healthy, by a heartbeat later than `since`: the last one of a killed predecessor counts for half a minute."""
    component = server.name.removeprefix("airflow-").replace("-", "_")

    def ready() -> bool:
        answer = _health(api).get(component, {})
        beat = answer.get(f"latest_{component}_heartbeat")
        return answer.get("status") == "healthy" and beat is not None and datetime.fromisoformat(beat) >= since

    return ready


def _health(api: Server) -> dict[str, dict[str, str | None]]:
    """What the api-server says of each component: status and last heartbeat; empty while it does not answer."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(f"{api.address}/api/v2/monitor/health", timeout=10)
            content: dict[str, dict[str, str | None]] = answer.json() if answer.ok else {}
        except requests.RequestException:
            return {}
    return content
