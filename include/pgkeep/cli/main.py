"""Parses the command line, runs one command, and turns what went wrong into one sentence and an exit code."""

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from pgkeep import __version__
from pgkeep.cli import bring, csvlog, keep, keys, lpbm, prepare, prove, sandbox
from pgkeep.errors import PgkeepError

EXIT_CODES = """\
exit codes: 0 done · 1 a bug of pgkeep · 2 wrong usage · 3 a setting is wrong · 4 a system does not answer, try again
            5 fewer copies than asked · 6 bytes or journal are not what was recorded · 7 nothing reaches that point
            8 a backup, a drill, an audit or a key is overdue
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `pgkeep ARGUMENTS` and returns its exit code."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what cleans up after Ctrl-C does so then, too
    logging.basicConfig(level=_level(chosen), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("gnupg").setLevel(logging.CRITICAL)  # what matters of it, our own errors say
    try:
        chosen.run(chosen)
    except PgkeepError as error:
        print(f"pgkeep: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pgkeep: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away: nothing of ours may complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception:  # the outermost edge: whatever comes here is a bug, and says so
        traceback.print_exc()
        print("pgkeep: this is a bug of pgkeep; please report the lines above", file=sys.stderr)
        return 1
    return 0


def _level(chosen: argparse.Namespace) -> int:
    if chosen.verbose:
        return logging.DEBUG
    return logging.WARNING if sys.stderr.isatty() else logging.INFO


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pgkeep",
        description="Encrypted, replicated, proven PostgreSQL backups in a private IPFS Cluster.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pgkeep {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say everything that happens")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    bring.add_commands(commands)
    prepare.add_commands(commands)
    keep.add_commands(commands)
    prove.add_commands(commands)
    keys.add_commands(commands)
    lpbm.add_commands(commands)
    csvlog.add_commands(commands)
    sandbox.add_commands(commands)
    return parser
