"""LPBM's encryption, backwards: every whole file comes out as it was, and what is not whole is said where it can be."""

import hashlib
import itertools
import secrets
import sys
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_lpbm import PASSWORD, encrypted
from pgkeep.adapters.lpbm import LegacyOpener
from pgkeep.ancestry import ARCHIVE
from pgkeep.errors import ConfigError, Corrupted, Unavailable


def cipher_of(plain: bytes, *, password: str = PASSWORD) -> bytes:
    """The same format by other means than the adapter's: padding by hand."""
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=16384, r=8, p=1, dklen=32)
    padding = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return salt + iv + encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()


def opened(*chunks: bytes, password: str = PASSWORD) -> bytes:
    return b"".join(LegacyOpener(password=password.encode()).open(iter(chunks), name="a file"))


@settings(max_examples=25)
@given(st.binary(max_size=200).map(lambda it: it.replace(b"\0", b"x")), st.lists(st.integers(0, 300), max_size=8))
def test_chunks_may_end_anywhere(plain: bytes, ends: list[int]) -> None:
    cipher = cipher_of(plain)
    bounds = [0, *sorted(min(end, len(cipher)) for end in ends), len(cipher)]
    assert opened(*(cipher[a:b] for a, b in itertools.pairwise(bounds))) == plain


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 1_000_000])
def test_what_openssl_encrypts_is_read(size: int) -> None:
    plain = (b"INSERT INTO t VALUES (1, 'x');\n" * (size // 30 + 1))[:size]
    cipher = encrypted(plain)
    assert opened(*(cipher[i : i + 1000] for i in range(0, len(cipher), 1000))) == plain


@settings(max_examples=25)
@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=8))
def test_an_archive_comes_out_whatever_is_in_it(rest: bytes, ends: list[int]) -> None:
    cipher = cipher_of(ARCHIVE + rest)
    bounds = [0, *sorted(min(end, len(cipher)) for end in ends), len(cipher)]
    assert opened(*(cipher[a:b] for a, b in itertools.pairwise(bounds))) == ARCHIVE + rest


def test_it_is_a_stream() -> None:
    """It gives out what it has long before it has read all."""
    cipher, taken = cipher_of(b"x" * 1_000_000), 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        for i in range(0, len(cipher), 10_000):
            taken += 1
            yield cipher[i : i + 10_000]

    reading = iter(LegacyOpener(password=PASSWORD.encode()).open(chunks(), name="a file"))
    next(reading)
    assert taken < 10


@pytest.mark.parametrize("size", [0, 5, 31, 32, 47])
def test_what_is_too_short_is_said(size: int) -> None:
    with pytest.raises(Corrupted, match=f"a file has {size} bytes; a file of LPBM has at least 48"):
        opened(cipher_of(b"x")[:size])


def test_a_cut_off_block_is_said() -> None:
    with pytest.raises(Corrupted, match="no multiple of 16"):
        opened(cipher_of(b"x" * 100)[:-3])


@pytest.mark.parametrize("size", [10, 70_000, 200_000])
def test_a_wrong_password_gives_out_nothing(size: int) -> None:
    given_out = list[bytes]()
    with pytest.raises(Corrupted, match="wrong password, or the file is damaged") as caught:
        given_out.extend(LegacyOpener(password=b"hunter2").open(iter([wrong_padding(b"x" * size)]), name="a file"))
    assert b"".join(given_out) == b""
    assert "hunter2" not in str(caught.value) + repr(LegacyOpener(password=b"hunter2"))


def wrong_padding(plain: bytes) -> bytes:
    """A file that `hunter2` opens to a wrong padding: for one key in 256, it would happen to look right."""
    while True:
        cipher = cipher_of(plain)
        key = hashlib.scrypt(b"hunter2", salt=cipher[:16], n=16384, r=8, p=1, dklen=32)
        if Cipher(algorithms.AES(key), modes.CBC(cipher[-32:-16])).decryptor().update(cipher[-16:])[-1] > 16:
            return cipher


def test_a_flipped_bit_at_the_end_is_said() -> None:
    cipher = bytearray(cipher_of(b"x" * 100))
    cipher[-17] ^= 0x80
    # The block before it comes out as anything: with a NUL in it, that is said first.
    with pytest.raises(Corrupted, match=r"cannot be decrypted \((its end is no padding|what comes out is neither)"):
        opened(bytes(cipher))


def test_what_the_file_raises_comes_out_unchanged() -> None:
    error = Unavailable("the peer is gone", next_step="wait")

    def broken() -> Iterator[bytes]:
        yield cipher_of(b"x" * 100)[:60]
        raise error

    with pytest.raises(Unavailable) as caught:
        list(LegacyOpener(password=b"x").open(broken(), name="a file"))
    assert caught.value is error


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.padding", None)
    with pytest.raises(ConfigError, match=r"Next: pip install pgkeep\[lpbm\]"):
        opened(cipher_of(b"x"))
