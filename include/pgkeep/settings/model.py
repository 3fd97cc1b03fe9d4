"""`pgkeep.toml` as records. Parsing is pure, and reports every problem at once."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pgkeep.errors import ConfigError
from pgkeep.model import KeyFingerprint
from pgkeep.retention import Policy
from pgkeep.settings import values
from pgkeep.settings.table import setting, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One peer of the private cluster. The first of them is this node's own and needs both doors."""

    kubo: str | None = setting("connection of its Kubo RPC", values.name, default=None)
    cluster: str | None = setting("connection of its IPFS Cluster REST API", values.name, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """Where backups are kept."""

    copies: int = setting("how many distinct peers must hold every object", values.count, default=3)
    replication_hours: float = setting("how long a copy may take before the run fails", values.hours, default=24.0)
    sweep_days: int = setting(
        "days that what no journal names stays before an audit removes it", values.count, default=7
    )
    peers: tuple[Peer, ...] = setting("the peers, this node's own first", values.untouched)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who can read, and who signs."""

    gnupghome: Path = setting("directory of the GnuPG keyring", values.path)
    node: KeyFingerprint = setting("fingerprint of this node's own key", values.fingerprint)
    recipients: tuple[KeyFingerprint, ...] = setting("fingerprints of who can read the backups", values.fingerprints)
    signers: tuple[KeyFingerprint, ...] = setting(
        "fingerprints of further nodes whose signatures count (a former key of this node)",
        values.fingerprints,
        default=(),
    )
    passphrase_file: Path | None = setting(
        "file with the passphrase of the private keys; without it gpg-agent asks", values.path, default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database to keep. Every key may also stand in [defaults], except dbname."""

    name: str
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
        "Airflow queue of the workers that have a recipient's private key: drills run there", values.text, default=""
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
        database = _database(name, own, self.defaults, problems)
        _refuse(problems)
        assert database is not None
        return database


def parse(document: Mapping[str, Any]) -> Settings:
    """The settings in a parsed TOML document. Raises one ConfigError that lists every problem."""
    problems: list[str] = []
    known = {"vault", "keys", "defaults", "databases"}
    problems += [f"[{key}]: no such section; there are {', '.join(sorted(known))}" for key in document.keys() - known]
    sections = {key: _mapping(document, key, problems) for key in known}
    vault = _vault(sections["vault"], problems)
    keys = table(Keys, sections["keys"], where="keys", problems=problems)
    defaults = sections["defaults"]
    databases = {
        name: _database(name, own, defaults, problems)
        for name, own in sections["databases"].items()
        if _is_table(name, own, problems)
    }
    problems += _default_problems(defaults)
    if vault is not None:
        problems += [*_vault_problems(vault), *_sweep_problems(vault)]
    if keys is not None:
        problems += _key_problems(keys)
    problems += _clashes([database for database in databases.values() if database])
    _refuse(problems)
    assert vault is not None
    assert keys is not None
    return Settings(
        vault=vault, keys=keys, defaults=defaults, databases={name: found for name, found in databases.items() if found}
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


def _vault(own: Mapping[str, Any], problems: list[str]) -> Vault | None:
    listed = own.get("peers", [])
    if not (isinstance(listed, list) and all(isinstance(peer, Mapping) for peer in listed)):
        problems.append("vault.peers: is not a list of sections; write [[vault.peers]] once for each peer")
        return None
    peers = [table(Peer, peer, where=f"vault.peers[{i}]", problems=problems) for i, peer in enumerate(listed)]
    return table(Vault, {**own, "peers": tuple(filter(None, peers))}, where="vault", problems=problems)


def _database(name: str, own: Mapping[str, Any], defaults: Mapping[str, Any], problems: list[str]) -> Database | None:
    merged = {"dbname": name, **defaults, **own}
    return table(Database, merged, where=f"databases.{name}", problems=problems, given={"name": name})


def _default_problems(defaults: Mapping[str, Any]) -> Iterator[str]:
    if "dbname" in defaults:
        yield "defaults.dbname: would make every database the same one; write it in [databases.NAME]"


def _vault_problems(vault: Vault) -> Iterator[str]:
    if not vault.peers:
        yield "vault.peers: there are none; write [[vault.peers]] with kubo and cluster for this node's own peer"
        return
    if vault.peers[0].kubo is None:
        yield "vault.peers[0]: this node's own peer needs its Kubo; write kubo = (and cluster =, to write)"
    for i, peer in enumerate(vault.peers):
        if (peer.kubo, peer.cluster) == (None, None):
            yield f"vault.peers[{i}]: names no connection; write kubo = or cluster =, or both"
    if vault.copies > len(vault.peers):
        yield (
            f"vault.copies: is {vault.copies}, but there are {len(vault.peers)} peers; "
            f"write at most {len(vault.peers)}, or add [[vault.peers]]"
        )
    doors = Counter(door for peer in vault.peers for door in (peer.kubo, peer.cluster) if door)
    for door, times in doors.items():
        if times > 1:
            yield f"vault.peers: {door} stands {times} times; every peer has connections of its own"


def _sweep_problems(vault: Vault) -> Iterator[str]:
    if 24 * vault.sweep_days <= vault.replication_hours:
        yield (
            f"vault.sweep_days: is {vault.sweep_days}, but copies may take {vault.replication_hours:g} hours; "
            "write more, or what still waits for its copies would be removed"
        )


def _key_problems(keys: Keys) -> Iterator[str]:
    if not keys.recipients:
        yield "keys.recipients: there are none; write the fingerprint of at least one key that can read the backups"
    for fingerprint, times in Counter(keys.recipients).items():
        if times > 1:
            yield f"keys.recipients: {fingerprint} stands {times} times; write it once"
    if keys.node in keys.recipients:
        yield "keys.node: is also a recipient; a node never reads its backups, give it a key of its own"


def _clashes(databases: list[Database]) -> Iterator[str]:
    for slug, times in Counter(database.slug for database in databases).items():
        if times > 1:
            yield f"databases: {times} of them would be {slug} in Airflow; rename one"
