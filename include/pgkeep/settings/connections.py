"""Airflow connections, with or without Airflow: endpoints and passwords, known to everything else by their names.

Outside Airflow they come from `AIRFLOW_CONN_<ID>` in the two forms that Airflow documents: a URI
(`ipfs-cluster://user:password@host:9094`) or a JSON object (`{"conn_type": "ipfs_cluster", "host": ..}`).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pgkeep.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One endpoint. `schema` is Airflow's word: the database name for PostgreSQL, http or https for IPFS."""

    id: str
    type: str
    host: str
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


Connections = Callable[[str], Connection]
"""Gives the connection of a name. Raises ConfigError: there is none, or it cannot be read."""


def from_environment(environ: Mapping[str, str]) -> Connections:
    """Connections as `AIRFLOW_CONN_<ID>`, the way Airflow itself reads them from the environment."""

    def find(name: str) -> Connection:
        variable = f"AIRFLOW_CONN_{name.upper()}"
        text = environ.get(variable)
        if not text:
            raise ConfigError(
                f"connection {name} is not known here",
                next_step=f"export {variable} as a URI or as JSON (see docs/settings.md, 'Connections')",
            )
        try:
            return _from_json(name, text) if text.lstrip().startswith("{") else _from_uri(name, text)
        except (ValueError, TypeError):  # without the cause: it would quote the text, and with it the password
            raise ConfigError(
                f"{variable} is neither a connection URI nor a JSON object", next_step=f"write {variable} anew"
            ) from None

    return find


def _from_json(name: str, text: str) -> Connection:
    data = json.loads(text)
    extra = data.get("extra") or {}
    return Connection(
        id=name,
        type=_type(str(data["conn_type"])) if "conn_type" in data else "",
        host=str(data.get("host") or ""),
        port=int(data["port"]) if data.get("port") else None,
        login=data.get("login"),
        password=data.get("password"),
        schema=data.get("schema"),
        extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
    )


def _from_uri(name: str, text: str) -> Connection:
    uri = urlsplit(text)
    if not uri.scheme:
        raise ValueError(name)
    extra = dict(parse_qsl(uri.query, keep_blank_values=True))
    return Connection(
        id=name,
        type=_type(uri.scheme),
        host=unquote(uri.hostname or ""),
        port=uri.port,
        login=unquote(uri.username) if uri.username else None,
        password=unquote(uri.password) if uri.password else None,
        schema=unquote(uri.path.removeprefix("/")) or None,
        extra=json.loads(extra["__extra__"]) if "__extra__" in extra else extra,
    )


def _type(text: str) -> str:
    """As Airflow has it: `postgresql` and `postgres` are one, and a URI's `-` stands for `_`."""
    return {"postgresql": "postgres"}.get(text, text.replace("-", "_"))
