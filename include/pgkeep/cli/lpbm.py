"""lpbm list, decrypt, restore, import: moving from LPBM, pgkeep's predecessor."""

import argparse
import getpass
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pgkeep import ancestry, backup, lpbm, sentences, wiring
from pgkeep.adapters.lpbm import LegacyOpener, read_path
from pgkeep.ancestry import Archive, LegacyFile
from pgkeep.cli import keep
from pgkeep.cli.context import Commands, connections, given, loaded_settings, seconds, watch
from pgkeep.errors import ConfigError, NotRestorable
from pgkeep.model import Cid

VARIABLE = "LPBM_PASSWORD"
CID = re.compile("[A-Za-z0-9]{46,128}")


def add_commands(commands: Commands) -> None:
    """Adds this file's commands to the parser."""
    parser = commands.add_parser("lpbm", help="move here from the Logion Postgres Backup Manager")
    ours = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = ours.add_parser("list", help="show what its journal names")
    command.add_argument("journal", metavar="JOURNAL", type=given, help="its journal.txt")
    command.set_defaults(run=list_files)

    command = ours.add_parser("decrypt", help="write the plaintext of one of its files to standard output")
    command.add_argument("file", metavar="FILE|CID", type=given)
    command.add_argument("-o", "--output", metavar="OUT", type=given, help="to this file, whole or not at all")
    _add_password(command)
    command.set_defaults(run=decrypt)

    command = ours.add_parser("restore", help="replay its newest full backup, and the deltas after it")
    command.add_argument("journal", metavar="JOURNAL", type=given, help="its journal.txt")
    command.add_argument(
        "--into", metavar="URL", type=given, required=True, help="postgresql://user@host:port/db, or CONNECTION/db"
    )
    command.add_argument(
        "--files", metavar="DIR", type=given, help="where its files are, named by CID or by name; default: the cluster"
    )
    command.add_argument(
        "--keep-going", action="store_true", help="go past statements that fail, as LPBM did; then exit with 7"
    )
    _add_password(command)
    command.set_defaults(run=bring_back)

    command = ours.add_parser("import", help="make a full backup that names LPBM's files as its ancestry")
    command.add_argument("name", metavar="NAME", type=given, help="a database after pgkeep init")
    command.add_argument("--journal", metavar="JOURNAL", type=given, required=True, help="LPBM's journal.txt")
    command.add_argument("--wait", metavar="SECONDS", type=seconds, default=600.0, help="for the copies (default: 600)")
    command.set_defaults(run=begin_with)


def list_files(chosen: argparse.Namespace) -> None:
    """`pgkeep lpbm list JOURNAL`."""
    files = _journal(chosen.journal)
    try:
        used = ancestry.newest(files, path=chosen.journal)
    except NotRestorable:
        used = ()
    print(sentences.legacy_table(files, used))


def decrypt(chosen: argparse.Namespace) -> None:
    """`pgkeep lpbm decrypt FILE|CID [-o OUT]`."""
    if not chosen.output and sys.stdout.isatty():
        raise ConfigError("this would write a backup to your terminal", next_step="name a file: -o OUT")
    cipher = _bytes_of(chosen.file)
    plain = watch()("plaintext", _opener(chosen).open(cipher, name=chosen.file))
    with _whole_or_nothing(Path(chosen.output)) if chosen.output else _standard_output() as out:
        for chunk in plain:
            out.write(chunk)


def bring_back(chosen: argparse.Namespace) -> None:
    """`pgkeep lpbm restore JOURNAL --into URL`."""
    way = ancestry.newest(_journal(chosen.journal), path=chosen.journal)
    target = wiring.target(chosen.into, connections())
    archive = _archive(chosen.files)
    replayed = lpbm.restore(way, archive, _opener(chosen), target, keep_going=chosen.keep_going, watch=watch())
    for line in sentences.failed_lines(replayed):
        print(line)
    print(sentences.replayed_line(replayed, target.label))
    lpbm.require_success(replayed, label=target.label)


def begin_with(chosen: argparse.Namespace) -> None:
    """`pgkeep lpbm import NAME --journal JOURNAL`: the very steps of `pgkeep backup NAME --full`."""
    files = _journal(chosen.journal)
    site = wiring.site(loaded_settings(), chosen.name, connections())
    lpbm.require_not_imported(site.journals.head_for_writing().journal)
    origin = keep.own_origin()
    stored = site.full(origin=origin, patience=chosen.wait, watch=watch(), ancestry=ancestry.write_journal(files))
    sealed = backup.check(stored, site.sealer, site.vault)
    keep.carry_through(site, sealed, origin=origin, patience=chosen.wait)


def _add_password(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--password-file",
        metavar="FILE",
        type=given,
        help=f"file with LPBM's password in one line; default: the variable {VARIABLE}, else you are asked",
    )


def _opener(chosen: argparse.Namespace) -> LegacyOpener:
    return wiring.legacy_opener(_password(chosen.password_file))


def _password(path: str | None) -> bytes:
    """Raises ConfigError: there is none. It stands in no message."""
    if path is not None:
        found = _read(path).removesuffix(b"\n").removesuffix(b"\r")
    elif VARIABLE in os.environ:
        found = os.fsencode(os.environ.pop(VARIABLE))  # no program that we start is to have it
    elif sys.stdin.isatty():
        found = getpass.getpass("LPBM's password: ").encode()
    else:
        found = b""
    if not found:
        raise ConfigError(
            "LPBM's password is not given, or empty",
            next_step=f"write it into a file and name that: --password-file FILE; or set {VARIABLE}",
        )
    return found


def _journal(path: str) -> tuple[LegacyFile, ...]:
    """The lines of LPBM's journal. Raises ConfigError: there is nothing to read; Corrupted: an odd line."""
    files = ancestry.read_journal(_read(path).decode(errors="replace"), path=path)
    if not files:
        raise ConfigError(f"{path} names no file", next_step=f"name LPBM's journal.txt; its lines: {ancestry.EXPECTED}")
    return files


def _archive(directory: str | None) -> Archive:
    if directory is not None:
        return wiring.legacy_folder(Path(directory))
    return _cluster()


def _cluster() -> lpbm.VaultArchive:
    return wiring.legacy_archive(wiring.open_vault(loaded_settings(), connections()))


def _bytes_of(file: str) -> Iterator[bytes]:
    if Path(file).is_file():
        return read_path(Path(file))
    if not CID.fullmatch(file):
        known = f"{file} is a directory" if Path(file).is_dir() else f"there is no file {file}"
        raise ConfigError(f"{known}, and it is no CID", next_step="pgkeep lpbm list JOURNAL shows CIDs")
    return _cluster().read_cid(Cid(file))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", next_step="name a file that can") from error


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def _whole_or_nothing(path: Path) -> Iterator[IO[bytes]]:
    """A file for its user only, that has its name when all of it is there. Raises ConfigError."""
    if path.is_dir():
        raise ConfigError(f"{path} cannot be written: it is a directory", next_step="name a file in it")
    try:
        number, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", next_step="name another file") from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(new).replace(path)
    except BaseException:
        Path(new).unlink()
        raise
