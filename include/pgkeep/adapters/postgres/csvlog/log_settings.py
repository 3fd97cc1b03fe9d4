"""What a server logs of a database: the settings that decide it, who has others, and what such a log shows."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pgkeep.adapters.postgres.gate import Session
from pgkeep.scalars import Digest

PARAMETERS_SINCE = 150_000
"""Since 15, somebody who is no superuser may have been let set a parameter."""

DECISIVE = (
    "logging_collector",
    "log_destination",
    "log_statement",
    "log_duration",
    "log_min_duration_statement",
    "log_min_duration_sample",
    "log_statement_sample_rate",
    "log_transaction_sample_rate",
    "log_parameter_max_length",
    "log_parameter_max_length_on_error",
    "log_min_error_statement",
    "log_min_messages",
    "log_timezone",
    "lc_messages",
    "standard_conforming_strings",
    "extra_float_digits",
    "track_activities",
    "track_counts",
)
"""What is in the rows. Where one of these was changed, rows before and after it cannot be read in the same way."""
FILES = ("log_directory", "log_filename", "log_rotation_age", "log_rotation_size", "log_truncate_on_rotation")
"""Where the rows are. Only members of pg_read_all_settings see all of these."""

SETTINGS = "SELECT name, setting, source FROM pg_settings WHERE name = ANY(%s)"
OVERRIDES = """
    SELECT coalesce(r.rolname, ''), split_part(o.entry, '=', 1), substr(o.entry, strpos(o.entry, '=') + 1)
    FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) o(entry) LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND split_part(o.entry, '=', 1) = ANY(%s) AND NOT (s.setrole = 0 AND s.setdatabase = 0)
    ORDER BY 1, s.setdatabase, 2
"""
SUPERUSERS = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY 1"
LET_SET = """
    SELECT DISTINCT coalesce(r.rolname, 'PUBLIC')
    FROM pg_parameter_acl p CROSS JOIN aclexplode(p.paracl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE p.parname = ANY(%s) AND NOT coalesce(r.rolsuper, false) ORDER BY 1
"""
SILENT = frozenset({"log", "fatal", "panic"})
"""Values of log_min_messages with which errors are not logged, or not even statements."""
FREE = frozenset({"standard_conforming_strings", "extra_float_digits"})
"""Decisive, but for everybody to set; what a session does with it stands in the log."""

Mode = Literal["all", "all with durations", "mod", "after success", "nothing useful"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Another value for the sessions of a `role`, or (empty) of all roles in this database."""

    role: str
    name: str
    value: str

    def __str__(self) -> str:
        whose = f"role {self.role}" if self.role else "this database"
        return f"{self.name} = {self.value} for {whose}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """`values`: as our own session has them, so those of the database (what the role may not see is not in it).
    `own`: names of those that only our session has so. `overrides`: by the database or a role. `setters`: roles that
    are no superusers and may set one. `digest`: another wherever one of the decisive or an override is another.
    """

    values: Mapping[str, str]
    own: tuple[str, ...]
    overrides: tuple[Override, ...]
    superusers: tuple[str, ...]
    setters: tuple[str, ...]

    @property
    def digest(self) -> Digest:
        decisive = [f"{name}={self.values.get(name)}" for name in (*DECISIVE, *FILES)]
        text = "\n".join([*decisive, *map(str, self.overrides)])
        return Digest(hashlib.sha256(text.encode()).hexdigest())

    @property
    def collected(self) -> bool:
        """Whether there is a CSV log at all, with what our own sessions say in it."""
        destinations = {word.strip() for word in self.values["log_destination"].split(",")}
        loud = self.values["log_min_messages"] not in SILENT
        return self.values["logging_collector"] == "on" and "csvlog" in destinations and loud

    @property
    def english(self) -> bool | None:
        """Whether the server's own words in the log are those that we know; None: the server's environment decides."""
        language = self.values["lc_messages"].partition(".")[0].lower()
        return language in {"c", "posix"} or language.startswith("en") if language else None

    @property
    def mode(self) -> Mode:
        return _mode(self.values) if self.collected and self.english is not False else "nothing useful"

    @property
    def of_roles(self) -> tuple[Override, ...]:
        """Those for the sessions of some roles only: with them, not all rows are of one kind."""
        return tuple(override for override in self.overrides if override.role)


def log_settings(connection: Session) -> LogSettings:
    """Looks at the server, the database and its roles. Raises psycopg.Error."""
    names = [*DECISIVE, *FILES]
    rows = connection.execute(SETTINGS, [names]).fetchall()
    own = {str(name) for name, _, source in rows if source in {"user", "database user", "client", "session"}}
    overrides = connection.execute(OVERRIDES, [names]).fetchall()
    return LogSettings(
        values={str(name): str(value) for name, value, _ in rows},
        own=tuple(sorted(own - FREE)),
        overrides=tuple(Override(role=str(role), name=str(name), value=str(value)) for role, name, value in overrides),
        superusers=tuple(str(name) for (name,) in connection.execute(SUPERUSERS)),
        setters=tuple(_setters(connection)),
    )


def _mode(values: Mapping[str, str]) -> Mode:
    statements, every = values["log_statement"], values["log_min_duration_statement"] == "0"
    if statements == "all":
        return "all with durations" if every or values["log_duration"] == "on" else "all"
    if every:
        return "after success"
    return "mod" if statements == "mod" else "nothing useful"


def _setters(connection: Session) -> Iterator[str]:
    if connection.info.server_version >= PARAMETERS_SINCE:
        names = [name for name in (*DECISIVE, *FILES) if name not in FREE]
        yield from (str(role) for (role,) in connection.execute(LET_SET, [names]))
