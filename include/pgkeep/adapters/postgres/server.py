"""A PostgreSQL server: what is needed to reach it, from here and from a child process."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from psycopg import ProgrammingError, conninfo, pq

from pgkeep.errors import ConfigError

Parameters = dict[str, str | int | None]

OWN_FIELDS = frozenset({"host", "port", "user", "password", "dbname"})
PATIENCE = {"connect_timeout": 15, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 6}
"""Seconds, and counts: a peer that is gone without a word is noticed after a minute and a half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server is and who we are there. An empty `host` is libpq's default, its socket directory.

    `options`: further libpq connection parameters (sslmode, sslrootcert, passfile, ...); unknown ones are ignored,
    since the place they come from may serve other programs, too.
    """

    host: str = ""
    port: int = 5432
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """Where it is, for people, without a password."""
        return f"{self.host or 'local socket'}:{self.port}"

    def with_settings(self, settings: str) -> "Server":
        """The same server with further session settings, as libpq's `options` has them: `-c name=value`."""
        options = " ".join(filter(None, (self.options.get("options"), settings)))
        return replace(self, options={**self.options, "options": options})

    def parameters(self, dbname: str) -> Parameters:
        """Keyword arguments of `psycopg.connect`."""
        known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
        extra = {key: value for key, value in self.options.items() if key in known - OWN_FIELDS}
        own: Parameters = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        given = {key: value for key, value in own.items() if value not in ("", None)}
        return {**PATIENCE, "application_name": "pgkeep", "client_encoding": "UTF8", **extra, **given, "dbname": dbname}

    def environment(self, dbname: str) -> dict[str, str]:
        """The environment of a child process. Its command line, which everybody can read, says none of this."""
        names = _variables()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        parameters = {key: value for key, value in self.parameters(dbname).items() if key != "client_encoding"}
        ours = {names[key]: str(value) for key, value in parameters.items() if key in names}
        return {**inherited, **ours, "LC_ALL": "C"}


def server_from_url(url: str, *, environ: Mapping[str, str] = os.environ) -> tuple[Server, str]:
    """The server and the database that a libpq URL (or `key=value` text) names; no database is an empty text.

    What the URL leaves out comes from `environ` as libpq does it (PGHOST, PGPASSWORD, PGPASSFILE, PGSSLMODE, ...).
    Raises ConfigError.
    """
    found = {**_from_environment(environ), **_parse(url)}
    return _server(found), found.get("dbname", "")


def server_from_parameters(given: Mapping[str, str], *, environ: Mapping[str, str] = os.environ) -> Server:
    """The server that libpq parameters (host, port, user, password, sslmode, ...) name; the rest as for a URL.

    Programs that we start are given nothing but a `Server`, while libpq in this process sees the environment as well:
    both must come to the same. Raises ConfigError.
    """
    return _server({**_from_environment(environ), **given})


def _server(found: Mapping[str, str]) -> Server:
    port = found.get("port", "5432")
    if not port.isdigit() or "," in found.get("host", ""):
        raise ConfigError(
            "the address of the PostgreSQL server names more than one host, or a port that is no number",
            next_step="name one server: postgresql://user@host:5432/database",
        )
    if "service" in found:  # its file overrules a program's environment, but not what this process says itself
        raise ConfigError(
            "a service of libpq (PGSERVICE) is named, which pg_dump and pgkeep would understand differently",
            next_step="unset PGSERVICE, and write what the service says into the URL or the connection",
        )
    return Server(
        host=found.get("host", ""),
        port=int(port),
        user=found.get("user"),
        password=found.get("password"),
        options={key: value for key, value in found.items() if key not in OWN_FIELDS},
    )


def _parse(url: str) -> dict[str, str]:
    try:
        return {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except ProgrammingError:
        pass  # its text repeats the URL, which may hold a password
    raise ConfigError(
        "the address of the PostgreSQL server is not a libpq URL",
        next_step="write it as postgresql://user@host:5432/database (odd characters percent-encoded)",
    )


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    options = {keyword: environ.get(variable) for keyword, variable in _variables().items()}
    return {key: value for key, value in options.items() if value and key != "client_encoding"}


def _variables() -> dict[str, str]:
    """By libpq keyword, the environment variable that sets it."""
    return {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
