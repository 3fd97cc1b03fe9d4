"""Everything that a backup will depend on, asked beforehand, and said whether it is well or not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pgkeep import wiring
from pgkeep.adapters.ipfs import PeerHealth, VaultHealth
from pgkeep.adapters.postgres import SourceReport, probe_source
from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.model import Entry
from pgkeep.progress import human_size, human_time
from pgkeep.settings import Connections, Settings
from pgkeep.wiring import Site

OLDEST_KUBO, OLDEST_CLUSTER = (0, 40), (1, 1)
LITTLE_ROOM = 1_000_000_000
LARGEST_CLOCK_DIFFERENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `fatal`: no backup can be made as long as it is so; `kind`: that sort of error."""

    about: str
    what: str
    next_step: str = ""
    fatal: bool = False
    kind: type[PgkeepError] = ConfigError

    def __str__(self) -> str:
        mark = "FAILED " if self.fatal else "warning" if self.next_step else "ok     "
        return f"{mark} {self.about}: {self.what}" + (f". Next: {self.next_step}" if self.next_step else "")


def _failed(error: PgkeepError, about: str) -> Finding:
    return Finding(about=about, what=error.what, next_step=error.next_step, fatal=True, kind=type(error))


def require_source(site: Site) -> None:
    """The database can be dumped, now. Raises ConfigError, Unavailable."""
    with site.source.snapshot():
        pass


def require_all(findings: Iterable[Finding]) -> None:
    """Raises when findings are fatal: the gravest of their kinds."""
    fatal = [finding for finding in findings if finding.fatal]
    if fatal:
        gravest = max((finding.kind for finding in fatal), key=lambda kind: kind.exit_code)
        raise gravest(f"{len(fatal)} checks failed", next_step="mend what is marked FAILED, then: pgkeep check")


def vault_and_keys(settings: Settings, connections: Connections) -> list[Finding]:
    """What all databases have in common."""
    health = wiring.open_vault(settings, connections).health()
    return [*_peers(health), *_cluster(health, copies=settings.vault.copies), *_keys(settings)]


def database(site: Site) -> list[Finding]:
    """What one database needs: a server that lets us read everything, a journal, and room for its next backup."""
    about = f"database {site.database.name}"
    return [*_source(site, about), *_journal(site, about)]


# --- the vault ---------------------------------------------------------------------------------------------------


def _peers(health: VaultHealth) -> Iterator[Finding]:
    for number, peer in enumerate(health.peers):
        about = f"peer {peer.name}"
        for failure in peer.failures:
            what, _, step = failure.partition(". Next: ")
            yield Finding(about=about, what=what, next_step=step, fatal=number == 0, kind=Unavailable)
        if not peer.failures:
            yield Finding(about=about, what=f"answers ({_versions(peer)})")
        yield from _old_versions(peer, about)
        yield from _room(peer, about)


def _versions(peer: PeerHealth) -> str:
    kubo = f"Kubo {peer.kubo.version}" if peer.kubo else "no Kubo connection"
    cluster = f"IPFS Cluster {peer.cluster.member.version}" if peer.cluster else "no cluster connection"
    return f"{kubo}, {cluster}"


def _old_versions(peer: PeerHealth, about: str) -> Iterator[Finding]:
    kubo = peer.kubo.version if peer.kubo else ""
    cluster = peer.cluster.member.version if peer.cluster else ""
    for name, version, oldest in (("Kubo", kubo, OLDEST_KUBO), ("IPFS Cluster", cluster, OLDEST_CLUSTER)):
        if version and _numbers(version) < oldest:
            wanted = ".".join(map(str, oldest))
            yield Finding(about=about, what=f"{name} {version} is old", next_step=f"upgrade it to {wanted} or newer")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())


def _room(peer: PeerHealth, about: str) -> Iterator[Finding]:
    if peer.free is not None and peer.free < LITTLE_ROOM:
        yield Finding(about=about, what=f"has only {human_size(peer.free)} left", next_step="give it more room")
    elif peer.free is not None:
        yield Finding(about=about, what=f"has room for {human_size(peer.free)}")


def _cluster(health: VaultHealth, *, copies: int) -> Iterator[Finding]:
    for line in health.shared():
        yield Finding(about="cluster", what=line, next_step="give every peer a Kubo of its own", fatal=True)
    for name in health.crossed():
        yield Finding(
            about=f"peer {name}", what="its two connections lead to two peers", next_step="correct them", fatal=True
        )
    for name, unseen in health.blind().items():
        yield Finding(
            about=f"peer {name}", what=f"does not see {', '.join(sorted(unseen))}", next_step="see its network"
        )
    distinct = len(health.kubo_ids)
    if distinct < copies:
        what = f"{distinct} distinct peers answer, {copies} copies are wanted"
        yield Finding(about="cluster", what=what, next_step="bring the others back", fatal=True, kind=Unavailable)
    else:
        yield Finding(about="cluster", what=f"{distinct} distinct peers for {copies} copies")


def _keys(settings: Settings) -> Iterator[Finding]:
    try:
        problems = wiring.open_sealer(settings).problems(datetime.now(UTC))
    except PgkeepError as error:
        yield _failed(error, "keys")
        return
    for problem in problems:
        yield Finding(about="keys", what=problem.what, next_step=problem.next_step, fatal=problem.fatal)
    if not any(problem.fatal for problem in problems):
        yield Finding(about="keys", what=f"{len(settings.keys.recipients)} recipients and this node's own can be used")


# --- a database --------------------------------------------------------------------------------------------------


def _source(site: Site, about: str) -> Iterator[Finding]:
    try:
        report = probe_source(site.source)
    except PgkeepError as error:
        yield _failed(error, about)
        return
    major, tools = report.server_version // 10_000, report.tools
    yield Finding(about=about, what=f"PostgreSQL {major} at {report.label} answers, as {report.role}")
    if isinstance(tools, PgkeepError):
        yield _failed(tools, about)
    else:
        yield Finding(about=about, what=f"client programs of PostgreSQL {tools.major} in {tools.directory}")
    for lack in report.missing:
        yield Finding(about=about, what=str(lack), next_step=f"as a superuser: {lack.grant}", fatal=True)
    if not report.missing:
        yield Finding(about=about, what=f"{report.role} may read everything in it")
    yield from _hazards(report, about)


def _hazards(report: SourceReport, about: str) -> Iterator[Finding]:
    if report.unrestorable:
        yield _failed(report.unrestorable, about)
    for name in report.unknown_ignored:
        yield Finding(about=about, what=f"has no table {name}", next_step="correct ignored_tables in pgkeep.toml")
    for row in report.long_rows or ():
        step = "keep a row's text below 1 GB, or name the table in ignored_tables"
        yield Finding(about=about, what=f"has rows that cannot be dumped: {row}", next_step=step, fatal=True)
    difference = abs(report.clock_difference)
    if difference > LARGEST_CLOCK_DIFFERENCE:
        what = f"the server's clock and ours are {human_time(difference)} apart"
        yield Finding(about=about, what=what, next_step="set both by NTP")
    else:
        yield Finding(about=about, what="the server's clock agrees with ours")


def _journal(site: Site, about: str) -> Iterator[Finding]:
    try:
        head = site.journals.head_for_writing()
    except PgkeepError as error:
        yield _failed(error, about)
        return
    entries = head.journal.entries
    yield Finding(about=about, what=f"its journal is at version {head.journal.sequence} with {len(entries)} backups")
    yield from _room_for_another(site, entries[-1:], about)


def _room_for_another(site: Site, newest: tuple[Entry, ...], about: str) -> Iterator[Finding]:
    """The next backup will be about as large as the last."""
    free = {peer.name: peer.free for peer in site.vault.health().peers if peer.free is not None}
    for entry in newest:
        for name, room in free.items():
            if room < 2 * entry.backup.size:
                what = f"{name} has {human_size(room)} left, the last backup took {human_size(entry.backup.size)}"
                yield Finding(about=about, what=what, next_step="give that peer more room")
