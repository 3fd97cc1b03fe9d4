"""sandbox: everything that pgkeep needs, for trying out."""

import argparse
import os
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

from pgkeep import sandbox
from pgkeep.cli.context import Commands, given
from pgkeep.progress import human_size


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    parser = commands.add_parser("sandbox", help="real servers on loopback: PostgreSQL, a private cluster, Airflow")
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, meaning in (
        ("up", up, "start what does not run yet"),
        ("status", status, "what runs"),
        ("env", env, 'shell exports: eval "$(pgkeep sandbox env)"'),
        ("down", down, "stop everything; the data stays, unless --remove"),
        ("sample", sample, "make a sample database"),
    ):
        command = parts.add_parser(name, help=meaning)
        command.add_argument("--home", metavar="DIR", type=Path, default=sandbox.default_home(), help="its folder")
        command.set_defaults(run=run)
        if name == "up":
            command.add_argument("--airflow", action="store_true", help="Airflow too")
            command.add_argument("--isolated", action="store_true", help="in a network of its own, with loopback only")
        if name == "down":
            command.add_argument("--remove", action="store_true", help="delete all data, also what lies outside of DIR")
        if name == "sample":
            command.add_argument("name", metavar="NAME", type=given)
            command.add_argument("--size", default="20MB", help="about how much (default: 20MB)")
            command.add_argument("--seed", type=int, default=1, help="the same seed gives the same rows (default: 1)")


def up(chosen: argparse.Namespace) -> None:
    """`pgkeep sandbox up`."""
    sandbox.up(chosen.home, airflow=chosen.airflow, isolated=chosen.isolated, report=_report)


def status(chosen: argparse.Namespace) -> None:
    """`pgkeep sandbox status`."""
    for server in sandbox.status(chosen.home):
        print(server)


def env(chosen: argparse.Namespace) -> None:
    """`pgkeep sandbox env`."""
    for name, value in sandbox.environment(chosen.home).items():
        print(f"export {name}={shlex.quote(value)}")


def down(chosen: argparse.Namespace) -> None:
    """`pgkeep sandbox down`."""
    (sandbox.remove if chosen.remove else sandbox.down)(chosen.home, report=_report)


def sample(chosen: argparse.Namespace) -> None:
    """`pgkeep sandbox sample NAME`."""
    from pgkeep.sandbox.sample import create_sample, parse_size

    conninfo = _source(chosen.home)
    size = parse_size(chosen.size)
    made = create_sample(conninfo, dbname=chosen.name, size=size, seed=chosen.seed, report=_report)
    print(f"{chosen.name}: {made.rows} rows, {human_size(made.bytes)} on disk")


def _source(home: Path) -> str:
    """The URL of the sandbox's source server; without a sandbox (as in the containers) the environment's."""
    if not home.exists() and (url := os.environ.get("PGKEEP_SOURCE_URL")):
        _report(f"there is no sandbox in {home}: taking the server of PGKEEP_SOURCE_URL")
        return url  # libpq looks at PGPASSFILE by itself
    environ = sandbox.environment(home)
    return f"{environ['PGKEEP_SOURCE_URL']}?passfile={quote(environ['PGPASSFILE'])}"


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
