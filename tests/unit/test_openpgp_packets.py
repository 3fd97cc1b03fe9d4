"""The frame of OpenPGP messages: built here by RFC 9580, read there; whole or refused, in pieces of any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.adapters.openpgp.packets import AED, MARKER, PADDING, SED, SEIPD, SKESK, Framing, Message
from pgkeep.errors import Corrupted


def old(tag: int, body: bytes, *, octets: int = 4) -> bytes:
    """A packet with an old-format length of 1, 2 or 4 octets."""
    kind = {1: 0, 2: 1, 4: 2}[octets]
    return bytes([0x80 | tag << 2 | kind]) + len(body).to_bytes(octets, "big") + body


def new_length(size: int, *, long: bool = False) -> bytes:
    if long or size >= 8384:
        return b"\xff" + size.to_bytes(4, "big")
    if size < 192:
        return bytes([size])
    return bytes([((size - 192) >> 8) + 192, (size - 192) & 0xFF])


def new(tag: int, body: bytes, *, long: bool = False) -> bytes:
    return bytes([0xC0 | tag]) + new_length(len(body), long=long) + body


def partial(tag: int, body: bytes, powers: list[int]) -> bytes:
    """A packet in partial lengths of 2**power octets, as far as the body goes, then a last definite one."""
    packet = bytes([0xC0 | tag])
    for power in powers:
        if len(body) >= 1 << power:
            packet += bytes([0xE0 | power]) + body[: 1 << power]
            body = body[1 << power :]
    return packet + new_length(len(body)) + body


def pkesk(key_id: bytes) -> bytes:
    return b"\x03" + key_id + b"\x12" + bytes(48)


def pkesk6(version: int, fingerprint: bytes) -> bytes:
    return b"\x06" + bytes([len(fingerprint) + 1, version]) + fingerprint + b"\x19" + bytes(60)


def read(message: bytes, size: int = 1 << 20) -> Message:
    framing = Framing()
    for start in range(0, len(message), size):
        framing.feed(message[start : start + size])
    return framing.message()


KEY_ID = st.binary(min_size=8, max_size=8)
BODY = st.tuples(st.sampled_from([(SEIPD, 1), (SEIPD, 2), (AED, 1)]), st.binary(min_size=60, max_size=20_000))


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, tuple[str, ...]]:
    """A message, and its recipients' key ids."""
    ids = draw(st.lists(KEY_ID, min_size=1, max_size=4))
    packets = [draw(st.sampled_from([new(1, pkesk(key_id)), old(1, pkesk(key_id))])) for key_id in ids]
    packets += draw(st.lists(st.sampled_from([new(MARKER, b"PGP"), new(PADDING, bytes(300))]), max_size=2))
    (tag, version), content = draw(BODY)
    powers = draw(st.lists(st.integers(min_value=0, max_value=13), max_size=6))
    data = partial(tag, bytes([version]) + content, powers)
    return b"".join(packets) + data, tuple(key_id.hex().upper() for key_id in ids)


@given(messages(), st.integers(min_value=1, max_value=5000))
def test_whole_messages_are_read_in_pieces_of_any_size(built: tuple[bytes, tuple[str, ...]], size: int) -> None:
    message, key_ids = built
    assert read(message, size) == Message(key_ids=key_ids, passwords=0, integrity_protected=True)


@given(messages(), st.data())
def test_no_beginning_of_a_message_is_a_message(built: tuple[bytes, tuple[str, ...]], data: st.DataObject) -> None:
    message, _ = built
    with pytest.raises(Corrupted):
        read(message[: data.draw(st.integers(min_value=0, max_value=len(message) - 1))])


@given(messages(), st.binary(min_size=1, max_size=50), st.integers(min_value=1, max_value=5000))
def test_nothing_may_follow(built: tuple[bytes, tuple[str, ...]], tail: bytes, size: int) -> None:
    with pytest.raises(Corrupted, match="follow"):
        read(built[0] + tail, size)


@given(st.binary(max_size=400))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    framing = Framing()
    try:
        framing.feed(noise)
        framing.message()
    except Corrupted:
        return
    assert noise[0] & 0x80  # only a packet can have been taken for a message


@pytest.mark.parametrize("size", [1, 40, 191, 192, 8383, 8384, 70_000])
@pytest.mark.parametrize("long", [False, True])
def test_every_form_of_length(size: int, long: bool) -> None:
    body = b"\x01" + bytes(size + 33)
    assert read(new(SEIPD, body, long=long)).integrity_protected
    assert not read(old(SED, body)).integrity_protected


@pytest.mark.parametrize("octets", [1, 2, 4])
def test_every_old_form_of_length(octets: int) -> None:
    assert read(old(1, pkesk(bytes(8)), octets=octets) + new(SEIPD, b"\x01" + bytes(40))).key_ids == ("0" * 16,)


def test_version_6_names_fingerprints() -> None:
    four, six = bytes(range(20)), bytes(range(32))
    packets = new(1, pkesk6(4, four)) + new(1, pkesk6(6, six)) + new(1, b"\x06\x00\x19" + bytes(60))
    found = read(packets + new(SEIPD, b"\x02" + bytes(100)))
    assert found.key_ids == (four.hex().upper(), six.hex().upper(), "0" * 16)


def test_passwords_are_counted() -> None:
    assert read(new(SKESK, b"\x04\x09\x03" + bytes(9)) + new(SEIPD, b"\x01" + bytes(40))).passwords == 1


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("unknown version", new(SEIPD, b"\x03" + bytes(100))),
        ("too short", new(SEIPD, b"\x01" + bytes(20))),
        ("empty", new(SEIPD, b"")),
        ("no length", b"\xa7" + bytes(100)),
        ("too long", new(1, bytes(70_000))),
        ("too long", partial(1, bytes(1024), [9])),
        ("does not belong", new(11, b"b\x00\x00\x00\x00\x00hello")),
        ("cannot be read", new(1, b"\x07" + bytes(60))),
        ("cannot be read", new(1, b"")),
        ("too many", new(MARKER, b"PGP") * 1001),
        ("not OpenPGP", b"-----BEGIN PGP MESSAGE-----"),
    ],
)
def test_what_is_refused_says_why(why: str, message: bytes) -> None:
    with pytest.raises(Corrupted, match=why):
        read(message)
