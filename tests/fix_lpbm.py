"""LPBM's files, made by OpenSSL's programs: nothing of pgkeep has a hand in them."""

import hashlib
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD = "correct hörse battery"


def encrypted(plain: bytes, *, password: str = PASSWORD) -> bytes:
    """As LPBM wrote it: salt, initialisation vector, AES-256-CBC; the key by scrypt with Node's defaults."""
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    options = {"hexpass": password.encode().hex(), "hexsalt": salt.hex(), "n": 16384, "r": 8, "p": 1}
    chosen = [word for key, value in options.items() for word in ("-kdfopt", f"{key}:{value}")]
    said = subprocess.run(["openssl", "kdf", "-keylen", "32", *chosen, "SCRYPT"], check=True, capture_output=True)
    key = said.stdout.decode().strip().replace(":", "")
    program = ["openssl", "enc", "-aes-256-cbc", "-K", key, "-iv", iv.hex()]
    return salt + iv + subprocess.run(program, input=plain, check=True, capture_output=True).stdout


@dataclass
class Legacy:
    """A directory with LPBM's journal and its files, one for each hour."""

    folder: Path
    password: str = PASSWORD
    lines: list[str] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.folder / "journal.txt"

    def add(self, kind: str, plain: bytes, *, by_cid: bool = False) -> Path:
        """Writes a file and its line. Its CID is made up, but for `cid` of `add_object`."""
        cid = f"Qm{hashlib.sha256(str(len(self.lines)).encode()).hexdigest()[:44]}"
        return self._write(kind, encrypted(plain, password=self.password), cid=cid, by_cid=by_cid)

    def _write(self, kind: str, cipher: bytes, *, cid: str, by_cid: bool) -> Path:
        name = f"2023-05-{1 + len(self.lines) // 24:02}T{len(self.lines) % 24:02}:00:00.000+00:00-{kind}.sql.enc"
        path = self.folder / (cid if by_cid else name)
        path.write_bytes(cipher)
        self.lines.append(f"{cid} {name}")
        self._save(self.lines)
        return path

    def _save(self, lines: Sequence[str]) -> None:
        self.journal.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def rename(self, cids: Sequence[str]) -> None:
        """The files got these CIDs in a cluster."""
        self.lines = [f"{cid} {line.split()[1]}" for cid, line in zip(cids, self.lines, strict=True)]
        self._save(self.lines)
