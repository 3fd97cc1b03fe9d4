"""Which keys a GNUPGHOME has, and what is wrong with them. Pure: records in, sentences out.

Formats: GnuPG's doc/DETAILS, "Format of the colon listings".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pgkeep.model import KeyFingerprint

Usage = Literal["e", "s"]
"""What a key is for: `e` encryption, `s` signatures."""
ACTION: Mapping[Usage, str] = {"e": "encrypt for it", "s": "sign with it"}
UNUSABLE = {"r": "is revoked", "i": "is invalid", "d": "is disabled"}
SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A primary key or subkey as such. `secret`: its private half can be used from here."""

    key_id: str
    fingerprint: str
    validity: str
    usage: frozenset[str]
    created: datetime | None
    expires: datetime | None
    secret: bool

    def lives(self, now: datetime) -> bool:
        return self.validity not in "reid" and (self.expires is None or self.expires > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A primary key with its subkeys; `parts` begins with the primary itself. `own`: its ownertrust is ultimate."""

    fingerprint: KeyFingerprint
    disabled: bool
    own: bool
    parts: tuple[Part, ...]

    @property
    def primary(self) -> Part:
        return self.parts[0]

    @property
    def has_secret(self) -> bool:
        return any(part.secret for part in self.parts)

    def usable(self, usage: Usage, now: datetime) -> tuple[Part, ...]:
        """The parts that serve for `usage` at that moment."""
        if self.disabled or not self.primary.lives(now):
            return ()
        return tuple(part for part in self.parts if usage in part.usage and part.lives(now))

    def expires(self, usage: Usage, now: datetime) -> datetime | None:
        """When the last usable part stops serving; None: never."""
        ends = [part.expires for part in self.usable(usage, now)]
        last = None if None in ends else max(end for end in ends if end is not None)
        return min((end for end in (last, self.primary.expires) if end is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProblem:
    """Something about one key that somebody should see to. `fatal`: no backup is made as long as it is so."""

    fingerprint: KeyFingerprint
    fatal: bool
    what: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Keyring:
    """All public keys of a GNUPGHOME."""

    keys: tuple[Key, ...]

    def get(self, fingerprint: KeyFingerprint) -> Key | None:
        return next((key for key in self.keys if key.fingerprint == fingerprint), None)

    def owner(self, key_id: str) -> Key | None:
        """Whose (sub)key that is: key id of 16 digits, or fingerprint. None: nobody's, or not one owner's."""
        owners = [key for key in self.keys if any(key_id in {p.key_id, p.fingerprint} for p in key.parts)]
        return owners[0] if len(owners) == 1 else None


def keyring(listing: Iterable[Mapping[str, Any]]) -> Keyring:
    """The records behind python-gnupg's `list_keys()` (with the option --with-secret: `secret` is true to the fact)."""
    return Keyring(tuple(_key(row) for row in listing if row.get("fingerprint")))


def faults(
    ring: Keyring, fingerprint: KeyFingerprint, *, role: str, usage: Usage, secret: bool, now: datetime
) -> Iterator[KeyProblem]:
    """Why that key does not serve: at most one reason, the first. `role` names it in the sentence."""
    key = ring.get(fingerprint)
    why = _why_missing(ring, fingerprint) if key is None else _why_unusable(key, usage, secret=secret, now=now)
    if why:
        what, next_step = why
        yield KeyProblem(
            fingerprint=fingerprint, fatal=True, what=f"the {role} {fingerprint} {what}", next_step=next_step
        )


def ageing(
    ring: Keyring, fingerprint: KeyFingerprint, *, role: str, usage: Usage, now: datetime, soon: timedelta
) -> Iterator[KeyProblem]:
    """A usable key that expires within `soon`."""
    key = ring.get(fingerprint)
    if key is None or not key.usable(usage, now):
        return
    end = key.expires(usage, now)
    if end is not None and end <= now + soon:
        yield KeyProblem(
            fingerprint=fingerprint,
            fatal=False,
            what=f"the {role} {fingerprint} expires on {end:%Y-%m-%d}, {(end - now).days} days from now",
            next_step=_extend(fingerprint),
        )


def exposed(ring: Keyring, recipients: Sequence[KeyFingerprint], *, node: KeyFingerprint) -> Iterator[KeyProblem]:
    """Recipients whose private keys lie here: whoever breaks into this machine then reads its backups."""
    for key in filter(None, map(ring.get, recipients)):
        if key.has_secret and key.fingerprint != node:
            yield KeyProblem(
                fingerprint=key.fingerprint,
                fatal=False,
                what=f"the private key of the recipient {key.fingerprint} is on this machine",
                next_step="keep it only where restores and drills run, then here: "
                f"gpg --delete-secret-keys {key.fingerprint}",
            )


# --- reasons -----------------------------------------------------------------------------------------------------


def _why_missing(ring: Keyring, fingerprint: KeyFingerprint) -> tuple[str, str]:
    owner = ring.owner(fingerprint)
    if owner is not None:
        return f"is a subkey of {owner.fingerprint}", f"write {owner.fingerprint} in [keys] of pgkeep.toml"
    return "is not in the GNUPGHOME", "gpg --import THAT-KEY.asc, or correct [keys] in pgkeep.toml"


def _why_unusable(key: Key, usage: Usage, *, secret: bool, now: datetime) -> tuple[str, str] | None:
    usable = key.usable(usage, now)
    if not usable:
        return _why_dead(key, usage, now)
    if secret and not any(part.secret for part in usable):
        return (
            f"has no private key here with which to {'decrypt' if usage == 'e' else 'sign'}",
            "gpg --import ITS-PRIVATE-KEY.asc, or name another key in [keys] of pgkeep.toml",
        )
    return None


def _why_dead(key: Key, usage: Usage, now: datetime) -> tuple[str, str]:
    primary = key.primary
    if key.disabled:
        return "is disabled", f"gpg --edit-key {key.fingerprint} enable save"
    if primary.created is not None and primary.created > now:
        return f"was made on {primary.created:%Y-%m-%d}, which is still to come", "set this machine's clock right (NTP)"
    if primary.validity in UNUSABLE:
        return UNUSABLE[primary.validity], "make a new key, import it, and name it in [keys] of pgkeep.toml"
    if not primary.lives(now):
        return f"expired{_on(primary.expires)}", _extend(key.fingerprint)
    parts = [part for part in key.parts if usage in part.usage]
    expired = [part.expires for part in parts if part.validity not in UNUSABLE]
    if expired:
        return (
            f"cannot be used: its last key to {ACTION[usage]} expired{_on(max(filter(None, expired), default=None))}",
            (_extend(key.fingerprint)),
        )
    return (
        f"cannot be used: it has no key to {ACTION[usage]}" + (" that is not revoked" if parts else ""),
        f"gpg --quick-add-key {key.fingerprint} - {'encr' if usage == 'e' else 'sign'}, or name another key",
    )


def _on(moment: datetime | None) -> str:
    return f" on {moment:%Y-%m-%d}" if moment else ""


def _extend(fingerprint: str) -> str:
    return f"gpg --quick-set-expire {fingerprint} 2y (and again with '*' for its subkeys), then import it here"


# --- python-gnupg's listing --------------------------------------------------------------------------------------


def _key(row: Mapping[str, Any]) -> Key:
    primary = _part(row, fingerprint=row["fingerprint"])
    infos = row.get("subkey_info", {})
    subkeys = (_part(infos[key_id], fingerprint=fpr) for key_id, _, fpr, _ in row["subkeys"])
    return Key(
        fingerprint=KeyFingerprint(row["fingerprint"]),
        disabled="D" in row["cap"],
        own=row.get("ownertrust") == "u",
        parts=(primary, *subkeys),
    )


def _part(row: Mapping[str, Any], *, fingerprint: str) -> Part:
    return Part(
        key_id=row["keyid"],
        fingerprint=fingerprint,
        validity=row["trust"][:1] or "-",
        usage=frozenset(letter for letter in row["cap"] if letter.islower()),
        created=_moment(row.get("date", "")),
        expires=_moment(row["expires"]),
        secret=row.get("token", "") not in {"", "#"},
    )


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
