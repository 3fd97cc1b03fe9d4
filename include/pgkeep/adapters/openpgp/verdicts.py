"""What a run of gpg amounts to: nothing, or the error to raise."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pgkeep.errors import LISTED, ConfigError, Corrupted, PgkeepError, Unavailable
from pgkeep.model import KeyFingerprint

from .keys import Keyring
from .programs import SETTINGS
from .said import Said, Signature
from .trust import Trust

log = logging.getLogger(__name__)

OTHER_COPY = f"read it from another peer, or choose another entry: {LISTED}"


def why_no_signature(said: Said, *, node: KeyFingerprint, ring: Keyring, agent: str) -> PgkeepError | None:
    """Whether that run signed with the node's key. `agent`: what may keep gpg-agent from starting."""
    made = [ring.owner(arguments[5]) for arguments in said.all("SIG_CREATED") if len(arguments) > 5]
    if [key.fingerprint for key in made if key] == [node] and not said.failures:
        return None
    return why_no_private_key(said, agent=agent, key=f"this node's key {node}") or Unavailable(
        f"gpg did not sign with this node's key {node} ({said.own_words})",
        next_step=f"try it by hand: echo | gpg --local-user {node} --sign",
    )


def why_not_sealed(said: Said, *, node: KeyFingerprint, ring: Keyring, agent: str) -> PgkeepError | None:
    """Whether that run encrypted all of its input and signed it."""
    if said.killed:
        return _ended(said)
    refused = sorted({arguments[-1] for arguments in said.all("INV_RECP", "INV_SGNR") if arguments})
    if refused:
        return ConfigError(
            f"gpg refuses to use the key {', '.join(refused)} ({said.own_words})",
            next_step=f"look at it: gpg --list-keys {refused[0]}",
        )
    if unsigned := why_no_signature(said, node=node, ring=ring, agent=agent):
        return unsigned
    if said.returncode or not said.once("END_ENCRYPTION"):
        return _ended(said)
    return None


def why_not_decrypted(
    said: Said,
    *,
    key_ids: Iterable[str],
    ring: Keyring,
    home: Path,
    agent: str,
    passphrase: str = SETTINGS.passphrase,
) -> PgkeepError | None:
    """Whether that run decrypted a message to its end, and nothing in it had been changed."""
    if said.killed or not said.has("ENC_TO", "NODATA"):
        return _ended(said)
    if said.once("DECRYPTION_OKAY"):
        return None
    if said.has("DECRYPTION_KEY", "DECRYPTION_INFO"):
        return _damaged("it was changed or cut short", said) if said.has("DECRYPTION_FAILED") else _ended(said)
    if locked := why_no_private_key(
        said, agent=agent, key="a private key that opens this message", passphrase=passphrase
    ):
        return locked
    if said.has("NO_SECKEY"):
        return _no_private_key(key_ids, ring, home=home, agent=agent)
    return _damaged("it cannot be decrypted", said)


def why_not_trusted(said: Said, *, trust: Trust, ring: Keyring, home: Path) -> PgkeepError | None:
    """Whether what that run decrypted carries exactly one signature, good, and by a key that counts."""
    signatures = said.signatures
    if len(signatures) != 1 or not said.once("PLAINTEXT"):
        return _damaged(f"it carries {len(signatures)} signatures where one is due", said)
    if "NO_PUBKEY" in signatures[0].words:
        return _unchecked(signatures[0], trust, ring, home)
    if why := _why_bad(signatures[0], ring):
        return _damaged(why, said)
    if not trust.covers(signatures[0].primary, ring):
        return _stranger(signatures[0].primary, trust)
    return _damaged("gpg was not content with it", said) if said.returncode else None


def why_no_private_key(
    said: Said, *, agent: str, key: str, passphrase: str = SETTINGS.passphrase
) -> PgkeepError | None:
    """A private key is there, or may be, but could not be used. `passphrase`: how the file with it is named."""
    if any(failure.wrong_passphrase for failure in said.failures):
        return ConfigError(f"the passphrase of {key} is wrong", next_step=f"correct the file that {passphrase} names")
    if any(failure.nobody_to_ask for failure in said.failures):
        return ConfigError(
            f"{key} has a passphrase, and nobody could be asked for it",
            next_step=f"name a file with the passphrase ({passphrase}), or unlock the key in gpg-agent",
        )
    if agent and any(failure.agent_is_gone for failure in said.failures):
        return ConfigError(f"gpg-agent does not start, so {key} cannot be used", next_step=agent)
    if any(failure.agent_is_gone for failure in said.failures):
        return Unavailable(
            f"gpg-agent does not answer, so {key} cannot be used ({said.own_words})",
            next_step="run it again; if it stays so: gpgconf --kill gpg-agent",
        )
    return None


def _why_bad(signature: Signature, ring: Keyring) -> str | None:
    words = signature.words
    if "VALIDSIG" not in words or words & {"BADSIG", "ERRSIG"}:
        return "its signature is not good"
    if "REVKEYSIG" in words:
        return f"the key that signed it, {signature.primary}, is revoked"
    if "EXPKEYSIG" in words:
        return _why_too_late(signature, ring)
    return None if "GOODSIG" in words else "its signature has expired"


def _why_too_late(signature: Signature, ring: Keyring) -> str | None:
    """Backups outlive keys: a signature made while the key was valid stays good."""
    key = ring.owner(signature.key_id)
    ends = [part.expires for part in key.parts[:1] if part.expires] if key else []
    if any(datetime.fromtimestamp(signature.made, UTC) > end for end in ends):
        return f"the key that signed it, {signature.primary}, had expired before"
    log.warning("signed by %s, whose key has expired since", signature.primary)
    return None


def _unchecked(signature: Signature, trust: Trust, ring: Keyring, home: Path) -> PgkeepError:
    """Its public key is not here. What it says of itself is only good for finding that key."""
    missing = trust.missing(ring)
    if missing or trust.named is None:
        return ConfigError(
            f"the signature by {signature.claimed} cannot be checked: the public key of "
            f"{', '.join(missing) or signature.claimed} is not in {home}",
            next_step=f"gpg --homedir {home} --import NODE-PUBLIC-KEY.asc, if that fingerprint is the node's that you "
            f"keep beside your own key; then {trust.to_trust(signature.claimed)}",
        )
    return _stranger(signature.claimed, trust)


def _stranger(who: str, trust: Trust) -> PgkeepError:
    if trust.named is None:
        return ConfigError(
            f"it is signed by {who}, and nobody has said that this key is a node's",
            next_step="compare that fingerprint with the one you keep beside your own key; if it is the same, "
            + trust.to_trust(who),
        )
    return Corrupted(
        f"it is signed by a stranger, {who}, not by {' or '.join(sorted(trust.named))} (if {who} is a node of yours, "
        f"{trust.to_trust(who)})",
        next_step="if it is not, find out who wrote there",
    )


def _no_private_key(key_ids: Iterable[str], ring: Keyring, *, home: Path, agent: str) -> ConfigError:
    owners = {key_id: ring.owner(key_id) for key_id in key_ids}
    names = ", ".join(f"{key_id} (of {key.fingerprint})" if key else key_id for key_id, key in owners.items())
    return ConfigError(
        f"no private key in {home} opens this message; it is encrypted for {names}" + (f"; {agent}" if agent else ""),
        next_step=f"gpg --homedir {home} --import PRIVATE-KEY.asc, of one of these; if the node has lost its own: "
        "docs/disaster.md, 'A new key for the node'",
    )


def _damaged(why: str, said: Said) -> Corrupted:
    return Corrupted(f"this message cannot be trusted: {why} (gpg: {said.own_words})", next_step=OTHER_COPY)


def _ended(said: Said) -> Unavailable:
    return Unavailable(
        f"gpg ended before it was done ({said.own_words})",
        next_step="run it again; if it stays so, look for what ends gpg (memory, a signal, its version)",
    )
