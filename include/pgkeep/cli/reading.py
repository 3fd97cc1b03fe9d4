"""What restore, list and fetch read from: the settings, or, where there are none, what the command line names.

The first needs `pgkeep.toml`; the second a private key in the user's own keyring, and the address of one peer.
"""

import argparse
import getpass
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pgkeep import journal_search, settings, wiring
from pgkeep.adapters.ipfs import Endpoint, IpfsVault
from pgkeep.adapters.openpgp import OpenPgpOpener
from pgkeep.audit import ledger
from pgkeep.cli.context import connections, given, loaded_settings
from pgkeep.errors import ConfigError, Corrupted, PgkeepError, Unavailable
from pgkeep.journal import Journal
from pgkeep.journal_search import JournalSearch
from pgkeep.model import Cid, KeyFingerprint, is_cid
from pgkeep.pin_names import ALL, databases
from pgkeep.settings import values

log = logging.getLogger(__name__)

PASSWORD = "PGKEEP_PASSWORD"  # noqa: S105 - the variable's name
LOOK_SECONDS = 20.0
"""For an object that may be nowhere: Kubo would ask its neighbours for it without end."""
PASSWORDS = f"in {PASSWORD}, in --password-file, or typed when asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A daemon's address as it is written on the command line, where no password may stand."""

    url: str
    login: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Peers and keys. `version`: the version of the journal, or its CID, that a person trusts; `file`: that itself.

    `hasty`: the same peers as `vault`, with a patience of LOOK_SECONDS.
    """

    vault: IpfsVault
    hasty: IpfsVault
    opener: OpenPgpOpener
    version: str | None
    file: Path | None

    def journal(self, name: str | None) -> Journal:
        """The newest, or the one that was asked for. None: the file's, whosever it is.

        Raises as `JournalSearch.head`; ConfigError: the file cannot be read.
        """
        if self.file is not None:
            return self._of_file(self.file, name)
        assert name is not None, "only a file says itself whose it is"
        search = self._search(name)
        listing = search.listing()
        if self.version and is_cid(self.version) and self.version not in listing.where:
            self._require_somewhere(Cid(self.version))
        return search.head(listing, accept=self.version).journal

    def lost(self, name: str) -> tuple[Cid, ...]:
        """Objects of which the last audit has found no whole copy, as far as that can be read."""
        search = self._search(name)
        try:
            return ledger.known(search, search.listing()).lost
        except PgkeepError as error:
            log.info("what audits of %s have found is not known: %s", name, error)
            return ()

    def databases(self) -> Sequence[str]:
        """All that have a journal on these peers. Raises Unavailable."""
        return databases(self.vault.listing(ALL).names)

    def _require_somewhere(self, cid: Cid) -> None:
        """Raises Unavailable: no peer that answers gives any of it; who only searched for it is not to be blamed.

        Raises ConfigError: one that does not let us in may have it, and no other has.
        """
        places, refused = self.vault.places(), list[ConfigError]()
        for place in places:
            try:
                next((self.vault if place.local else self.hasty).read(cid, at=place), b"")
            except ConfigError as error:
                refused.append(error)
            except Unavailable:
                continue
            else:
                return
        if refused:
            raise refused[0]
        raise Unavailable(
            f"no peer that answers has {cid}: not {', '.join(place.name for place in places if place.local)}, nor any "
            f"that {places[-1].name} reaches within {LOOK_SECONDS:.0f} s",
            next_step="see that it is the CID of a version of the journal; if it is, bring more peers back",
        )

    def _of_file(self, path: Path, name: str | None) -> Journal:
        try:
            with path.open("rb") as file:
                found = journal_search.read_mailed(iter(lambda: file.read(1 << 20), b""), self.opener, database=name)
        except OSError as error:
            raise ConfigError(
                f"the journal {path} cannot be read: {error.strerror}",
                next_step="write the path of the file as it was mailed; or the number of a version, or its CID",
            ) from error
        except Corrupted as error:
            raise Corrupted(
                f"the file {path} is no journal that can be believed: {error.what}",
                next_step=f"name the very file that was mailed, and its database, or leave out --journal; or "
                f"{error.next_step}",
            ) from error
        self._tell_what_is_newer(found)
        return found

    def _tell_what_is_newer(self, found: Journal) -> None:
        """What was mailed is as old as the mail."""
        search = self._search(found.database)
        try:
            newest = max(search.versions(search.listing()), default=-1)
        except PgkeepError as error:
            log.info("whether the peers have a newer journal is not known: %s", error)
            return
        if newest > found.sequence:
            log.warning(
                "this file is version %d of the journal; the peers have version %d: leave out --journal to use it",
                found.sequence,
                newest,
            )

    def _search(self, name: str) -> JournalSearch:
        return JournalSearch(database=name, vault=self.vault, sealer=self.opener)


def add_options(command: argparse.ArgumentParser) -> None:
    """Adds what all reading commands share."""
    command.add_argument(
        "--journal",
        metavar="VERSION|CID|FILE",
        type=given,
        help="a version of the journal that you trust: its number, its CID, or the file that was mailed "
        "(one whose name is a number: ./17)",
    )
    group = command.add_argument_group(
        "without pgkeep.toml", "Keys are those of your own keyring (GNUPGHOME, else ~/.gnupg); no connection is needed."
    )
    group.add_argument(
        "--peer",
        metavar="URL",
        type=address(wiring.KUBO_PORT),
        action="append",
        help="a living peer's Kubo RPC, http://host:5001; may be repeated, and the more are asked, the newer is what "
        "is found",
    )
    group.add_argument(
        "--cluster",
        metavar="URL",
        type=address(wiring.CLUSTER_PORT),
        action="append",
        help=f"a cluster peer's REST API, http://user@host:9094; its password: {PASSWORDS}. Bytes come from --peer, "
        "else from the Kubo on that host; may be repeated",
    )
    group.add_argument(
        "--node",
        metavar="FINGERPRINT",
        type=fingerprint,
        action="append",
        help="the key of the node that made the backups; may be repeated. Default: the keys that your keyring calls "
        "your own (ultimate trust)",
    )
    group.add_argument("--password-file", metavar="FILE", type=Path, help="the password of the user in these addresses")
    group.add_argument("--passphrase-file", metavar="FILE", type=Path, help="the passphrase of your private key")


def opened(chosen: argparse.Namespace) -> Reading:
    """What the settings or the options name. No I/O but for passwords. Raises ConfigError."""
    named = chosen.journal
    is_file = named is not None and not named.isdecimal() and not is_cid(named)
    vault, opener = _named(chosen) if _names_any(chosen) else _configured()
    return Reading(
        vault=vault(),
        hasty=vault(stall=LOOK_SECONDS),
        opener=opener,
        version=None if is_file else named,
        file=Path(named) if is_file else None,
    )


def _names_any(chosen: argparse.Namespace) -> bool:
    return any((chosen.peer, chosen.cluster, chosen.node, chosen.password_file, chosen.passphrase_file))


def _configured() -> tuple[Callable[..., IpfsVault], OpenPgpOpener]:
    if not os.environ.get(settings.VARIABLE):
        raise ConfigError(
            f"no peer is named from which backups could be read, and {settings.VARIABLE} is not set",
            next_step=f"name a living one: --peer http://host:5001; or export {settings.VARIABLE}=/path/to/pgkeep.toml",
        )
    found = loaded_settings()
    return partial(wiring.open_vault, found, connections()), wiring.open_sealer(found)


def _named(chosen: argparse.Namespace) -> tuple[Callable[..., IpfsVault], OpenPgpOpener]:
    if not (chosen.peer or chosen.cluster):
        raise ConfigError(
            "no peer is named from which backups could be read", next_step="name a living one: --peer http://host:5001"
        )
    if chosen.password_file and not any(one.login for one in (*(chosen.peer or ()), *(chosen.cluster or ()))):
        raise ConfigError(
            "--password-file names a password, and no address says whose it is",
            next_step="write the user into the address: http://user@host:port; or leave out --password-file",
        )
    password = None if chosen.password_file is None else _password_in(chosen.password_file)
    kubos, clusters = (
        [_endpoint(one, password, option=option) for one in dict.fromkeys(addresses or ())]
        for option, addresses in (("--peer", chosen.peer), ("--cluster", chosen.cluster))
    )
    home = Path(os.environ.get("GNUPGHOME") or Path.home() / ".gnupg")
    opener = wiring.open_reader(home, nodes=chosen.node or (), passphrase_file=chosen.passphrase_file)
    return partial(wiring.open_vault_at, kubos, clusters), opener


# --- addresses ---------------------------------------------------------------------------------------------------


def address(port: int) -> Callable[[str], Address]:
    """Reads a command line's address of a daemon that listens at `port` unless it says otherwise."""

    def read(text: str) -> Address:
        try:
            url = urlsplit(given(text))
            own_port = url.port
        except ValueError:
            url, own_port = urlsplit(""), None
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise argparse.ArgumentTypeError(f"is no address. Next: write it as http://host:{port}")
        if url.password is not None:
            raise argparse.ArgumentTypeError(
                "has a password in it, which everybody on this machine can read. Next: leave it out, and change it; "
                f"pgkeep takes it {PASSWORDS}"
            )
        host = url.netloc.rpartition("@")[2]
        at = host if own_port or url.scheme == "https" else f"{host.removesuffix(':')}:{port}"
        return Address(url=f"{url.scheme}://{at}{url.path}", login=unquote(url.username) if url.username else None)

    return read


def fingerprint(text: str) -> KeyFingerprint:
    """A command line's fingerprint. Raises ArgumentTypeError."""
    try:
        return values.fingerprint(given(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no fingerprint. Next: {error}") from error


def _endpoint(where: Address, password: str | None, *, option: str) -> Endpoint:
    if where.login is None:
        return Endpoint(url=where.url, written=option)
    written = f"{option} (its password: {PASSWORD} or --password-file)"
    endpoint = Endpoint(url=where.url, login=where.login, written=written)
    return replace(endpoint, password=_password(endpoint) if password is None else password)


def _password_in(file: Path) -> str:
    """Raises ConfigError: there is none."""
    try:
        found = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigError(
            f"the file with the password, {file}, cannot be read: {why}", next_step="correct --password-file"
        ) from error
    if not found:
        raise ConfigError(f"the file with the password, {file}, is empty", next_step="correct --password-file")
    return found


def _password(endpoint: Endpoint) -> str:
    """From the environment, or whoever sits there. Raises ConfigError: from nowhere."""
    if (known := os.environ.get(PASSWORD)) is not None:
        return known
    if not sys.stdin.isatty():
        raise ConfigError(
            f"the password of {endpoint.login} at {endpoint} is not known, and nobody can be asked",
            next_step=f"export {PASSWORD}, or write it into a file and name that: --password-file FILE",
        )
    return getpass.getpass(f"password of {endpoint.login} at {endpoint}: ")
