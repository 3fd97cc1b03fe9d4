"""Sealing without secrecy."""

import hashlib
import itertools
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgkeep.errors import ConfigError, Corrupted
from pgkeep.model import KeyFingerprint
from pgkeep.ports import Audience, Complaint, Envelope

END = b"-----END MEMORY MESSAGE-----\n"
NODE = KeyFingerprint("A" * 40)
RECIPIENTS = (KeyFingerprint("B" * 40), KeyFingerprint("C" * 40))


@dataclass
class MemorySealer:
    """Seals by writing down who may read and who signed, with a checksum at the end. It hides nothing: for tests only.

    `holds`: the keys whose private halves are here. `expired`: keys that seal no more. `complaints`: about the keys.
    """

    signer: KeyFingerprint = NODE
    recipients: tuple[KeyFingerprint, ...] = RECIPIENTS
    holds: frozenset[KeyFingerprint] = frozenset({NODE, RECIPIENTS[0]})
    trusted: frozenset[KeyFingerprint] = frozenset({NODE})
    expired: frozenset[KeyFingerprint] = frozenset()
    complaints: Sequence[Complaint] = ()

    def readers(self, audience: Audience) -> frozenset[KeyFingerprint]:
        return frozenset(self.recipients) | ({self.signer} if audience == "journal" else frozenset())

    def seal(self, plain: Iterable[bytes], *, audience: Audience) -> Iterator[bytes]:
        if spent := self.expired & {*self.readers(audience), self.signer}:
            raise ConfigError(f"key {min(spent)} has expired", next_step="extend it")
        header = {"for": sorted(self.readers(audience)), "by": self.signer, "nonce": secrets.token_hex(8)}
        checksum = hashlib.sha256()
        for chunk in itertools.chain([json.dumps(header).encode() + b"\n"], plain):
            checksum.update(chunk)
            yield chunk
        yield checksum.digest() + END

    def envelope(self, cipher: Iterable[bytes]) -> Envelope:
        header, _ = self._parse(cipher)
        recipients = frozenset(map(KeyFingerprint, header["for"]))
        return Envelope(recipients=recipients, unknown=frozenset(), integrity_protected=True)

    def open(self, cipher: Iterable[bytes]) -> Iterator[bytes]:
        header, content = self._parse(cipher)
        if not self.holds & set(header["for"]):
            raise ConfigError("no private key for this message here", next_step="import one")
        yield content
        if header["by"] not in self.trusted:
            raise Corrupted(f"signed by {header['by']}, whom nobody trusts", next_step="find out who that is")

    def problems(self, now: datetime, *, soon: timedelta = timedelta(0)) -> Sequence[Complaint]:
        return self.complaints

    def _parse(self, cipher: Iterable[bytes]) -> tuple[dict[str, str], bytes]:
        message = b"".join(cipher)
        signed, checksum = message[: -len(END) - 32], message[-len(END) - 32 : -len(END)]
        if not message.endswith(END) or hashlib.sha256(signed).digest() != checksum:
            raise Corrupted("not a complete message", next_step="read it from another peer")
        header, _, content = signed.partition(b"\n")
        try:
            return json.loads(header), content
        except ValueError as error:
            raise Corrupted("not a message", next_step="read it from another peer") from error
