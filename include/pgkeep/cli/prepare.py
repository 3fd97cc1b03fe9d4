"""init, remove, check: a database, and all that its backups need."""

import argparse
import os
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit, urlunsplit

from pgkeep import backup, preflight, sentences, settings, wiring
from pgkeep.cli.context import Commands, connections, given, loaded_settings
from pgkeep.cli.remembered import Remembered
from pgkeep.errors import ConfigError
from pgkeep.settings.values import CAPTURES


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
