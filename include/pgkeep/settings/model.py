"""`pgkeep.toml` as records. Parsing is pure, and reports every problem at once."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pgkeep.errors import ConfigError
from pgkeep.freshness import Limits
from pgkeep.retention import Policy
from pgkeep.settings import values
from pgkeep.settings.alerts import Alerts
from pgkeep.settings.alerts import alerts as read_alerts
from pgkeep.settings.keys import Keys
from pgkeep.settings.keys import keys as read_keys
from pgkeep.settings.table import setting, table
from pgkeep.settings.vault import Vault
from pgkeep.settings.vault import vault as read_vault

HOURLY, DAILY = 3.0, 30.0
"""Hours: two runs may fail in a row; a full backup may take six hours longer than the day before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database to keep. Every key may also stand in [defaults], except dbname. `alerts`: the same for all."""

    name: str
    alerts: Alerts = Alerts()
    connection: str = setting(
        "connection of its PostgreSQL server (or a URL without a password, which libpq finds in PGPASSFILE)",
        values.server,
    )
    dbname: str = setting("its name on the server", values.text, default="")
    full_schedule: str = setting("cron expression of the full backup", values.cron, default="0 2 * * *")
    timezone: str = setting("time zone of the schedules", values.timezone, default="UTC")
    capture: str = setting(
        '"logical": changes are kept every hour, by logical decoding; "csvlog": from the server\'s CSV log, where that '
        'cannot be had; "none": full backups only',
        values.capture,
        default="logical",
    )
    changes_schedule: str = setting("cron expression of the collection of changes", values.cron, default="0 * * * *")
    audit_schedule: str = setting("cron expression of the audit, once a day", values.cron, default="30 5 * * *")
    audit_share: float = setting(
        "share of all bytes on all peers that is read back each day, above 0 and up to 1", values.share, default=0.1
    )
    begins: datetime | None = setting(
        "when the collections begin, as 2026-01-31T14:05:00Z: runs missed since are made up for; pgkeep init writes it",
        values.moment,
        default=None,
    )
    full_identity: tuple[str, ...] = setting(
        "tables without a primary key that pgkeep may give REPLICA IDENTITY FULL, as schema.table",
        values.tables,
        default=(),
    )
    measured_mb: int = setting(
        "megabytes of tables that are looked at again at each collection: of the changed ones (for csvlog: of all)",
        values.count,
        default=256,
    )
    slot_limit_gb: int = setting(
        "gigabytes of WAL that the source may keep for pgkeep; beyond it the slot is dropped, and a full backup made",
        values.count,
        default=16,
    )
    log_directory: Path | None = setting(
        "for csvlog: where the server's log directory is mounted; without it the log is read over SQL",
        values.path,
        default=None,
    )
    ignored_tables: tuple[str, ...] = setting(
        "tables as schema.table whose rows are not kept", values.tables, default=()
    )

    scratch: str | None = setting(
        "connection of the PostgreSQL server (or a URL) into which drills restore; without one nothing is proven, and "
        "so nothing is ever let go of",
        values.server,
        default=None,
    )
    drill_queue: str = setting(
        "Airflow queue of the workers with a recipient's private key: for drills and restores", values.text, default=""
    )
    approval_by_another: bool = setting(
        "whether another than who triggered it has to approve a restore into production", values.flag, default=False
    )
    approvers: tuple[str, ...] = setting(
        "ids of the Airflow users who may approve restores; none: all who may run DAGs", values.users, default=()
    )
    approval_hours: float = setting(
        "how long a restore waits for its approval, and how long that counts", values.hours, default=24.0
    )
    runbook: str | None = setting(
        "address that a click on the owner of its DAGs opens, as https://.. or mailto:..", values.link, default=None
    )
    retire_schedule: str = setting("cron expression of the retention", values.cron, default="0 6 * * *")
    keep_last: int = setting("how many of the newest full backups stay", values.count, default=3)
    keep_hourly: int = setting(
        "for how many hours, before that of the newest entry, every moment stays", values.number, default=168
    )
    keep_daily: int = setting(
        "for how many days, before that of the newest, the last full backup of each stays", values.number, default=14
    )
    keep_weekly: int = setting("the same for weeks", values.number, default=8)
    keep_monthly: int = setting("the same for months", values.number, default=12)
    keep_yearly: int = setting("the same for years", values.number, default=5)
    min_full: int = setting(
        "how many full backups that a drill has proven stay in any case; as long as there are fewer, nothing goes",
        values.count,
        default=2,
    )

    newest_hours: float | None = setting(
        "the newest moment that can be restored must be younger, in hours; else somebody is told. Default: 3 where "
        "changes are kept, else 30",
        values.hours,
        default=None,
    )
    proven_days: float = setting(
        "so many days old the newest full backup that a drill has proven may be", values.days, default=8.0
    )
    audit_days: float = setting("so many days ago the last audit may have been", values.days, default=3.0)
    key_days: float = setting("so many days before a key expires somebody is told", values.days, default=14.0)

    @property
    def limits(self) -> Limits:
        """How old what may be before somebody is told."""
        hourly = self.capture != "none"
        return Limits(
            newest=timedelta(hours=self.newest_hours or (HOURLY if hourly else DAILY)),
            proven=timedelta(days=self.proven_days),
            audit=timedelta(days=self.audit_days),
            retained=self.slot_limit_gb * 1_000_000_000,
        )

    @property
    def policy(self) -> Policy:
        """What of it is kept."""
        return Policy(
            last=self.keep_last,
            hourly=self.keep_hourly,
            daily=self.keep_daily,
            weekly=self.keep_weekly,
            monthly=self.keep_monthly,
            yearly=self.keep_yearly,
            min_full=self.min_full,
        )

    @property
    def slug(self) -> str:
        """The name as Airflow allows it in ids; an odd name gets a digest so that two never meet."""
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", self.name)
        return plain if plain == self.name else f"{plain}_{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole file. `defaults`: what a database takes that says nothing itself."""

    vault: Vault
    keys: Keys
    alerts: Alerts
    defaults: Mapping[str, Any]
    databases: Mapping[str, Database] = field(default_factory=dict)

    def database(self, name: str) -> Database:
        """The database configured under that name. Raises ConfigError."""
        if name in self.databases:
            return self.databases[name]
        known = ", ".join(sorted(self.databases)) or "none yet"
        raise ConfigError(
            f"no database {name!r} in pgkeep.toml (there is: {known})",
            next_step=f"pgkeep init {name}, or correct the name",
        )

    def newcomer(self, name: str, own: Mapping[str, Any]) -> Database:
        """A database that the file does not have yet, from [defaults] and `own`. Raises ConfigError."""
        problems: list[str] = []
        database = _database(name, {**self.defaults, **own}, self.alerts, problems)
        _refuse(problems)
        assert database is not None
        return database


def parse(document: Mapping[str, Any]) -> Settings:
    """The settings in a parsed TOML document. Raises one ConfigError that lists every problem."""
    problems: list[str] = []
    known = {"vault", "keys", "alerts", "defaults", "databases"}
    problems += [f"[{key}]: no such section; there are {', '.join(sorted(known))}" for key in document.keys() - known]
    sections = {key: _mapping(document, key, problems) for key in known}
    vault = read_vault(sections["vault"], problems)
    keys = read_keys(sections["keys"], problems)
    alerts = read_alerts(sections["alerts"], problems)
    defaults = sections["defaults"]
    databases = {
        name: _database(name, {**defaults, **own}, alerts or Alerts(), problems)
        for name, own in sections["databases"].items()
        if _is_table(name, own, problems)
    }
    problems += _default_problems(defaults)
    problems += _clashes([database for database in databases.values() if database])
    _refuse(problems)
    assert vault is not None
    assert keys is not None
    assert alerts is not None
    return Settings(
        vault=vault,
        keys=keys,
        alerts=alerts,
        defaults=defaults,
        databases={name: found for name, found in databases.items() if found},
    )


def _refuse(problems: list[str]) -> None:
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ConfigError(
            f"pgkeep.toml has {len(problems)} problem(s):{listed}\n", next_step="mend them, then: pgkeep check"
        )


def _mapping(document: Mapping[str, Any], key: str, problems: list[str]) -> Mapping[str, Any]:
    found = document.get(key, {})
    if isinstance(found, Mapping):
        return found
    problems.append(f"[{key}]: is not a section; write it as [{key}]")
    return {}


def _is_table(name: str, own: object, problems: list[str]) -> bool:
    if not isinstance(own, Mapping):
        problems.append(f"databases.{name}: is not a section; write it as [databases.{name}]")
    return isinstance(own, Mapping)


def _database(name: str, own: Mapping[str, Any], alerts: Alerts, problems: list[str]) -> Database | None:
    given = {"name": name, "alerts": alerts}
    return table(Database, {"dbname": name, **own}, where=f"databases.{name}", problems=problems, given=given)


def _default_problems(defaults: Mapping[str, Any]) -> Iterator[str]:
    if "dbname" in defaults:
        yield "defaults.dbname: would make every database the same one; write it in [databases.NAME]"


def _clashes(databases: list[Database]) -> Iterator[str]:
    for slug, times in Counter(database.slug for database in databases).items():
        if times > 1:
            yield f"databases: {times} of them would be {slug} in Airflow; rename one"
