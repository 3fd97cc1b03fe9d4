"""The texts that records are made of, told apart for the type checker."""

import re
from datetime import UTC, datetime
from typing import NewType

Cid = NewType("Cid", str)
"""IPFS content identifier (CIDv1, base32) of an object's ciphertext."""
Digest = NewType("Digest", str)
"""SHA-256, 64 lower-case hexadecimal digits."""
KeyFingerprint = NewType("KeyFingerprint", str)
"""OpenPGP fingerprint of a primary key, upper-case hexadecimal digits."""
PeerId = NewType("PeerId", str)
"""Identity of a Kubo daemon in the swarm: two cluster peers on one Kubo are one copy."""
Instant = NewType("Instant", str)
"""A moment in UTC, ISO 8601 with microseconds and a trailing Z: text order is time order."""


def is_cid(text: str) -> bool:
    """Whether that has the form of a content identifier, of version 0 or 1."""
    return re.fullmatch(r"Qm[0-9A-Za-z]{44}|b[0-9a-z]{40,120}", text) is not None


def now() -> Instant:
    """This moment, by this machine's clock."""
    return instant(datetime.now(UTC))


def instant(moment: datetime) -> Instant:
    """An aware datetime as the text that records carry. Raises ValueError: in UTC it is beyond the calendar."""
    try:
        return Instant(moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    except OverflowError as error:
        raise ValueError(f"{moment.isoformat()} is beyond the calendar") from error
