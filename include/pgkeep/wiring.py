"""From settings and connections to the adapters of one node: where names become things. No I/O here."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pgkeep.adapters.ipfs import STALL_SECONDS, Endpoint, IpfsVault, PeerAddress
from pgkeep.adapters.lpbm import Folder, LegacyOpener
from pgkeep.adapters.openpgp import Named, OpenPgpOpener, OpenPgpSealer, Trust
from pgkeep.adapters.postgres import (
    CsvlogCapture,
    LogicalCapture,
    PostgresSource,
    PostgresTarget,
    Server,
    server_from_parameters,
    server_from_url,
)
from pgkeep.ancestry import Archive
from pgkeep.approval import Where
from pgkeep.errors import ConfigError
from pgkeep.journal_store import JournalStore
from pgkeep.lpbm import VaultArchive
from pgkeep.model import KeyFingerprint
from pgkeep.ports import Target
from pgkeep.settings import Connection, Connections, Database, Peer, Settings
from pgkeep.site import Site

KUBO_PORT, CLUSTER_PORT = 5001, 9094
LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL; it would cut a longer one off without a word."""


def site(settings: Settings, name: str, connections: Connections, *, environ: Mapping[str, str] = os.environ) -> Site:
    """Everything that keeps the database configured under `name`. Raises ConfigError: unknown name or connection."""
    return site_of(settings, settings.database(name), connections, environ=environ)


def site_of(
    settings: Settings, database: Database, connections: Connections, *, environ: Mapping[str, str] = os.environ
) -> Site:
    """As `site`, for a database that need not stand in the file yet."""
    vault, sealer = open_vault(settings, connections), open_sealer(settings)
    source = PostgresSource(
        server=server_named(database.connection, connections, environ=environ),
        dbname=database.dbname,
        ignored_tables=database.ignored_tables,
    )
    return Site(
        database=database,
        copies=settings.vault.copies,
        replication_seconds=settings.vault.replication_hours * 3600,
        vault=vault,
        sealer=sealer,
        source=source,
        capture=_capture(source, database),
        slot=slot_name(database.name),
        journals=journals(settings, database.name, vault=vault, sealer=sealer),
        scratch=_scratch(database, connections, environ=environ),
        targets=_targets(database, connections, environ=environ),
        grace=timedelta(days=settings.vault.sweep_days),
    )


def _scratch(
    database: Database, connections: Connections, *, environ: Mapping[str, str]
) -> Callable[[], Target] | None:
    where = database.scratch
    if where is None:
        return None
    return lambda: PostgresTarget(server=server_named(where, connections, environ=environ), dbname=database.dbname)


def _targets(
    database: Database, connections: Connections, *, environ: Mapping[str, str]
) -> Mapping[Where, Callable[[str], Target]]:
    """Where restores may go. No other server: what pgkeep writes to is decided in `pgkeep.toml`, not by a run."""
    servers: dict[Where, str] = {"production": database.connection}
    if database.scratch is not None:
        servers["scratch"] = database.scratch
    return {where: partial(_target_at, server, connections, environ) for where, server in servers.items()}


def _target_at(where: str, connections: Connections, environ: Mapping[str, str], dbname: str) -> PostgresTarget:
    _require_short(dbname)
    return PostgresTarget(server=server_named(where, connections, environ=environ), dbname=dbname)


def _capture(source: PostgresSource, database: Database) -> LogicalCapture | CsvlogCapture | None:
    if database.capture == "none":
        return None
    measured = database.measured_mb * 1_000_000
    if database.capture == "csvlog":
        return CsvlogCapture(source=source, measured=measured, directory=database.log_directory)
    return LogicalCapture(
        source=source,
        slot=slot_name(database.name),
        measured=measured,
        kept=database.slot_limit_gb * 1_000_000_000,
        full_identity=database.full_identity,
    )


def slot_name(name: str) -> str:
    """The replication slot of the database configured under that name: slots belong to a whole server."""
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower())[:40]
    return f"pgkeep_{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def journals(settings: Settings, name: str, *, vault: IpfsVault, sealer: OpenPgpSealer) -> JournalStore:
    """The journal of any database in the vault, configured here or not."""
    return JournalStore(database=name, vault=vault, sealer=sealer, copies=settings.vault.copies)


def open_vault(settings: Settings, connections: Connections, *, stall: float = STALL_SECONDS) -> IpfsVault:
    """The private cluster, seen from this node. `stall`: see `IpfsVault`."""
    return IpfsVault([_peer(peer, connections) for peer in settings.vault.peers], stall=stall)


def open_vault_at(
    kubos: Sequence[Endpoint], clusters: Sequence[Endpoint], *, stall: float = STALL_SECONDS
) -> IpfsVault:
    """Peers at these addresses, to read from. Without any Kubo, the one on the first cluster peer's host is taken.

    Raises ConfigError: there are no addresses, or one stands there twice.
    """
    peers = [PeerAddress(name=str(kubo), kubo=kubo, cluster=None) for kubo in kubos]
    if not kubos:
        peers = [_kubo_beside(cluster) for cluster in clusters[:1]]
    peers += [PeerAddress(name=str(cluster), kubo=None, cluster=cluster) for cluster in clusters]
    _require_once([peer.name for peer in peers])
    return IpfsVault(peers, stall=stall)


def _require_once(addresses: Sequence[str]) -> None:
    if twice := sorted({one for one in addresses if addresses.count(one) > 1}):
        raise ConfigError(
            f"{', '.join(twice)} is named twice",
            next_step="name each address once: a Kubo RPC by --peer, a cluster's REST API by --cluster",
        )


def _kubo_beside(cluster: Endpoint) -> PeerAddress:
    host = urlsplit(cluster.url).hostname or ""
    where = f"{f'[{host}]' if ':' in host else host}:{KUBO_PORT}"
    kubo = Endpoint(url=f"http://{where}", written="--peer")
    return PeerAddress(name=f"{where}, as no --peer is named", kubo=kubo, cluster=None)


def legacy_archive(vault: IpfsVault) -> VaultArchive:
    """LPBM's files, in the cluster."""
    return VaultArchive(vault=vault)


def legacy_folder(path: Path) -> Archive:
    """LPBM's files, in a directory."""
    return Folder(path=path)


def legacy_opener(password: bytes) -> LegacyOpener:
    """LPBM's encryption, backwards."""
    return LegacyOpener(password=password)


def open_sealer(settings: Settings) -> OpenPgpSealer:
    """Encryption and signature with the keys of the settings."""
    keys = settings.keys
    return OpenPgpSealer(
        gnupghome=keys.gnupghome,
        node=keys.node,
        recipients=keys.recipients,
        signers=keys.signers,
        passphrase_file=keys.passphrase_file,
    )


def open_reader(gnupghome: Path, *, nodes: Sequence[KeyFingerprint], passphrase_file: Path | None) -> OpenPgpOpener:
    """Reading with whatever private keys are in that directory. `nodes`: whose signatures count, if any are named."""
    trust = Trust(named=frozenset(nodes) or None, how="name it: --node {}")
    named = Named(home="GNUPGHOME", passphrase="--passphrase-file")  # noqa: S106 - the option's name
    return OpenPgpOpener(gnupghome=gnupghome, trust=trust, passphrase_file=passphrase_file, named=named)


def target(into: str, connections: Connections, *, environ: Mapping[str, str] = os.environ) -> PostgresTarget:
    """Where a restore goes: a libpq URL with a database, or `CONNECTION/database`. Raises ConfigError."""
    if "://" in into:
        _require_no_password(into)
        found, dbname = server_from_url(into, environ=environ)
    else:
        connection, _, dbname = into.partition("/")
        if not connection:
            raise ConfigError(
                f"the target {into!r} names no server",
                next_step="write --into postgresql://user@host:5432/shop, or CONNECTION/shop",
            )
        found = server(connections(connection), environ=environ)
    if not dbname:
        raise ConfigError(
            "the target names no database", next_step="end it with one: --into postgresql://user@host:5432/shop"
        )
    _require_short(dbname)
    return PostgresTarget(server=found, dbname=dbname)


def _require_no_password(url: str) -> None:
    try:
        found = urlsplit(url)
    except ValueError:
        return  # libpq says what is wrong with it
    if found.password is not None or {"password", "sslpassword"} & parse_qs(found.query).keys():
        raise ConfigError(
            "the target's address has a password in it, which everybody on this machine can read",
            next_step="leave it out, and change it; put it into PGPASSWORD or ~/.pgpass, or name a CONNECTION/database",
        )


def _require_short(dbname: str) -> None:
    if len(dbname.encode()) > LONGEST_NAME:
        raise ConfigError(
            f"the target's name has {len(dbname.encode())} bytes, PostgreSQL allows {LONGEST_NAME}",
            next_step="choose a shorter one",
        )


def server_named(where: str, connections: Connections, *, environ: Mapping[str, str] = os.environ) -> Server:
    """The server behind a connection id, or behind a URL whose password libpq finds elsewhere."""
    if "://" in where:
        return server_from_url(where, environ=environ)[0]
    return server(connections(where), environ=environ)


def server(connection: Connection, *, environ: Mapping[str, str] = os.environ) -> Server:
    """A PostgreSQL server; what is in the connection's extra goes to libpq (sslmode, sslrootcert, ...).

    What the connection leaves out comes from `environ` as libpq does it. Raises ConfigError.
    """
    _require_type(connection, "postgres")
    own = {
        "host": connection.host,
        "port": str(connection.port or ""),
        "user": connection.login,
        "password": connection.password,
    }
    extra = {key: str(value) for key, value in connection.extra.items() if key not in own}
    given = {key: value for key, value in own.items() if value}
    return server_from_parameters(extra | given, environ={"PGHOST": "localhost", **environ})


def _peer(peer: Peer, connections: Connections) -> PeerAddress:
    return PeerAddress(
        name=peer.cluster or peer.kubo or "",
        kubo=endpoint(connections(peer.kubo), type="ipfs", port=KUBO_PORT) if peer.kubo else None,
        cluster=endpoint(connections(peer.cluster), type="ipfs_cluster", port=CLUSTER_PORT) if peer.cluster else None,
    )


def endpoint(connection: Connection, *, type: str, port: int) -> Endpoint:  # noqa: A002 - Airflow's word
    """An HTTP door; https where the connection's schema or host says so. Raises ConfigError: another type."""
    _require_type(connection, type)
    host = connection.host or "localhost"
    scheme = urlsplit(host).scheme if "://" in host else connection.schema or "http"
    url = f"{scheme}://{host.rpartition('://')[2].rstrip('/')}:{connection.port or port}"
    return Endpoint(url=url, login=connection.login, password=connection.password)


def _require_type(connection: Connection, type: str) -> None:  # noqa: A002 - Airflow's word
    if connection.type not in (type, "generic", ""):
        raise ConfigError(
            f"connection {connection.id} is of type {connection.type}, not {type}",
            next_step=f"name another connection, or correct the type of this one ({type})",
        )
