"""What the stories ask of compression, encryption and signature."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from pgkeep.model import KeyFingerprint

Audience = Literal["backup", "journal"]
"""Who can read an object: `backup`: the recipients; `journal`: the recipients and this node's own key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An OpenPGP message from outside: the keys it is encrypted for, and whether a change would be noticed."""

    recipients: frozenset[KeyFingerprint]
    unknown: frozenset[str]
    integrity_protected: bool


class Complaint(Protocol):
    """Something that somebody should see to. `fatal`: no backup is made as long as it is so."""

    @property
    def fatal(self) -> bool: ...

    @property
    def what(self) -> str: ...

    @property
    def next_step(self) -> str: ...


class Opener(Protocol):
    """Reading what was sealed: all that a restore asks of it."""

    def open(self, cipher: Iterable[bytes]) -> Iterator[bytes]:
        """The plaintext. Yields *before* all is verified: check the ciphertext's digest first.

        Raises Corrupted at the latest at the end, unless a trusted node signed it; ConfigError: no private key here.
        """


class Sealer(Opener, Protocol):
    """Compression, encryption and signature, both ways."""

    @property
    def signer(self) -> KeyFingerprint:
        """This node's own key."""

    def readers(self, audience: Audience) -> frozenset[KeyFingerprint]:
        """The keys that are to be able to read objects for that audience."""

    def seal(self, plain: Iterable[bytes], *, audience: Audience) -> Iterator[bytes]:
        """zstd, then one OpenPGP message to exactly `readers(audience)`, signed by `signer`.

        Ends without an error only if gpg reported both signature and encryption as done. What `plain` raises comes
        out unchanged. Raises ConfigError (key missing, expired, not usable), Unavailable (gpg died).
        """

    def envelope(self, cipher: Iterable[bytes]) -> Envelope:
        """Reads a whole message without any private key. Raises Corrupted: no complete OpenPGP message."""

    def problems(self, now: datetime, *, soon: timedelta = ...) -> Sequence[Complaint]:
        """What is wrong with the keys, or will be within `soon`; fatal ones first. Raises ConfigError, Unavailable."""
