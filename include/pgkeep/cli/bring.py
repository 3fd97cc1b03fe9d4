"""restore, fetch: getting it back."""

import argparse
import sys

from pgkeep import restore, wiring
from pgkeep.cli.context import Commands, connections, loaded_settings, watch
from pgkeep.cli.show import restored_line
from pgkeep.errors import ConfigError, NotRestorable
from pgkeep.model import Cid, Part
from pgkeep.settings import Settings


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    command = commands.add_parser("restore", help="bring a database back, and prove it equal to its source")
    command.add_argument("name", metavar="NAME")
    command.add_argument(
        "--into", metavar="URL", required=True, help="postgresql://user@host:port/db, or CONNECTION/db"
    )
    command.add_argument("--entry", metavar="N", type=int, help="which entry of `pgkeep list` (default: the newest)")
    command.add_argument("--replace", action="store_true", help="put it in the place of a database that is not empty")
    command.add_argument("--journal", metavar="VERSION|CID", help="a version of the journal that you trust")
    command.set_defaults(run=bring_back)

    command = commands.add_parser("fetch", help="write the verified plaintext of one object to standard output")
    command.add_argument("cid", metavar="CID", help="as `pgkeep list --json` shows it")
    command.set_defaults(run=fetch)


def bring_back(chosen: argparse.Namespace) -> None:
    """`pgkeep restore NAME --into URL`: from the peers alone."""
    found = loaded_settings()
    target = wiring.target(chosen.into, connections())
    vault, sealer = wiring.open_vault(found, connections()), wiring.open_sealer(found)
    journal = wiring.journals(found, chosen.name, vault=vault, sealer=sealer).head(accept=chosen.journal).journal
    restored = restore.restore(
        journal.entry(chosen.entry), sealer, vault, target, replace=chosen.replace, watch=watch()
    )
    print(restored_line(restored, target.label))


def fetch(chosen: argparse.Namespace) -> None:
    """`pgkeep fetch CID > FILE`: only what a journal vouches for."""
    if sys.stdout.isatty():
        raise ConfigError("this would write a backup to your terminal", next_step=f"pgkeep fetch {chosen.cid} > FILE")
    found = loaded_settings()
    part = _named(Cid(chosen.cid), found)
    vault, sealer = wiring.open_vault(found, connections()), wiring.open_sealer(found)
    for chunk in restore.plaintext(part, sealer, vault, watch=watch()):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _named(cid: Cid, found: Settings) -> Part:
    """The part with that CID in any configured database's journal. Raises NotRestorable: nobody vouches for it."""
    vault, sealer = wiring.open_vault(found, connections()), wiring.open_sealer(found)
    for name in found.databases:
        entry = wiring.journals(found, name, vault=vault, sealer=sealer).head().journal.naming(cid)
        if entry is not None:
            return next(part for part in entry.backup.parts if part.cid == cid)
    raise NotRestorable(
        f"no journal of {', '.join(found.databases) or 'any database'} names {cid}",
        next_step="pgkeep list NAME --json shows the CIDs that there are",
    )
