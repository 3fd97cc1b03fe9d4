"""What one database needs: a server that lets us read everything, a journal, and room for its next backup."""

from collections.abc import Iterator

from pgkeep.adapters.postgres import SourceReport, probe_source
from pgkeep.audit.surroundings import MORE_ROOM, too_little_room
from pgkeep.errors import PgkeepError
from pgkeep.progress import human_time
from pgkeep.site import Site

from .capture import capture
from .finding import Finding, failed

LARGEST_CLOCK_DIFFERENCE = 60.0


def require_source(site: Site) -> None:
    """The database can be dumped, now. Raises ConfigError, Unavailable."""
    with site.source.snapshot():
        pass


def database(site: Site) -> list[Finding]:
    """What one database needs: a server that lets us read everything, a journal, and room for its next backup."""
    about = f"database {site.database.name}"
    return [*_source(site, about), *capture(site, about), *_journal(site, about)]


def _source(site: Site, about: str) -> Iterator[Finding]:
    try:
        report = probe_source(site.source)
    except PgkeepError as error:
        yield failed(error, about)
        return
    major, tools = report.server_version // 10_000, report.tools
    yield Finding(about=about, what=f"PostgreSQL {major} at {report.label} answers, as {report.role}")
    if isinstance(tools, PgkeepError):
        yield failed(tools, about)
    else:
        yield Finding(about=about, what=f"client programs of PostgreSQL {tools.major} in {tools.directory}")
    for lack in report.missing:
        yield Finding(about=about, what=str(lack), next_step=f"as a superuser: {lack.grant}", fatal=True)
    if not report.missing:
        yield Finding(about=about, what=f"{report.role} may read everything in it")
    yield from _hazards(report, about)


def _hazards(report: SourceReport, about: str) -> Iterator[Finding]:
    if report.unrestorable:
        yield failed(report.unrestorable, about)
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
        yield failed(error, about)
        return
    entries = head.journal.entries
    yield Finding(about=about, what=f"its journal is at version {head.journal.sequence} with {len(entries)} entries")
    for name, what in too_little_room(head.journal, site.vault).items():
        yield Finding(about=about, what=f"{name} {what}", next_step=MORE_ROOM)
