"""rekey: other keys for what is kept."""

import argparse
from datetime import UTC, datetime, timedelta

from pgkeep import sentences, wiring
from pgkeep.cli.context import Commands, connections, given, loaded_settings, seconds, watch
from pgkeep.errors import ConfigError
from pgkeep.ports import Sealer


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    command = commands.add_parser(
        "rekey",
        help="encrypt all that is live anew, for the recipients that pgkeep.toml names now",
        description="Encrypts every part of every entry anew for the recipients that pgkeep.toml names now, signs it "
        "with this node's key, and lets go of the old objects. It needs a private key of somebody who can read them "
        "now. It may be interrupted, and run again. What somebody has copied before stays readable with the old keys.",
    )
    command.add_argument("name", metavar="NAME", type=given)
    command.add_argument("--wait", metavar="SECONDS", type=seconds, default=600.0, help="for the copies (default: 600)")
    command.add_argument("--dry-run", action="store_true", help="only show what would be encrypted anew, and for whom")
    command.add_argument(
        "--all",
        action="store_true",
        help="also what is encrypted for these keys already: where one of them has a new subkey to encrypt with",
    )
    command.set_defaults(run=rekey)


def rekey(chosen: argparse.Namespace) -> None:
    """`pgkeep rekey NAME [--dry-run] [--all]`."""
    site = wiring.site(loaded_settings(), chosen.name, connections())
    if chosen.dry_run:
        print("\n".join(sentences.to_rekey(site.journals.head().journal, site.sealer, every=chosen.all)))
        _require_keys(site.sealer)
        return
    done = site.rekey(every=chosen.all, patience=chosen.wait, watch=watch()).run()
    print(sentences.rekeyed(done))
    done.require_all()


def _require_keys(sealer: Sealer) -> None:
    """Raises ConfigError: a key would refuse it."""
    for problem in sealer.problems(datetime.now(UTC), soon=timedelta(0)):
        if problem.fatal:
            raise ConfigError(problem.what, next_step=problem.next_step)
