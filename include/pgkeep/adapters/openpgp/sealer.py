"""The Sealer: zstd inside one OpenPGP message, made and read by the machine's own GnuPG.

    seal    plain -> zstd -> gpg --encrypt --sign -> OpenPGP

By hand: `gpg --decrypt FILE | zstd --decompress`. Private keys stay with gpg-agent, which gpg starts on demand, one for
each GNUPGHOME, and which stays (`gpgconf --homedir HOME --kill gpg-agent` ends it).
"""

import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgkeep.errors import ConfigError
from pgkeep.model import KeyFingerprint
from pgkeep.ports import Audience, Envelope

from . import verdicts
from .compression import compressed
from .keys import SOON, KeyProblem, Keyring, ageing, exposed, faults
from .opener import OpenPgpOpener, closing, refuse
from .packets import Framing
from .trust import Trust

HOW = 'name it in [keys] of pgkeep.toml: signers = ["{}"]'


class OpenPgpSealer(OpenPgpOpener):
    """Seals with this node's key for the recipients; opens what this node or one of `signers` has sealed."""

    def __init__(
        self,
        *,
        gnupghome: Path,
        node: KeyFingerprint,
        recipients: Sequence[KeyFingerprint],
        signers: Sequence[KeyFingerprint] = (),
        passphrase_file: Path | None = None,
        binary: str = "gpg",
    ) -> None:
        trust = Trust(named=frozenset({node, *signers}), how=HOW)
        super().__init__(gnupghome=gnupghome, trust=trust, passphrase_file=passphrase_file, binary=binary)
        self._node = node
        self._recipients = tuple(recipients)

    @property
    def signer(self) -> KeyFingerprint:
        return self._node

    def readers(self, audience: Audience) -> frozenset[KeyFingerprint]:
        return frozenset(self._recipients) | ({self._node} if audience == "journal" else frozenset())

    def seal(self, plain: Iterable[bytes], *, audience: Audience) -> Iterator[bytes]:
        with closing(plain) as chunks:
            ring = self._programs.keys(with_secret=True)
            self._require_usable(ring, audience)
            exchange = self._programs.sealing(self._node, sorted(self.readers(audience)))
            with closing(compressed(chunks)) as packed, closing(exchange.through(packed)) as cipher:
                yield from cipher
            refuse(verdicts.why_not_sealed(exchange.said, node=self._node, ring=ring, agent=self._agent))

    def envelope(self, cipher: Iterable[bytes]) -> Envelope:
        framing = Framing()
        with closing(cipher) as chunks:
            for chunk in chunks:
                framing.feed(chunk)
        message = framing.message()
        ring = self._programs.keys(with_secret=False)
        owners = {key_id: ring.owner(key_id) for key_id in message.key_ids}
        passwords = {"a password"} if message.passwords else set[str]()
        return Envelope(
            recipients=frozenset(key.fingerprint for key in owners.values() if key),
            unknown=frozenset(key_id for key_id, key in owners.items() if key is None) | passwords,
            integrity_protected=message.integrity_protected,
        )

    def problems(self, now: datetime, *, soon: timedelta = SOON) -> tuple[KeyProblem, ...]:
        """What is wrong with the keys, or will be within `soon`; fatal ones first. Signs nothing with the node's key,
        as a trial, if all else is well. Raises ConfigError (no such GNUPGHOME, no gpg), Unavailable.
        """
        ring = self._programs.keys(with_secret=True)
        fatal = [*dict.fromkeys(self._faults(ring, "journal", now=now))] or [*self._trial(ring)]
        expiring = [
            *ageing(ring, self._node, role="node's own key", usage="s", now=now, soon=soon),
            *ageing(ring, self._node, role="node's own key (to read the journal)", usage="e", now=now, soon=soon),
        ]
        for fingerprint in self._recipients:
            expiring += ageing(ring, fingerprint, role="recipient", usage="e", now=now, soon=soon)
        return (*fatal, *expiring, *exposed(ring, self._recipients, node=self._node), *self._open_passphrase())

    # --- keys ------------------------------------------------------------------------------------------------------

    def _require_usable(self, ring: Keyring, audience: Audience) -> None:
        """Raises ConfigError with everything that is wrong: now, and not after an hour of dumping."""
        found = [*dict.fromkeys(self._faults(ring, audience, now=datetime.now(UTC)))]
        if found:
            raise ConfigError(
                "; ".join(problem.what for problem in found),
                next_step="; ".join(dict.fromkeys(problem.next_step for problem in found)),
            )
        said = self._programs.trial_signature(self._node)
        refuse(verdicts.why_no_signature(said, node=self._node, ring=ring, agent=self._agent))

    def _faults(self, ring: Keyring, audience: Audience, *, now: datetime) -> Iterator[KeyProblem]:
        if self._agent and not any(key.has_secret for key in ring.keys):
            yield KeyProblem(
                fingerprint=self._node,
                fatal=True,
                what=f"no private key is within reach in {self._home}",
                next_step=f"import this node's private key; if it is there, {self._agent}",
            )
            return
        yield from faults(ring, self._node, role="node's own key", usage="s", secret=True, now=now)
        if audience == "journal":
            yield from faults(ring, self._node, role="node's own key", usage="e", secret=True, now=now)
        for fingerprint in self._recipients:
            yield from faults(ring, fingerprint, role="recipient", usage="e", secret=False, now=now)

    def _trial(self, ring: Keyring) -> Iterator[KeyProblem]:
        said = self._programs.trial_signature(self._node)
        why = verdicts.why_no_signature(said, node=self._node, ring=ring, agent=self._agent)
        if why is not None:
            yield KeyProblem(fingerprint=self._node, fatal=True, what=why.what, next_step=why.next_step)

    def _open_passphrase(self) -> Iterator[KeyProblem]:
        file = self._programs.passphrase_file
        if file is not None and file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield KeyProblem(
                fingerprint=self._node,
                fatal=False,
                what=f"others may read the file with the passphrase, {file}",
                next_step=f"chmod 600 {file}",
            )
