"""restore, fetch: getting it back."""

import argparse
import logging
import sys

from pgkeep import restore, sentences, wiring
from pgkeep.cli import reading
from pgkeep.cli.context import Commands, connections, given, moment, watch
from pgkeep.errors import ConfigError, NotRestorable, PgkeepError
from pgkeep.losses import plan_whole
from pgkeep.model import Cid, Part
from pgkeep.plan import Point

log = logging.getLogger(__name__)


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    command = commands.add_parser("restore", help="bring a database back, and prove it equal to its source")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument(
        "--into", metavar="URL", type=given, required=True, help="postgresql://user@host:port/db, or CONNECTION/db"
    )
    point = command.add_mutually_exclusive_group()
    point.add_argument("--latest", action="store_true", help="to the last transaction that was kept (default)")
    point.add_argument("--at", metavar="TIME", type=moment, help="to a moment: 2026-01-31T14:05:00Z")
    point.add_argument("--entry", metavar="N", type=int, help="to what an entry of `pgkeep list` shows")
    point.add_argument("--xid", metavar="X", type=int, help="to the end of a transaction, by its 64-bit id")
    command.add_argument(
        "--base",
        metavar="N",
        type=int,
        help="begin with entry N, a full backup, and apply all changes since; default: the last full backup before the "
        "moment that is wanted. An older one takes longer, and serves where the last one is damaged",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only show what would be done and read, or what is in its way"
    )
    command.add_argument(
        "--stale",
        action="store_true",
        help="accept tables without a primary key as of the last entry before that moment",
    )
    command.add_argument("--replace", action="store_true", help="put it in the place of a database that is not empty")
    reading.add_options(command)
    command.set_defaults(run=bring_back)

    command = commands.add_parser("fetch", help="write the verified plaintext of one object to standard output")
    command.add_argument("cid", metavar="CID", type=given, help="as `pgkeep list --json` shows it")
    command.add_argument("--database", metavar="NAME", type=given, help="whose it is (default: every journal is asked)")
    reading.add_options(command)
    command.set_defaults(run=fetch)


def bring_back(chosen: argparse.Namespace) -> None:
    """`pgkeep restore NAME --into URL`: from the peers alone."""
    target = wiring.target(chosen.into, connections())
    found = reading.opened(chosen)
    point = Point(entry=chosen.entry, time=chosen.at, xid=chosen.xid, base=chosen.base)
    way = plan_whole(found.journal(chosen.name), point, found.lost(chosen.name))
    if chosen.dry_run:
        print("\n".join(sentences.planned(way)))
        restore.rehearse(way, found.opener, found.vault, target, replace=chosen.replace, stale=chosen.stale)
        print(sentences.foreseen(target.label, target.occupant(), replace=chosen.replace))
        return
    restored = restore.restore(
        way, found.opener, found.vault, target, replace=chosen.replace, stale=chosen.stale, watch=watch()
    )
    print(sentences.restored_line(restored, target.label))


def fetch(chosen: argparse.Namespace) -> None:
    """`pgkeep fetch CID > FILE`: only what a journal vouches for."""
    if sys.stdout.isatty():
        raise ConfigError("this would write a backup to your terminal", next_step=f"pgkeep fetch {chosen.cid} > FILE")
    found = reading.opened(chosen)
    part = _named(Cid(chosen.cid), found, chosen.database)
    for chunk in restore.plaintext(part, found.opener, found.vault, watch=watch()):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _named(cid: Cid, found: reading.Reading, database: str | None) -> Part:
    """The part with that CID in any of the journals. A journal that cannot be read does not stand in the others' way.

    Raises NotRestorable: nobody vouches for it; or why the only journal cannot be read.
    """
    names = [database] if database or found.file else found.databases()
    for name in names:
        try:
            journal = found.journal(name)
        except PgkeepError as error:
            if len(names) == 1:
                raise
            log.warning("the journal of %s cannot be read: %s", name, error)
            continue
        if (entry := journal.naming(cid)) is not None:
            return next(part for part in entry.backup.parts if part.cid == cid)
    raise NotRestorable(
        f"no journal of {', '.join(filter(None, names)) or 'any database'} names {cid}",
        next_step="pgkeep list NAME --json shows the CIDs that there are",
    )
