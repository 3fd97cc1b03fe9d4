"""gpg as pgkeep starts it: always with the same options, whatever the user's gpg.conf says."""

import errno
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgkeep.errors import ConfigError, PgkeepError, Unavailable
from pgkeep.model import KeyFingerprint

from .keys import Keyring, keyring
from .said import Said
from .stream import Exchange, Gpg

ALWAYS = ("--no-options", "--trust-model", "always", "--no-auto-check-trustdb", "--disable-dirmngr")
"""Our list of keys is the trust; no network; no file of the user's changes what is written."""
SEALING = ("--compress-algo", "none", "--no-encrypt-to", "--no-throw-keyids")
LONGEST_SOCKET_PATH = 106
"""Bytes that libassuan accepts for the path of a socket: one less than Linux (sun_path has 108 with its zero byte)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The words by which people have told us where keys and their passphrase are."""

    home: str = "gnupghome in [keys] of pgkeep.toml"
    passphrase: str = "passphrase_file in [keys] of pgkeep.toml"  # noqa: S105 - the setting's name


SETTINGS = Named()


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The runs of gpg on one GNUPGHOME."""

    home: Path
    binary: str
    passphrase_file: Path | None
    named: Named = SETTINGS

    def keys(self, *, with_secret: bool) -> Keyring:
        """The keys that are there; `with_secret` asks the agent too which private keys are.

        Raises ConfigError; Unavailable when gpg did not end well, for a half list would look like missing keys.
        """
        with self._translated():
            gpg = self._gpg(*(("--with-secret",) if with_secret else ()))
            listed = gpg.list_keys()
        if listed.returncode and not self.about_the_agent():  # that has an explanation, and its own error
            raise Unavailable(
                f"gpg did not list the keys of {self.home} (exit code {listed.returncode})",
                next_step=f"run it again; if it stays so, try it by hand: gpg --homedir {self.home} --list-keys",
            )
        return keyring(listed)

    def sealing(self, node: KeyFingerprint, readers: list[KeyFingerprint]) -> Exchange:
        """Encryption for `readers` with a signature by `node`. Raises ConfigError, Unavailable."""
        with self._translated():
            gpg = self._gpg(*self._passphrase())
        arguments = [*SEALING, "--local-user", node]
        return Exchange(
            gpg,
            lambda source: gpg.encrypt_file(source, readers, sign=True, armor=False, extra_args=arguments),
        )

    def opening(self, convert: Callable[[bytes], Iterator[bytes]]) -> Exchange:
        """Decryption and the check of the signature; `convert` sees the plaintext. Raises ConfigError, Unavailable."""
        with self._translated():
            gpg = self._gpg(*self._passphrase())
        return Exchange(gpg, gpg.decrypt_file, convert=convert)

    def trial_signature(self, node: KeyFingerprint) -> Said:
        """What gpg says when it signs nothing with that key: the private key, its passphrase and the agent work."""
        said = Said()
        with self._translated():
            gpg = self._gpg(*self._passphrase())
            gpg.result_map = {**gpg.result_map, "sign": lambda _gpg: said}
            gpg.sign_file(io.BytesIO(), detach=True, clearsign=False, binary=True, extra_args=["--local-user", node])
        return said

    def about_the_agent(self) -> str:
        """Why the agent may not be able to start here; "" if nothing speaks against it."""
        socket = self.home / "S.gpg-agent.browser"  # the longest of its four; the agent ends if one fails
        size = len(bytes(socket))
        if size <= LONGEST_SOCKET_PATH or socket.is_file():  # a file there redirects to a shorter path
            return ""
        return (
            f"the path of gpg-agent's socket, {socket}, has {size} bytes where {LONGEST_SOCKET_PATH} are allowed: "
            "move the GNUPGHOME to a shorter path, or make /run/user/UID"
        )

    def _gpg(self, *options: str) -> Gpg:
        return Gpg(gpgbinary=self.binary, gnupghome=str(self.home), options=[*ALWAYS, *options])

    def _passphrase(self) -> tuple[str, ...]:
        if self.passphrase_file is None:
            return ()
        if why := _why_unreadable(self.passphrase_file):
            raise ConfigError(
                f"the file with the passphrase of the private key, {self.passphrase_file}, cannot be read: {why}",
                next_step=f"write it (mode 0600), or leave out {self.named.passphrase}",
            )
        return ("--pinentry-mode", "loopback", "--passphrase-file", str(self.passphrase_file))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The gate for what python-gnupg raises outside a stream."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise self._why(error) from error

    def _why(self, error: Exception) -> PgkeepError:
        if not self.home.is_dir():
            return ConfigError(
                f"the GNUPGHOME {self.home} is not a directory",
                next_step=f"correct {self.named.home}, and import the keys there",
            )
        if shutil.which(self.binary) is None:
            return ConfigError(f"{self.binary} is not on PATH", next_step="install GnuPG 2.2 or newer")
        return Unavailable(f"gpg cannot be run: {error}", next_step=f"try it by hand: gpg --homedir {self.home} -k")


def _why_unreadable(file: Path) -> str:
    """What keeps gpg, which would only say that the passphrase is wrong, from finding one there; "" if nothing does."""
    try:
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            return os.strerror(errno.EISDIR)
        if not stat.S_ISREG(mode):
            return "No regular file, which can be read more than once"
        with file.open("rb") as opened:
            return "" if opened.read(1) else "It is empty"
    except OSError as error:
        return error.strerror or str(error)
