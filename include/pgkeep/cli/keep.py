"""backup, list: keeping a database, and seeing what is kept."""

import argparse
import json
import logging
import socket
import sys
import time
from collections.abc import Mapping, Sequence

from pgkeep import backup, lpbm, records, sentences, wiring
from pgkeep.ancestry import LegacyFile
from pgkeep.cli import reading
from pgkeep.cli.context import Commands, connections, given, loaded_settings, seconds, watch
from pgkeep.cli.pending import pending
from pgkeep.copies import claimed_copies
from pgkeep.errors import ConfigError, NotReplicated, PgkeepError, Unavailable
from pgkeep.losses import bereft
from pgkeep.model import Entry, Origin, Sealed, Stored
from pgkeep.ports import Vault
from pgkeep.site import Site

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds for asking how many copies there are: for a peer that stands still, a cluster waits 15 s each time."""
TOGETHER = 100
"""Entries that are asked for at a time."""


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    command = commands.add_parser("backup", help="collect the changes of a database now, or make a full backup")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument("--full", action="store_true", help="everything it holds")
    command.add_argument("--wait", metavar="SECONDS", type=seconds, default=600.0, help="for the copies (default: 600)")
    command.add_argument("--resume", action="store_true", help="go on with what an unfinished try has stored")
    command.set_defaults(run=make_backup)

    command = commands.add_parser("list", help="show the backups of a database")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument("--json", action="store_true", help="as JSON, with every CID")
    reading.add_options(command)
    command.set_defaults(run=list_backups)


def make_backup(chosen: argparse.Namespace) -> None:
    """`pgkeep backup NAME [--full]`: the very steps that Airflow's tasks take."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    origin = own_origin()
    sealed = pending(site).read() if chosen.resume else _captured(site, origin, chosen)
    carry_through(site, sealed, origin=origin, patience=chosen.wait)


def own_origin() -> Origin:
    """Who makes the backups of this command line."""
    return Origin(host=socket.gethostname(), by="command line")


def carry_through(site: Site, sealed: Sealed, *, origin: Origin, patience: float) -> None:
    """All steps after the check; until it is recorded, `pgkeep backup NAME --resume` can go on from there."""
    unfinished, name = pending(site), site.database.name
    noted = unfinished.write(sealed)
    try:
        replicated = backup.replicate(sealed, site.vault, copies=site.copies, patience=patience)
        entry = site.record(replicated, origin=origin, patience=patience, watch=watch())
    except (NotReplicated, Unavailable):
        if noted:
            path = unfinished.path(sealed.backup.kind)
            log.warning("what is stored stays: pgkeep backup %s --resume goes on with it (noted in %s)", name, path)
        raise
    backup.release(entry, site.source, site.journals)
    unfinished.forget(sealed)
    print(sentences.entry_line(entry))


def _captured(site: Site, origin: Origin, chosen: argparse.Namespace) -> Sealed:
    if chosen.full:
        stored = site.full(origin=origin, patience=chosen.wait, watch=watch())
    else:
        found = site.run(origin=origin, patience=chosen.wait, watch=watch()).hourly()
        assert isinstance(found, Stored), "nothing covers what was not asked for"
        stored = found
    return backup.check(stored, site.sealer, site.vault)


def list_backups(chosen: argparse.Namespace) -> None:
    """`pgkeep list NAME`."""
    found = reading.opened(chosen)
    journal = found.journal(chosen.name)
    rows, lost = with_copies(journal.entries, found.vault), bereft(journal, found.lost(journal.database))
    if chosen.json:
        described = {
            "database": journal.database,
            "journal": journal.sequence,
            "entries": [_described(entry, copies, entry in lost) for entry, copies in rows],
            "verdicts": [records.encode(verdict) for verdict in journal.verdicts],
        }
        json.dump(described, sys.stdout, indent=1)
        print()
    else:
        print(sentences.entry_table(journal, rows, lost=lost))
        for entry in journal.entries:
            if entry.backup.part("ancestry"):
                print(sentences.continues(entry, _ancestors(entry, found)))


def _described(entry: Entry, copies: int | None, lost: bool) -> Mapping[str, object]:
    return records.encode(entry) | {"copies_now": copies, "lost": lost}


def _ancestors(entry: Entry, found: reading.Reading) -> Sequence[LegacyFile] | None:
    """LPBM's files that the entry continues; None: they cannot be read now, or not by us."""
    try:
        return lpbm.ancestors(entry, found.opener, found.vault)
    except PgkeepError as error:
        log.warning("what entry %s continues is not known: %s", entry.sequence, error)
        return None


def with_copies(entries: Sequence[Entry], vault: Vault) -> Sequence[tuple[Entry, int | None]]:
    """How many distinct peers hold every part at this moment, as the cluster says; None: nobody can say.

    The newest are asked for first, and a peer that stands still holds nobody up for long.
    """
    found, deadline = dict[int, int](), time.monotonic() + PATIENCE
    for end in range(len(entries), 0, -TOGETHER):
        if time.monotonic() > deadline:
            log.warning(
                "how many copies entries up to %d have now was not asked: peers are slow", entries[end - 1].sequence
            )
            break
        try:
            found |= claimed_copies(entries[max(0, end - TOGETHER) : end], vault)
        except (ConfigError, Unavailable) as error:
            log.warning("how many copies there are now is not known: %s", error)
            break
    return [(entry, found.get(entry.sequence)) for entry in entries]
