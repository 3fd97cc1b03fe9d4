"""init, remove, backup, list, audit, check: keeping a database."""

import argparse
import json
import logging
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit, urlunsplit

from pgkeep import backup, lpbm, preflight, records, sentences, settings, wiring
from pgkeep.ancestry import LegacyFile
from pgkeep.cli import reading
from pgkeep.cli.context import Commands, connections, given, loaded_settings, seconds, share, watch
from pgkeep.cli.pending import Pending
from pgkeep.cli.remembered import Remembered
from pgkeep.copies import claimed_copies
from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.model import Entry, Origin, Sealed, Stored
from pgkeep.ports import Vault
from pgkeep.settings.values import CAPTURES
from pgkeep.site import Site

log = logging.getLogger(__name__)


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    command = commands.add_parser("init", help="prepare a database and begin its journal")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument(
        "--source", metavar="CONNECTION|URL", type=given, help="where it is; default: the server in [defaults]"
    )
    way = command.add_mutually_exclusive_group()
    way.add_argument("--capture", choices=CAPTURES, help="how changes are kept (default: [defaults])")
    way.add_argument(
        "--full-only", action="store_const", const="none", dest="capture", help="keep no changes (--capture none)"
    )
    command.add_argument("--print-sql", action="store_true", help="only show what would be installed in the database")
    command.set_defaults(run=init)

    command = commands.add_parser(
        "remove", help="take everything of pgkeep out of a database; its backups, and pgkeep.toml, stay as they are"
    )
    command.add_argument("name", metavar="NAME", type=given)
    command.set_defaults(run=remove)

    command = commands.add_parser("backup", help="collect the changes of a database now, or make a full backup")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument("--full", action="store_true", help="everything it holds")
    command.add_argument("--wait", metavar="SECONDS", type=seconds, default=600.0, help="for the copies (default: 600)")
    command.add_argument("--resume", action="store_true", help="go on with the dump that the last try has stored")
    command.set_defaults(run=make_backup)

    command = commands.add_parser("list", help="show the backups of a database")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument("--json", action="store_true", help="as JSON, with every CID")
    reading.add_options(command)
    command.set_defaults(run=list_backups)

    command = commands.add_parser("audit", help="make each peer prove what it holds, repair it, remove litter")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument(
        "--share", metavar="PART", type=share, help="of all bytes, that is read back (default: audit_share); 1: all"
    )
    command.add_argument("--wait", metavar="SECONDS", type=seconds, default=600.0, help="for new copies (default: 600)")
    command.add_argument("--dry-run", action="store_true", help="read, and change nothing")
    command.add_argument("--json", action="store_true", help="the report as JSON")
    command.set_defaults(run=audit)

    command = commands.add_parser("check", help="run every preflight and say what passed")
    command.add_argument("name", metavar="NAME", type=given, nargs="?", help="default: every configured database")
    command.set_defaults(run=check)


def init(chosen: argparse.Namespace) -> None:
    """`pgkeep init NAME`: safe to repeat."""
    found = loaded_settings()
    own = _own_settings(chosen)
    known = chosen.name in found.databases
    if known and own:
        raise ConfigError(
            f"{chosen.name} stands in pgkeep.toml already", next_step="change it there, or leave out these options"
        )
    database = found.database(chosen.name) if known else found.newcomer(chosen.name, own)
    site = wiring.site_of(found, database, connections())
    if chosen.print_sql:
        print(site.require_capture().script())
        return
    preflight.require_source(site)
    if site.capture:
        site.capture.install()
    head = backup.begin(site.source, site.journals)
    if not known:
        begins = {"begins": datetime.now(UTC).replace(microsecond=0)} if site.capture else {}
        settings.add_database(os.environ[settings.VARIABLE], chosen.name, {**own, **begins})
    print(
        f"{chosen.name}: its journal is at version {head.journal.sequence} with {len(head.journal.entries)} entries, "
        f"held by {site.copies} peers. Next: pgkeep backup {chosen.name} --full"
    )


def remove(chosen: argparse.Namespace) -> None:
    """`pgkeep remove NAME`: the reverse of what `init` and the first backup did to the database."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    site.take_away()
    stands = f"{settings.section(chosen.name)} in {os.environ[settings.VARIABLE]}"
    print(sentences.removed(chosen.name, site.source.label, stands=stands, capture=site.database.capture))


def _own_settings(chosen: argparse.Namespace) -> dict[str, str]:
    """What is said on the command line and is to stand in the database's section."""
    where = _source(chosen.source) if chosen.source else {}
    return where | ({"capture": chosen.capture} if chosen.capture else {})


def _source(source: str) -> dict[str, str]:
    """The settings that `--source` stands for: a server, and perhaps a database on it."""
    if "://" in source:
        url = urlsplit(source)
        own = {"connection": urlunsplit(url._replace(path="")), "dbname": unquote(url.path.removeprefix("/"))}
    else:
        connection, _, dbname = source.partition("/")
        own = {"connection": connection, "dbname": dbname}
    return {key: value for key, value in own.items() if value}


def make_backup(chosen: argparse.Namespace) -> None:
    """`pgkeep backup NAME [--full]`: the very steps that Airflow's tasks take."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    origin = own_origin()
    sealed = Pending(chosen.name).read() if chosen.resume else _captured(site, origin, chosen)
    carry_through(site, sealed, origin=origin, patience=chosen.wait)


def own_origin() -> Origin:
    """Who makes the backups of this command line."""
    return Origin(host=socket.gethostname(), by="command line")


def carry_through(site: Site, sealed: Sealed, *, origin: Origin, patience: float) -> None:
    """All steps after the check; until it is recorded, `pgkeep backup NAME --resume` can go on from there."""
    pending = Pending(site.database.name)
    pending.write(sealed)
    replicated = backup.replicate(sealed, site.vault, copies=site.copies, patience=patience)
    entry = site.record(replicated, origin=origin, patience=patience, watch=watch())
    pending.forget()
    backup.release(entry, site.source, site.journals)
    print(sentences.entry_line(entry))


def _captured(site: Site, origin: Origin, chosen: argparse.Namespace) -> Sealed:
    if chosen.full:
        stored = site.full(origin=origin, patience=chosen.wait, watch=watch())
    else:
        found = site.run(origin=origin, patience=chosen.wait, watch=watch()).hourly()
        assert isinstance(found, Stored), "nothing covers what was not asked for"
        stored = found
    return backup.check(stored, site.sealer, site.vault)


def audit(chosen: argparse.Namespace) -> None:
    """`pgkeep audit NAME`: says all it has found before it fails."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    report = site.audit(share=chosen.share, patience=chosen.wait, watch=watch()).run(dry_run=chosen.dry_run)
    print(json.dumps(records.encode(report), indent=1) if chosen.json else "\n".join(sentences.audited(report)))
    report.require_well()


def list_backups(chosen: argparse.Namespace) -> None:
    """`pgkeep list NAME`."""
    found = reading.opened(chosen)
    journal = found.journal(chosen.name)
    rows = [*with_copies(journal.entries, found.vault)]
    if chosen.json:
        described = {
            "database": journal.database,
            "journal": journal.sequence,
            "entries": [records.encode(entry) | {"copies_now": copies} for entry, copies in rows],
            "verdicts": [records.encode(verdict) for verdict in journal.verdicts],
        }
        json.dump(described, sys.stdout, indent=1)
        print()
    else:
        print(sentences.entry_table(journal, rows))
        for entry in journal.entries:
            if entry.backup.part("ancestry"):
                print(sentences.continues(entry, _ancestors(entry, found)))


def _ancestors(entry: Entry, found: reading.Reading) -> Sequence[LegacyFile] | None:
    """LPBM's files that the entry continues; None: they cannot be read now, or not by us."""
    try:
        return lpbm.ancestors(entry, found.opener, found.vault)
    except PgkeepError as error:
        log.warning("what entry %s continues is not known: %s", entry.sequence, error)
        return None


def with_copies(entries: Iterable[Entry], vault: Vault) -> Iterator[tuple[Entry, int | None]]:
    """How many distinct peers hold every part at this moment, as the cluster says; None: nobody can say. Why is said
    once.
    """
    said = set[str]()
    for entry in entries:
        copies = None
        try:
            copies = claimed_copies(entry, vault)
        except (ConfigError, Unavailable) as error:
            if str(error) not in said:
                log.warning("how many copies there are now is not known: %s", error)
            said.add(str(error))
        yield entry, copies


def check(chosen: argparse.Namespace) -> None:
    """`pgkeep check [NAME]`: all findings, then an error if one of them is bad."""
    found = loaded_settings()
    names = [chosen.name] if chosen.name else sorted(found.databases)
    findings = [*preflight.vault_and_keys(found, connections())]
    for name in names:
        site = wiring.site(found, name, connections())
        findings += [*preflight.database(site), *preflight.freshness(site, Remembered(name, found.keys.node))]
    findings = list(dict.fromkeys(findings))  # a journal that cannot be had is in everybody's way
    for finding in findings:
        print(finding)
    preflight.require_all(findings)
    warnings = sum(bool(finding.next_step) for finding in findings)
    print(f"{len(findings) - warnings} checks passed, {warnings} warnings")
