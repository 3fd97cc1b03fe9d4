"""Throw-away GNUPGHOMEs: a writing node, a recipient's laptop, a stranger. Keys are Ed25519, made in a moment."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgkeep.adapters.openpgp import OpenPgpSealer
from pgkeep.model import KeyFingerprint

STATUS = b"[GNUPG:] "


class Home:
    """A GNUPGHOME of its own. `gpg` runs the plain command line tool on it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True)
        self.path = path

    def gpg(self, *arguments: str, data: bytes = b"", at: datetime | None = None) -> bytes:
        clock = ["--faked-system-time", f"{at:%Y%m%dT%H%M%S}"] if at else []
        command = ["gpg", "--homedir", str(self.path), "--batch", "--quiet", "--trust-model", "always", *clock]
        return subprocess.run([*command, *arguments], input=data, capture_output=True, check=True).stdout

    def make_key(
        self, name: str, *, passphrase: str = "", days: int = 365, at: datetime | None = None
    ) -> KeyFingerprint:
        """A primary key that signs and a subkey that encrypts."""
        secret = ["--pinentry-mode", "loopback", "--passphrase", passphrase]
        self.gpg(*secret, "--quick-gen-key", f"{name}@test.invalid", "ed25519", "sign", f"{days}d", at=at)
        fingerprint = self.fingerprints(name)[0]
        self.gpg(*secret, "--quick-add-key", fingerprint, "cv25519", "encr", f"{days}d", at=at)
        return fingerprint

    def fingerprints(self, name: str) -> list[KeyFingerprint]:
        """Of the primary key, then of its subkeys."""
        rows = self.gpg("--with-colons", "--fingerprint", "--fingerprint", "-k", f"{name}@test.invalid").decode()
        return [KeyFingerprint(row.split(":")[9]) for row in rows.splitlines() if row.startswith("fpr:")]

    def receive(self, other: "Home", *names: str, secret: bool = False) -> None:
        addresses = [f"{name}@test.invalid" for name in names]
        export = "--export-secret-keys" if secret else "--export"
        self.gpg("--import", data=other.gpg("--pinentry-mode", "loopback", "--passphrase", "", export, *addresses))

    def revoke(self, name: str) -> None:
        """Applies the revocation certificate that gpg wrote when it made the key."""
        fingerprint = self.fingerprints(name)[0]
        text = (self.path / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        self.gpg("--import", data=text.replace(":-----BEGIN", "-----BEGIN").encode())

    def end_agent(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.path, "--kill", "gpg-agent"], check=False, capture_output=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """`writer`: the node's private key, and public keys of all. `reader`: the first recipient's private key."""

    writer: Home
    reader: Home
    stranger: Home
    node: KeyFingerprint
    recipients: tuple[KeyFingerprint, KeyFingerprint]
    foreign: KeyFingerprint

    def sealer(
        self,
        home: Home,
        *,
        node: KeyFingerprint | None = None,
        recipients: Sequence[KeyFingerprint] | None = None,
        passphrase_file: Path | None = None,
    ) -> OpenPgpSealer:
        return OpenPgpSealer(
            gnupghome=home.path,
            node=node or self.node,
            recipients=self.recipients if recipients is None else recipients,
            passphrase_file=passphrase_file,
        )


@contextmanager
def homes() -> Iterator["Homes"]:
    """A place for GNUPGHOMEs, short enough for their agents' sockets; nothing runs or lies there afterwards."""
    place = Homes(Path(tempfile.mkdtemp(prefix="pgk-")))
    try:
        yield place
    finally:
        for home in place.made:
            home.end_agent()
        shutil.rmtree(place.path, ignore_errors=True)


class Homes:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: list[Home] = []

    def new(self, name: str) -> Home:
        self.made.append(Home(self.path / name))
        return self.made[-1]

    def cast(self) -> Cast:
        writer, reader, stranger = (self.new(name) for name in ("writer", "reader", "stranger"))
        cast = Cast(
            writer=writer,
            reader=reader,
            stranger=stranger,
            node=writer.make_key("node"),
            recipients=(reader.make_key("alice"), stranger.make_key("bob")),
            foreign=stranger.make_key("mallory"),
        )
        for home in (writer, stranger):
            home.receive(reader, "alice")
        for home in (reader, stranger):
            home.receive(writer, "node")
        for home in (writer, reader):
            home.receive(stranger, "bob", "mallory")
        return cast


def ago(*, days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)
