"""The Opener: what a recipient needs, who has a private key and nothing else.

open    OpenPGP -> its frame -> gpg --decrypt -> signature -> zstd -> plain
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pgkeep.errors import Corrupted, PgkeepError

from . import verdicts
from .compression import Decompression
from .packets import Framing
from .programs import SETTINGS, Named, Programs
from .said import Said
from .trust import Trust


class OpenPgpOpener:
    """Opens what somebody has sealed whom `trust` covers.

    `passphrase_file` holds the passphrase of the private keys that are used here; without it gpg-agent asks with
    whatever pinentry the user has. `named`: by what words, for next steps. Nothing is read before the first call.
    """

    def __init__(
        self,
        *,
        gnupghome: Path,
        trust: Trust,
        passphrase_file: Path | None = None,
        binary: str = "gpg",
        named: Named = SETTINGS,
    ) -> None:
        self._home = gnupghome
        self._trust = trust
        self._programs = Programs(home=gnupghome, binary=binary, passphrase_file=passphrase_file, named=named)

    def open(self, cipher: Iterable[bytes]) -> Iterator[bytes]:
        framing, unpacking = Framing(), Decompression()
        exchange = self._programs.opening(unpacking.content)
        with (
            closing(cipher) as chunks,
            closing(_watched(chunks, framing)) as message,
            closing(exchange.through(message, until=_hopeless)) as plain,
        ):
            yield from plain
        self._require_trusted(exchange.said, framing)
        framing.message()
        unpacking.finish()

    @property
    def _agent(self) -> str:
        return self._programs.about_the_agent()

    def _require_trusted(self, said: Said, framing: Framing) -> None:
        ring = self._programs.keys(with_secret=False)
        refuse(
            verdicts.why_not_decrypted(
                said,
                key_ids=framing.key_ids,
                ring=ring,
                home=self._home,
                agent=self._agent,
                passphrase=self._programs.named.passphrase,
            )
        )
        refuse(verdicts.why_not_trusted(said, trust=self._trust, ring=ring, home=self._home))


def _hopeless(said: Said) -> bool:
    """No private key here opens it: the rest need not be read."""
    return said.has("DECRYPTION_FAILED")


def _watched(cipher: Iterator[bytes], framing: Framing) -> Iterator[bytes]:
    """The message unchanged; Corrupted where it is not one, as soon as that shows."""
    for chunk in cipher:
        framing.feed(chunk)
        if framing.passwords:
            raise Corrupted(
                "this message can be opened with a password: pgkeep did not write it",
                next_step="find out who wrote it there",
            )
        yield chunk
    framing.message()


@contextmanager
def closing(stream: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """Lets go of a generator on the way out, whatever happened."""
    chunks = iter(stream)
    try:
        yield chunks
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def refuse(error: PgkeepError | None) -> None:
    """Raises what a verdict has found, if anything."""
    if error is not None:
        raise error
