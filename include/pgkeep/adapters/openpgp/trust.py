"""Whose signatures count."""

from dataclasses import dataclass

from pgkeep.model import KeyFingerprint

from .keys import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The keys named in the settings, or on the command line.

    `named`: None where nobody has named any. Then those count that the keyring itself calls its user's own (GnuPG's
    ultimate ownertrust, which a person gives and no import brings). `how`: how a further key is named, with a place
    for its fingerprint.
    """

    named: frozenset[KeyFingerprint] | None
    how: str

    def covers(self, fingerprint: str, ring: Keyring) -> bool:
        """Whether what that primary key has signed counts."""
        if self.named is not None:
            return fingerprint in self.named
        key = ring.get(KeyFingerprint(fingerprint))
        return key is not None and key.own

    def missing(self, ring: Keyring) -> list[KeyFingerprint]:
        """Named keys whose public half is not there."""
        return sorted(fingerprint for fingerprint in self.named or () if ring.get(fingerprint) is None)

    def to_trust(self, fingerprint: str) -> str:
        """What somebody does who knows that this key is a node's."""
        return self.how.format(fingerprint)
