"""The section [keys]: who can read, and who signs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgkeep.model import KeyFingerprint
from pgkeep.settings import values
from pgkeep.settings.table import setting, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who can read, and who signs."""

    gnupghome: Path = setting("directory of the GnuPG keyring", values.path)
    node: KeyFingerprint = setting("fingerprint of this node's own key", values.fingerprint)
    recipients: tuple[KeyFingerprint, ...] = setting("fingerprints of who can read the backups", values.fingerprints)
    signers: tuple[KeyFingerprint, ...] = setting(
        "fingerprints of further nodes whose signatures count (a former key of this node)",
        values.fingerprints,
        default=(),
    )
    passphrase_file: Path | None = setting(
        "file with the passphrase of the private keys; without it gpg-agent asks", values.path, default=None
    )


def keys(own: Mapping[str, Any], problems: list[str]) -> Keys | None:
    """The section [keys], or None with what is wrong added to `problems`."""
    found = table(Keys, own, where="keys", problems=problems)
    if found is not None:
        problems += _key_problems(found)
    return found


def _key_problems(keys: Keys) -> Iterator[str]:
    if not keys.recipients:
        yield "keys.recipients: there are none; write the fingerprint of at least one key that can read the backups"
    for fingerprint, times in Counter(keys.recipients).items():
        if times > 1:
            yield f"keys.recipients: {fingerprint} stands {times} times; write it once"
    if keys.node in keys.recipients:
        yield "keys.node: is also a recipient; a node never reads its backups, give it a key of its own"
