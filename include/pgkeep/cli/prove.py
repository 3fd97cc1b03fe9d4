"""drill, audit, retire: knowing that backups come back, and letting go of those that are not kept any longer."""

import argparse
import json

from pgkeep import records, sentences, wiring
from pgkeep.cli import keep
from pgkeep.cli.context import Commands, connections, given, loaded_settings, seconds, share, watch


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    command = commands.add_parser("drill", help="restore the newest backups, compare them, and record what was found")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument(
        "--into",
        metavar="URL",
        type=given,
        help="postgresql://user@host:port/db, or CONNECTION/db: databases are made beside that one, and dropped again; "
        "default: the server that `scratch` names in pgkeep.toml",
    )
    command.set_defaults(run=prove)

    command = commands.add_parser("audit", help="make each peer prove what it holds, repair it, remove litter")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument(
        "--share", metavar="PART", type=share, help="of all bytes, that is read back (default: audit_share); 1: all"
    )
    command.add_argument("--wait", metavar="SECONDS", type=seconds, default=600.0, help="for new copies (default: 600)")
    command.add_argument("--dry-run", action="store_true", help="read, and change nothing")
    command.add_argument("--json", action="store_true", help="the report as JSON")
    command.set_defaults(run=audit)

    command = commands.add_parser("retire", help="let go of what the settings keep_.. and min_full do not keep")
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument("--dry-run", action="store_true", help="only show what would go, what would stay, and why")
    command.add_argument(
        "--lost",
        action="store_true",
        help="also let go of full backups of which the last audit found no whole copy, whatever the settings keep",
    )
    command.set_defaults(run=let_go)


def prove(chosen: argparse.Namespace) -> None:
    """`pgkeep drill NAME [--into URL]`: needs a recipient's private key."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    into = wiring.target(chosen.into, connections()) if chosen.into else None
    print(sentences.proven(site.drill(origin=keep.own_origin(), watch=watch(), into=into), chosen.name))


def audit(chosen: argparse.Namespace) -> None:
    """`pgkeep audit NAME`: says all it has found before it fails."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    report = site.audit(share=chosen.share, patience=chosen.wait, watch=watch()).run(dry_run=chosen.dry_run)
    print(json.dumps(records.encode(report), indent=1) if chosen.json else "\n".join(sentences.audited(report)))
    report.require_well()


def let_go(chosen: argparse.Namespace) -> None:
    """`pgkeep retire NAME [--lost] [--dry-run]`."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    if chosen.dry_run:
        fates = site.fates(give_up=chosen.lost)
        print(sentences.fate_table(fates))
        return
    done = site.retire(give_up=chosen.lost)
    print(f"{sentences.fate_table(done.fates)}\n{sentences.retired(done)}")
