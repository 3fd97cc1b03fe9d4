"""restore, fetch: getting it back."""

import argparse
import logging
import sys
from collections.abc import Sequence

from pgkeep import restore, sentences, wiring
from pgkeep.cli.context import Commands, connections, given, loaded_settings, moment, watch
from pgkeep.errors import ConfigError, NotRestorable, PgkeepError
from pgkeep.journal_store import JournalStore
from pgkeep.model import Cid, Part
from pgkeep.pin_names import ALL, databases
from pgkeep.plan import Point, plan

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
    command.add_argument("--dry-run", action="store_true", help="only show what would be done, and what it would read")
    command.add_argument(
        "--stale",
        action="store_true",
        help="accept tables without a primary key as of the last entry before that moment",
    )
    command.add_argument("--replace", action="store_true", help="put it in the place of a database that is not empty")
    command.add_argument("--journal", metavar="VERSION|CID", type=given, help="a version of the journal that you trust")
    command.set_defaults(run=bring_back)

    command = commands.add_parser("fetch", help="write the verified plaintext of one object to standard output")
    command.add_argument("cid", metavar="CID", type=given, help="as `pgkeep list --json` shows it")
    command.add_argument("--database", metavar="NAME", type=given, help="whose it is (default: every journal is asked)")
    command.add_argument("--journal", metavar="VERSION|CID", type=given, help="a version of the journal that you trust")
    command.set_defaults(run=fetch)


def bring_back(chosen: argparse.Namespace) -> None:
    """`pgkeep restore NAME --into URL`: from the peers alone."""
    found = loaded_settings()
    target = wiring.target(chosen.into, connections())
    vault, sealer = wiring.open_vault(found, connections()), wiring.open_sealer(found)
    journal = wiring.journals(found, chosen.name, vault=vault, sealer=sealer).head(accept=chosen.journal).journal
    way = plan(journal, Point(entry=chosen.entry, time=chosen.at, xid=chosen.xid, base=chosen.base))
    if chosen.dry_run:
        restore.require_exact(way, stale=chosen.stale)
        print("\n".join(sentences.planned(way)))
        return
    restored = restore.restore(way, sealer, vault, target, replace=chosen.replace, stale=chosen.stale, watch=watch())
    print(sentences.restored_line(restored, target.label))


def fetch(chosen: argparse.Namespace) -> None:
    """`pgkeep fetch CID > FILE`: only what a journal vouches for."""
    if sys.stdout.isatty():
        raise ConfigError("this would write a backup to your terminal", next_step=f"pgkeep fetch {chosen.cid} > FILE")
    found = loaded_settings()
    vault, sealer = wiring.open_vault(found, connections()), wiring.open_sealer(found)
    names = [chosen.database] if chosen.database else databases(vault.listing(ALL).names)
    stores = [wiring.journals(found, name, vault=vault, sealer=sealer) for name in names]
    part = _named(Cid(chosen.cid), stores, accept=chosen.journal)
    for chunk in restore.plaintext(part, sealer, vault, watch=watch()):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _named(cid: Cid, stores: Sequence[JournalStore], *, accept: str | None) -> Part:
    """The part with that CID in any of the journals. A journal that cannot be read does not stand in the others' way.

    Raises NotRestorable: nobody vouches for it; or why the only journal cannot be read.
    """
    for store in stores:
        try:
            entry = store.head(accept=accept).journal.naming(cid)
        except PgkeepError as error:
            if len(stores) == 1:
                raise
            log.warning("the journal of %s cannot be read: %s", store.database, error)
            continue
        if entry is not None:
            return next(part for part in entry.backup.parts if part.cid == cid)
    raise NotRestorable(
        f"no journal of {', '.join(store.database for store in stores) or 'any database'} names {cid}",
        next_step="pgkeep list NAME --json shows the CIDs that there are",
    )
