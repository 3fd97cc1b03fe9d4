"""The frame of an encrypted OpenPGP message, read from outside, without any key.

    (public-key or symmetric encrypted session key | marker | padding)*  encrypted data  end

Formats: RFC 4880 sections 4 and 5, RFC 9580 sections 4.2, 5.1, 5.3, 5.13; packet 20 is GnuPG's own (OCB). Pure: bytes
come in as they arrive, of any size, and nothing is kept but the recipients' key ids.
"""

from collections.abc import Generator
from dataclasses import dataclass

from pgkeep.errors import LISTED, Corrupted

PKESK, SKESK, SED, MARKER, SEIPD, AED, PADDING = 1, 3, 9, 10, 18, 20, 21
HIDDEN = "0" * 16
"""The key id of a recipient whom the sender did not want to name."""

LONGEST_HEADER_PACKET = 64 * 1024
MOST_HEADER_PACKETS = 1000
HEADER_PACKETS = frozenset({PKESK, SKESK, MARKER, PADDING})
DATA_PACKETS = frozenset({SED, SEIPD, AED})
SHORTEST_BODY = {(SEIPD, 1): 33, (SEIPD, 2): 52, (AED, 1): 35}
"""Bytes that the cheapest body has, by packet and version; other versions are not known to anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One whole message. `key_ids`: 16 hexadecimal digits (of a subkey, as a rule), or a fingerprint (version 6)."""

    key_ids: tuple[str, ...]
    passwords: int
    integrity_protected: bool


@dataclass(frozen=True, slots=True)
class _Take:
    """The next `size` bytes are wanted."""

    size: int


@dataclass(frozen=True, slots=True)
class _Skip:
    """The next `size` bytes may go by; if `partial`, all further parts too that are partial themselves."""

    size: int
    partial: bool


class Framing:
    """Watches a message go by. `feed` every byte, then ask for the `message`.

    Both raise Corrupted: not an encrypted message, cut short, or followed by anything.
    """

    def __init__(self) -> None:
        self.key_ids: list[str] = []
        self.passwords = 0
        self._message: Message | None = None
        self._have = bytearray()
        self._steps = self._read()
        self._wish: _Take | _Skip = next(self._steps)
        self._left = self._wish.size

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the message. Raises Corrupted."""
        view = memoryview(chunk)
        while view:
            if self._message is not None:
                raise _broken(f"{len(view)} bytes or more follow its end")
            used = self._use(view)
            view = view[used:]

    def message(self) -> Message:
        """The message, after its last byte. Raises Corrupted if it has not come to its end."""
        if self._message is None:
            raise _broken("it ends before its last packet does")
        return self._message

    def _use(self, view: memoryview) -> int:
        if isinstance(self._wish, _Skip):
            return self._go_over(view, partial=self._wish.partial)
        used = min(len(view), self._left)
        self._have += view[:used]
        self._left -= used
        if not self._left:
            self._advance(bytes(self._have))
        return used

    def _go_over(self, view: memoryview, *, partial: bool) -> int:
        """A gigabyte has 130,000 partial lengths as gpg writes them: one plain loop over those in sight."""
        end, size = self._left, len(view)
        while partial and end < size and 224 <= view[end] < 255:
            end += 1 + (1 << (view[end] & 0x1F))
        self._left = max(0, end - size)
        if not self._left:
            self._advance(b"")
        return min(end, size)

    def _advance(self, data: bytes) -> None:
        self._have.clear()
        try:
            self._wish = self._steps.send(data)
            while self._wish.size == 0:
                self._wish = self._steps.send(b"")
            self._left = self._wish.size
        except StopIteration as end:
            self._message = end.value

    def _read(self) -> Generator[_Take | _Skip, bytes, Message]:
        for _ in range(MOST_HEADER_PACKETS):
            tag, length, partial = yield from _header()
            if tag in DATA_PACKETS:
                protected = yield from _data(tag, length, partial=partial)
                return Message(key_ids=tuple(self.key_ids), passwords=self.passwords, integrity_protected=protected)
            if tag not in HEADER_PACKETS:
                raise _broken(f"packet {tag} does not belong there")
            if partial or length > LONGEST_HEADER_PACKET:
                raise _broken(f"packet {tag} is too long")
            self._note(tag, (yield _Take(length)) if length else b"")
        raise _broken("it has too many packets")

    def _note(self, tag: int, body: bytes) -> None:
        if tag == PKESK:
            self.key_ids.append(_recipient(body))
        self.passwords += tag == SKESK


def _header() -> Generator[_Take | _Skip, bytes, tuple[int, int, bool]]:
    """Tag, length, and whether more lengths follow (RFC 9580, 4.2)."""
    (first,) = yield _Take(1)
    if not first & 0x80:
        raise _broken("it is not OpenPGP, or not in its binary form")
    if first & 0x40:
        length, partial = yield from _new_length()
        return first & 0x3F, length, partial
    if first & 0x03 == 3:
        raise _broken("a packet has no length: nothing shows that it is whole")
    length = int.from_bytes((yield _Take(1 << (first & 0x03))), "big")
    return (first >> 2) & 0x0F, length, False


def _new_length() -> Generator[_Take | _Skip, bytes, tuple[int, bool]]:
    (first,) = yield _Take(1)
    if first < 192:
        return first, False
    if first < 224:
        (second,) = yield _Take(1)
        return ((first - 192) << 8) + second + 192, False
    if first == 255:
        return int.from_bytes((yield _Take(4)), "big"), False
    return 1 << (first & 0x1F), True


def _data(tag: int, length: int, *, partial: bool) -> Generator[_Take | _Skip, bytes, bool]:
    """Goes over the encrypted data to its last byte; says whether a change in it would be noticed."""
    version = 0
    if tag != SED:
        if not length:
            raise _broken("its encrypted part is empty")
        (version,) = yield _Take(1)
        if (tag, version) not in SHORTEST_BODY:
            raise _broken(f"packet {tag} has the unknown version {version}")
    if not partial and length < SHORTEST_BODY.get((tag, version), 0):
        raise _broken("its encrypted part is too short")
    left = length - (tag != SED)
    while True:
        yield _Skip(left, partial)
        if not partial:
            return tag != SED
        left, partial = yield from _new_length()


def _recipient(body: bytes) -> str:
    """The key that a PKESK packet is for: versions 3 (RFC 4880, 5.1) and 6 (RFC 9580, 5.1.2)."""
    version = body[0] if body else 0
    if version == 3 and len(body) > 9:
        return body[1:9].hex().upper()
    if version == 6 and len(body) > 1 and len(body) > 1 + body[1]:
        return body[3 : 2 + body[1]].hex().upper() or HIDDEN
    raise _broken(f"a recipient's packet of version {version} cannot be read")


def _broken(why: str) -> Corrupted:
    return Corrupted(
        f"this is not one whole encrypted message: {why}",
        next_step=f"read it from another peer, or choose another entry: {LISTED}",
    )
