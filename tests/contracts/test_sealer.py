"""What every Sealer does: the double and GnuPG."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from fix_openpgp import Cast, ago, homes
from pgkeep.errors import ConfigError, Corrupted
from pgkeep.model import KeyFingerprint
from pgkeep.ports import Audience, Sealer
from pgkeep.testing import MemorySealer

AUDIENCES: tuple[Audience, ...] = ("backup", "journal")
PLAIN = random.Random(1).randbytes(300_000) + bytes(700_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`writer` seals; `reader` holds a recipient's key; `outsider` none. `stranger` seals as somebody unknown,
    `recipient` as one who may read.
    """

    writer: Sealer
    reader: Sealer
    outsider: Sealer
    stranger: Sealer
    recipient: Sealer
    spent: Sealer
    expired: KeyFingerprint


def in_memory() -> Stage:
    stranger, spent = KeyFingerprint("D" * 40), KeyFingerprint("E" * 40)
    return Stage(
        writer=MemorySealer(),
        reader=MemorySealer(),
        outsider=MemorySealer(holds=frozenset()),
        stranger=MemorySealer(signer=stranger),
        recipient=MemorySealer(signer=MemorySealer.recipients[0]),
        spent=MemorySealer(recipients=(*MemorySealer.recipients, spent), expired=frozenset({spent})),
        expired=spent,
    )


def with_gnupg(cast: Cast) -> Stage:
    spent = cast.stranger.make_key("spent", days=1, at=ago(days=9))
    cast.writer.receive(cast.stranger, "spent")
    return Stage(
        writer=cast.sealer(cast.writer),
        reader=cast.sealer(cast.reader),
        outsider=cast.sealer(cast.writer),
        stranger=cast.sealer(cast.stranger, node=cast.foreign),
        recipient=cast.sealer(cast.stranger, node=cast.recipients[1]),
        spent=cast.sealer(cast.writer, recipients=(*cast.recipients, spent)),
        expired=spent,
    )


@pytest.fixture(scope="module")
def gnupg_stage() -> Iterator[Stage]:
    with homes() as place:
        yield with_gnupg(place.cast())


@pytest.fixture(params=["memory", "gnupg"])
def stage(request: pytest.FixtureRequest) -> Stage:
    found: Stage = in_memory() if request.param == "memory" else request.getfixturevalue("gnupg_stage")
    return found


def sealed(sealer: Sealer, plain: bytes = PLAIN, *, audience: Audience = "backup") -> bytes:
    return b"".join(sealer.seal(iter([plain]), audience=audience))


def opened(sealer: Sealer, cipher: bytes) -> bytes:
    return b"".join(sealer.open(iter([cipher])))


class Boom(Exception):
    """Nothing that any adapter knows."""


def breaking(content: bytes, error: Exception) -> Iterator[bytes]:
    yield content
    raise error


@pytest.mark.parametrize("plain", [b"", b"x", PLAIN, b"\0" * 5_000_000], ids=["nothing", "a byte", "mixed", "zeros"])
def test_what_is_sealed_opens(stage: Stage, plain: bytes) -> None:
    assert opened(stage.reader, sealed(stage.writer, plain)) == plain


def test_the_sizes_of_chunks_do_not_matter(stage: Stage) -> None:
    pieces = [PLAIN[:1], b"", PLAIN[1:70_001], PLAIN[70_001:]]
    cipher = b"".join(stage.writer.seal(iter(pieces), audience="backup"))
    assert b"".join(stage.reader.open(cipher[i : i + 7777] for i in range(0, len(cipher), 7777))) == PLAIN


@pytest.mark.parametrize("audience", AUDIENCES)
def test_the_envelope_names_exactly_the_readers(stage: Stage, audience: Audience) -> None:
    envelope = stage.writer.envelope(iter([sealed(stage.writer, audience=audience)]))
    assert envelope.recipients == stage.writer.readers(audience)
    assert not envelope.unknown
    assert envelope.integrity_protected


def test_a_node_reads_its_journal_and_not_its_backups(stage: Stage) -> None:
    assert stage.writer.readers("journal") == stage.writer.readers("backup") | {stage.writer.signer}
    assert stage.writer.signer not in stage.writer.readers("backup")


def test_without_a_private_key_it_stays_closed(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="import"):
        opened(stage.outsider, sealed(stage.writer))


def test_what_the_input_raises_comes_out_unchanged(stage: Stage) -> None:
    error = Boom()
    with pytest.raises(Boom) as caught:
        list(stage.writer.seal(breaking(PLAIN, error), audience="backup"))
    assert caught.value is error


@pytest.mark.parametrize("use", [lambda s, c: list(s.open(c)), lambda s, c: s.envelope(c)], ids=["open", "envelope"])
def test_what_the_vault_raises_comes_out_unchanged(
    stage: Stage, use: Callable[[Sealer, Iterator[bytes]], object]
) -> None:
    error = Boom()
    with pytest.raises(Boom) as caught:
        use(stage.reader, breaking(sealed(stage.writer)[:5000], error))
    assert caught.value is error


@pytest.mark.parametrize("cut", [1, 30, 100_000])
def test_a_message_cut_short_is_corrupted(stage: Stage, cut: int) -> None:
    cipher = sealed(stage.writer)[:-cut]
    with pytest.raises(Corrupted):
        stage.writer.envelope(iter([cipher]))
    with pytest.raises(Corrupted):
        opened(stage.reader, cipher)


@pytest.mark.parametrize("tail", [b"x", b"\0" * 1000])
def test_a_message_with_anything_behind_it_is_corrupted(stage: Stage, tail: bytes) -> None:
    cipher = sealed(stage.writer) + tail
    with pytest.raises(Corrupted):
        stage.writer.envelope(iter([cipher]))
    with pytest.raises(Corrupted):
        opened(stage.reader, cipher)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.999])
def test_a_flipped_bit_is_corrupted(stage: Stage, place: float) -> None:
    cipher = bytearray(sealed(stage.writer))
    cipher[int(len(cipher) * place)] ^= 4
    with pytest.raises(Corrupted):
        opened(stage.reader, bytes(cipher))


@pytest.mark.parametrize("noise", [b"", b"hello", b"-----BEGIN PGP MESSAGE-----\n"], ids=["nothing", "text", "armour"])
def test_what_is_no_message_is_corrupted(stage: Stage, noise: bytes) -> None:
    with pytest.raises(Corrupted):
        stage.writer.envelope(iter([noise]))
    with pytest.raises(Corrupted):
        opened(stage.reader, noise)


def test_a_stranger_is_not_trusted(stage: Stage) -> None:
    with pytest.raises(Corrupted, match=stage.stranger.signer):
        opened(stage.reader, sealed(stage.stranger))


def test_who_may_read_may_not_write(stage: Stage) -> None:
    with pytest.raises(Corrupted, match=stage.recipient.signer):
        opened(stage.reader, sealed(stage.recipient))


def test_an_expired_recipient_is_a_setting_to_correct(stage: Stage) -> None:
    with pytest.raises(ConfigError, match=f"{stage.expired}.*expired"):
        sealed(stage.spent)
