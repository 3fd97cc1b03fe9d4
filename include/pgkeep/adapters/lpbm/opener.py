"""LPBM's encryption, backwards: 16 bytes of salt, 16 of initialisation vector, then AES-256-CBC with PKCS#7 padding.

The key is scrypt(password, salt) with Node's defaults. Nothing in a file says whether it is whole, or whether the
password was the right one, but for the padding at its very end, and that what comes out must be an archive of pg_dump,
or SQL. So the beginning is held back until it has been looked at: of a small file of SQL, all of it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgkeep.ancestry import ARCHIVE
from pgkeep.errors import ConfigError, Corrupted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext
    from cryptography.hazmat.primitives.padding import PaddingContext

SALT, IV, BLOCK = 16, 16, 16
KEY = 32
HEAD = SALT + IV
COST, BLOCK_SIZE, PARALLEL = 16384, 8, 1
ROOM = 64 << 20
"""Bytes that scrypt may use; it needs 16 MiB."""
HELD_BACK = 1 << 16
"""Bytes of plaintext that are looked at before any is given out: so many random ones do hold a NUL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyOpener:
    """Opens LPBM's files with one password."""

    password: bytes = field(repr=False)

    def open(self, cipher: Iterable[bytes], *, name: str) -> Iterator[bytes]:
        """The plaintext, in bounded memory. What `cipher` raises comes out unchanged, and it is closed in every case.

        Raises Corrupted (no file of LPBM, a wrong password, damage, as far as any of it can be told), ConfigError: the
        extra `lpbm` is not installed.
        """
        with _closed(cipher):
            head, body = _split(iter(cipher))
            if len(head) < HEAD:
                raise too_short(name, len(head))
            key = hashlib.scrypt(
                self.password, salt=head[:SALT], n=COST, r=BLOCK_SIZE, p=PARALLEL, dklen=KEY, maxmem=ROOM
            )
            yield from _looked_at(_decrypted(body, key=key, iv=head[SALT:], name=name), name)


def require_size(size: int, *, name: str) -> None:
    """Raises Corrupted: a file of LPBM cannot have that many bytes."""
    if size < HEAD + BLOCK:
        raise too_short(name, size)
    if size % BLOCK:
        raise _ragged(name, size)


def too_short(name: str, size: int) -> Corrupted:
    """A file that ends before its first block."""
    return Corrupted(
        f"{name} has {size} bytes; a file of LPBM has at least {HEAD + BLOCK}: salt, initialisation vector, one block",
        next_step="look for another copy of it",
    )


def _ragged(name: str, size: int) -> Corrupted:
    return Corrupted(
        f"{name} has {size} bytes, which is no multiple of {BLOCK}: it was cut off, or is no file of LPBM",
        next_step="look for another copy of it",
    )


def _decrypted(body: Iterable[bytes], *, key: bytes, iv: bytes, name: str) -> Iterator[bytes]:
    decryptor, unpadder = _machinery(key, iv)
    size = HEAD
    for chunk in body:
        size += len(chunk)
        yield unpadder.update(decryptor.update(chunk))
    require_size(size, name=name)
    try:
        yield unpadder.update(decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        raise _wrong(name, "its end is no padding") from None


def _looked_at(plain: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same, but nothing of it before its beginning is known to be an archive's, or enough of it to be text."""
    held = b""
    for chunk in plain:
        if (held + chunk).startswith(ARCHIVE):
            yield held + chunk
            yield from plain
            return
        if b"\0" in chunk:
            raise _wrong(name, "what comes out is neither an archive of pg_dump nor SQL")
        held += chunk
        if len(held) >= HELD_BACK:
            yield held
            held = b""
            break
    for chunk in plain:
        if b"\0" in chunk:
            raise _wrong(name, "what comes out is neither an archive of pg_dump nor SQL")
        yield chunk
    if held:
        yield held


def _wrong(name: str, why: str) -> Corrupted:
    return Corrupted(
        f"{name} cannot be decrypted ({why}): wrong password, or the file is damaged",
        next_step="try the password on another file (pgkeep lpbm decrypt); if it fits there, look for another copy of "
        "this one",
    )


def _split(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Salt and initialisation vector, and what follows them."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= HEAD:
            break
    return head[:HEAD], _after(head[HEAD:], chunks)


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


@contextmanager
def _closed(chunks: Iterable[bytes]) -> Iterator[None]:
    """Who reads the file learns that nobody wants the rest, even while a traceback still holds on to it."""
    try:
        yield
    finally:
        if callable(close := getattr(chunks, "close", None)):
            close()


def _machinery(key: bytes, iv: bytes) -> "tuple[CipherContext, PaddingContext]":
    """Imported here: who has nothing of LPBM needs no cryptography. Raises ConfigError."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        from cryptography.hazmat.primitives.padding import PKCS7
    except ImportError as error:
        raise ConfigError(
            "LPBM's files are decrypted by the Python package cryptography, which is not installed",
            next_step="pip install pgkeep[lpbm]",
        ) from error
    # CBC authenticates nothing. It is what these files were written with, and nothing is written with it here.
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    return cipher.decryptor(), PKCS7(BLOCK * 8).unpadder()
