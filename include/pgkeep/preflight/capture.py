"""Whether the changes of a database are kept, and what that costs its server."""

from collections.abc import Iterator

from pgkeep.adapters.postgres import CaptureReport, LogReport, leftovers
from pgkeep.errors import PgkeepError
from pgkeep.progress import human_size
from pgkeep.site import Site

from .csvlog import csvlog
from .finding import Finding, failed

NAMED = 5


def capture(site: Site, about: str) -> Iterator[Finding]:
    """The findings for how the changes of a database are kept, and what is left of another way."""
    if site.database.capture != "logical":
        yield from _left(site, about)
    if site.capture is None:
        return
    try:
        report = site.capture.report()
    except PgkeepError as error:
        yield failed(error, about)
        return
    if isinstance(report, LogReport):
        yield from csvlog(report, about)
        yield from _compared(site, about)
        return
    limit = site.database.slot_limit_gb * 1_000_000_000
    yield from _server(report, about)
    yield from _installed(report, about, name=site.database.name)
    yield from _slot(report, about, limit=limit)
    yield from _server_limit(report, about, limit=limit)


def _left(site: Site, about: str) -> Iterator[Finding]:
    """What nobody looks after any more; the slot keeps WAL until the server's disk is full."""
    try:
        left = leftovers.find(site.source, site.slot)
    except PgkeepError as error:
        yield failed(error, about)
        return
    way = f'capture = "{site.database.capture}"'
    step = (
        f"the next full backup removes it, where its role may; or, as one that may: pgkeep remove {site.database.name}"
    )
    if left.slot:
        size = human_size(left.slot.kept)
        what = (
            f"its server keeps {size} of WAL, and ever more, for the replication slot {site.slot}: with {way} nobody "
        )
        yield Finding(about=about, what=what + "reads it", next_step=step)
    if left.installed:
        what = f"pgkeep's publication and event triggers are still in it, which {way} does not need"
        yield Finding(about=about, what=what, next_step=step)


def _compared(site: Site, about: str) -> Iterator[Finding]:
    if site.database.scratch is None:
        what = "only drills compare all rows with what its log has told, and there are none: scratch names no server"
        step = 'write scratch = "CONNECTION" in pgkeep.toml'
        yield Finding(about=about, what=what, next_step=step)


def _server(report: CaptureReport, about: str) -> Iterator[Finding]:
    if report.wal_level != "logical":
        yield Finding(
            about=about,
            what=f"wal_level is {report.wal_level}: changes cannot be kept",
            next_step='set wal_level = logical and restart the server; or write capture = "none" in pgkeep.toml',
            fatal=True,
        )
    if not report.may_replicate:
        yield Finding(
            about=about,
            what="the role may not read changes",
            next_step="as a superuser: ALTER ROLE .. REPLICATION",
            fatal=True,
        )
    if report.slot is None and report.free_slots < 1:
        yield Finding(
            about=about,
            what="the server has no replication slot left",
            next_step="raise max_replication_slots and restart it",
            fatal=True,
        )


def _installed(report: CaptureReport, about: str, *, name: str) -> Iterator[Finding]:
    installed = report.installed
    if not installed.publication:
        step = f"pgkeep init {name}; after a restore into its place: pgkeep backup {name}, or the next collection"
        yield Finding(about=about, what="is not prepared", next_step=step, fatal=True)
        return
    yield Finding(about=about, what=f"changes of {len(installed.listed)} tables are kept one by one")
    if not installed.event_triggers:
        yield Finding(
            about=about,
            what="has no event triggers of pgkeep: each change of its schema makes a full backup necessary, and UPDATE "
            "or DELETE on a table fails from the drop of its primary key until the next run",
            next_step=f"as a superuser: pgkeep init {name} --print-sql, and run that",
        )
    if installed.unlisted:
        names = ", ".join(f"{schema}.{table}" for _, schema, table in installed.unlisted[:NAMED])
        more = len(installed.unlisted) - NAMED
        rest = f" and {more} more" if more > 0 else ""
        yield Finding(
            about=about,
            what=f"without a primary key, so carried whole when written: {names}{rest}",
            next_step="give them a primary key, or name them in full_identity",
        )


def _slot(report: CaptureReport, about: str, *, limit: int) -> Iterator[Finding]:
    if report.slot is None:
        return
    kept = report.slot.kept
    what = f"its server keeps {human_size(kept)} of WAL for the next collection (limit: {human_size(limit)})"
    if report.slot.lost:
        yield Finding(
            about=about,
            what="the server did not keep the WAL: changes since the last entry are lost",
            next_step="the next run makes a full backup; raise max_slot_wal_keep_size",
        )
    elif kept > limit / 2:
        yield Finding(about=about, what=what, next_step="collect the changes; see why runs fail")
    else:
        yield Finding(about=about, what=what)


def _server_limit(report: CaptureReport, about: str, *, limit: int) -> Iterator[Finding]:
    """Its own limit is all that counts while no run comes."""
    if report.server_limit is None:
        yield Finding(
            about=about,
            what="max_slot_wal_keep_size is unlimited: while pgkeep does not run, the WAL kept for it may fill the "
            "server's disk",
            next_step=f"as a superuser: ALTER SYSTEM SET max_slot_wal_keep_size = '{2 * limit // 1_000_000}MB'; SELECT "
            "pg_reload_conf(); more than slot_limit_gb, and less than its disk has room for",
        )
    elif report.server_limit < limit:
        yield Finding(
            about=about,
            what=f"max_slot_wal_keep_size is {human_size(report.server_limit)}, less than slot_limit_gb: "
            "the server lets changes go before pgkeep would",
            next_step="raise it, or lower slot_limit_gb",
        )
