"""GnuPG's own days, good and bad: what only the real thing can do."""

import logging
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import zstandard

from fix_openpgp import STATUS, Cast, Home, Homes, ago, homes
from pgkeep.adapters.openpgp import OpenPgpSealer
from pgkeep.errors import ConfigError, Corrupted, PgkeepError, Unavailable
from pgkeep.model import KeyFingerprint

PLAIN = random.Random(2).randbytes(200_000) + b"the end"


@pytest.fixture(scope="module")
def place() -> Iterator[Homes]:
    with homes() as place:
        yield place


@pytest.fixture(scope="module")
def cast(place: Homes) -> Cast:
    return place.cast()


class Endless:
    """Data that never ends, and that knows whether it was let go."""

    def __init__(self) -> None:
        self.closed = False
        self._block = random.Random(3).randbytes(1 << 20)

    def __iter__(self) -> Iterator[bytes]:
        try:
            while True:
                yield self._block
        finally:
            self.closed = True


def sealed(sealer: OpenPgpSealer, plain: bytes = PLAIN) -> bytes:
    return b"".join(sealer.seal(iter([plain]), audience="backup"))


def opened(sealer: OpenPgpSealer, cipher: bytes) -> bytes:
    return b"".join(sealer.open(iter([cipher])))


def gpg_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if child.name() == "gpg" and child.status() != psutil.STATUS_ZOMBIE]


def our_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread is not threading.main_thread()}


def by_hand(home: Home, cast: Cast, plain: bytes, *options: str) -> bytes:
    """A message made with the plain tool."""
    return home.gpg("--encrypt", "--compress-algo", "none", "-r", cast.recipients[0], *options, data=plain)


def signed_by_hand(cast: Cast, plain: bytes, *options: str) -> bytes:
    return by_hand(cast.writer, cast, plain, "--sign", "-u", cast.node, *options)


# --- without pgkeep ----------------------------------------------------------------------------------------------


def test_gpg_and_zstd_alone_bring_it_back(cast: Cast) -> None:
    cipher = sealed(cast.sealer(cast.writer))
    command = ["gpg", "--homedir", str(cast.reader.path), "--batch", "--status-fd", "2", "--decrypt"]
    run = subprocess.run(command, input=cipher, capture_output=True, check=True)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(run.stdout) == PLAIN
    assert STATUS + b"GOODSIG " + cast.node[-16:].encode() in run.stderr


def test_several_frames_in_a_row_are_one_stream(cast: Cast) -> None:
    pack = zstandard.ZstdCompressor().compress
    assert opened(cast.sealer(cast.reader), signed_by_hand(cast, pack(b"one ") + pack(b"two"))) == b"one two"


@pytest.mark.parametrize("content", [b"", b"plain", zstandard.ZstdCompressor().compress(PLAIN)[:-9]])
def test_what_is_not_whole_zstd_is_corrupted(cast: Cast, content: bytes) -> None:
    with pytest.raises(Corrupted, match="zstd"):
        opened(cast.sealer(cast.reader), signed_by_hand(cast, content))


def test_a_bomb_comes_in_pieces(cast: Cast) -> None:
    cipher = sealed(cast.sealer(cast.writer), bytes(300_000_000))
    pieces = [len(piece) for piece in cast.sealer(cast.reader).open(iter([cipher]))]
    assert sum(pieces) == 300_000_000
    assert max(pieces) <= 64 << 20


# --- who can read it, who signed it ------------------------------------------------------------------------------


def test_no_configuration_of_the_user_adds_a_reader(place: Homes, cast: Cast) -> None:
    home = place.new("hostile")
    home.receive(cast.writer, "node", secret=True)
    home.receive(cast.writer, "alice", "bob", "mallory")
    rules = f"encrypt-to {cast.foreign}\nhidden-encrypt-to {cast.foreign}\narmor\nthrow-keyids\ncompress-algo zlib\n"
    (home.path / "gpg.conf").write_text(rules)
    sealer = cast.sealer(home)
    assert sealer.envelope([sealed(sealer)]).recipients == frozenset(cast.recipients)


def test_readers_nobody_knows_are_reported(cast: Cast) -> None:
    cipher = by_hand(cast.stranger, cast, b"x", "--hidden-recipient", cast.node, "-r", cast.foreign)
    envelope = cast.sealer(cast.writer).envelope([cipher])
    assert envelope.recipients == {cast.recipients[0], cast.foreign}
    assert envelope.unknown == {"0" * 16}


def test_a_reader_without_public_key_here_is_reported_by_key_id(place: Homes, cast: Cast) -> None:
    home = place.new("forgetful")
    home.receive(cast.writer, "alice")
    envelope = cast.sealer(home).envelope([sealed(cast.sealer(cast.writer))])
    assert envelope.recipients == {cast.recipients[0]}
    assert envelope.unknown == {cast.stranger.fingerprints("bob")[1][-16:]}


def test_a_password_is_a_reader_too(cast: Cast) -> None:
    options = ("--symmetric", "--pinentry-mode", "loopback", "--passphrase", "hush")
    cipher = by_hand(cast.writer, cast, b"x", *options)
    assert cast.sealer(cast.writer).envelope([cipher]).unknown == {"a password"}
    with pytest.raises(Corrupted, match="password"):
        opened(cast.sealer(cast.reader), cipher)


def test_unsigned_is_corrupted(cast: Cast) -> None:
    packed = zstandard.ZstdCompressor().compress(PLAIN)
    with pytest.raises(Corrupted, match="0 signatures"):
        opened(cast.sealer(cast.reader), by_hand(cast.writer, cast, packed))


def test_without_the_nodes_public_key_the_next_step_is_to_import_it(place: Homes, cast: Cast) -> None:
    home = place.new("laptop")
    home.receive(cast.reader, "alice", secret=True)
    with pytest.raises(ConfigError, match=f"{cast.node}.*import NODE-PUBLIC-KEY"):
        opened(cast.sealer(home), sealed(cast.sealer(cast.writer)))


def test_backups_outlive_the_key_that_signed_them(place: Homes, cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    home = place.new("aged")
    old = home.make_key("old", days=100, at=ago(days=300))
    packed = zstandard.ZstdCompressor().compress(PLAIN)
    cipher = home.gpg("-e", "-r", old, "-s", "-u", old, data=packed, at=ago(days=250))
    with caplog.at_level(logging.WARNING):
        assert opened(cast.sealer(home, node=old), cipher) == PLAIN
    assert "expired since" in caplog.text


def test_a_revoked_signer_is_not_trusted(place: Homes, cast: Cast) -> None:
    home = place.new("revoked")
    node = home.make_key("revoked")
    home.receive(cast.reader, "alice", secret=True)
    sealer = cast.sealer(home, node=node, recipients=cast.recipients[:1])
    cipher = sealed(sealer)
    home.revoke("revoked")
    with pytest.raises(Corrupted, match="revoked"):
        opened(sealer, cipher)
    with pytest.raises(ConfigError, match=f"{node} is revoked"):
        sealed(sealer)


def test_a_wrong_key_says_for_whom_the_message_is(cast: Cast) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(cast.sealer(cast.writer), sealed(cast.sealer(cast.writer)))
    assert all(fingerprint in str(caught.value) for fingerprint in cast.recipients)
    assert "--import" in caught.value.next_step


# --- keys that do not serve --------------------------------------------------------------------------------------


def test_everything_wrong_with_the_keys_is_said_at_once(cast: Cast) -> None:
    missing, subkey = KeyFingerprint("F" * 40), cast.writer.fingerprints("alice")[1]
    with pytest.raises(ConfigError) as caught:
        sealed(cast.sealer(cast.writer, node=cast.recipients[0], recipients=(missing, subkey)))
    assert f"{missing} is not in the GNUPGHOME" in caught.value.what
    assert f"{subkey} is a subkey of {cast.recipients[0]}" in caught.value.what
    assert f"{cast.recipients[0]} has no private key here" in caught.value.what


def test_a_key_that_only_signs_is_no_recipient(place: Homes, cast: Cast) -> None:
    home = place.new("signing")
    home.gpg("--passphrase", "", "--quick-gen-key", "sign-only@test.invalid", "ed25519", "sign", "1y")
    (fingerprint,) = home.fingerprints("sign-only")
    home.receive(cast.writer, "node", secret=True)
    with pytest.raises(ConfigError, match=f"{fingerprint} cannot be used: it has no key to encrypt"):
        sealed(cast.sealer(home, recipients=[fingerprint]))


@pytest.mark.parametrize(
    ("gnupghome", "binary"), [("/nonexistent", "gpg"), ("/", "gpg-of-nobody")], ids=["no home", "no gpg"]
)
def test_no_keyring_or_no_gpg_is_a_setting(cast: Cast, gnupghome: str, binary: str) -> None:
    sealer = OpenPgpSealer(gnupghome=Path(gnupghome), node=cast.node, recipients=cast.recipients, binary=binary)
    with pytest.raises(ConfigError):
        sealed(sealer)


def test_problems_are_found_before_they_hurt(cast: Cast) -> None:
    now = datetime.now(UTC)
    assert cast.sealer(cast.writer).problems(now) == ()
    later = cast.sealer(cast.writer).problems(now + timedelta(days=350))
    assert {problem.fingerprint for problem in later} == {cast.node, *cast.recipients}
    assert all("expires on" in problem.what and not problem.fatal for problem in later)
    assert all(problem.fatal for problem in cast.sealer(cast.writer).problems(now + timedelta(days=400)))


def test_a_recipients_private_key_on_a_writing_node_is_a_warning(cast: Cast) -> None:
    (problem,) = cast.sealer(cast.stranger, node=cast.foreign).problems(datetime.now(UTC))
    assert problem.fingerprint == cast.recipients[1]
    assert not problem.fatal


# --- passphrases, agents, paths ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(place: Homes, cast: Cast) -> tuple[Home, KeyFingerprint]:
    home = place.new("locked")
    (home.path / "gpg-agent.conf").write_text("pinentry-program /nonexistent\n")
    home.receive(cast.writer, "alice", "bob")
    return home, home.make_key("locked", passphrase="open sesame")


def test_a_passphrase_comes_from_its_file(locked: tuple[Home, KeyFingerprint], cast: Cast, tmp_path: Path) -> None:
    (home, node), secret = locked, tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    home.end_agent()
    sealer = cast.sealer(home, node=node, recipients=[node], passphrase_file=secret)
    assert opened(sealer, sealed(sealer)) == PLAIN


@pytest.mark.parametrize("content", ["shut sesame", None], ids=["wrong", "no file named"])
def test_a_passphrase_that_is_not_had_stops_it_at_once(
    locked: tuple[Home, KeyFingerprint], cast: Cast, tmp_path: Path, content: str | None
) -> None:
    (home, node), secret = locked, tmp_path / "passphrase"
    if content:
        secret.write_text(content)
    home.end_agent()
    sealer = cast.sealer(home, node=node, passphrase_file=secret if content else None)
    plain = Endless()
    with pytest.raises(ConfigError, match="passphrase") as caught:
        list(sealer.seal(plain, audience="backup"))
    assert "sesame" not in str(caught.value)
    assert sealer.problems(datetime.now(UTC))[0].fatal


def test_a_passphrase_file_that_is_not_there_is_a_setting(cast: Cast, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        sealed(cast.sealer(cast.writer, passphrase_file=tmp_path / "nowhere"))


def deep(place: Homes, cast: Cast, name: str, *, longest_socket: int = 150) -> Home:
    """The writer's keyring, where the longest path of an agent's socket has `longest_socket` bytes."""
    room = longest_socket - len(str(place.path / name)) - len("//S.gpg-agent.browser")
    home = place.new(f"{name}/{'d' * room}")
    home.path.joinpath("pubring.kbx").write_bytes((cast.writer.path / "pubring.kbx").read_bytes())
    home.path.joinpath("private-keys-v1.d").mkdir(mode=0o700)
    for key in (cast.writer.path / "private-keys-v1.d").iterdir():
        home.path.joinpath("private-keys-v1.d", key.name).write_bytes(key.read_bytes())
    return home


def test_a_deep_keyring_works_with_redirected_sockets(place: Homes, cast: Cast) -> None:
    home = deep(place, cast, "redirected")
    sockets = place.path / "s"
    sockets.mkdir(mode=0o700)
    for name in ("S.gpg-agent", "S.gpg-agent.extra", "S.gpg-agent.browser", "S.gpg-agent.ssh"):
        (home.path / name).write_text(f"%Assuan%\nsocket={sockets / name}\n")
    assert opened(cast.sealer(cast.reader), sealed(cast.sealer(home))) == PLAIN


@pytest.mark.parametrize("size", [106, 107, 108, 115, 150])
def test_a_deep_keyring_works_or_says_why_not(place: Homes, cast: Cast, size: int) -> None:
    home = deep(place, cast, f"plain-{size}", longest_socket=size)
    answer = subprocess.run(
        ["gpgconf", "--homedir", home.path, "--list-dirs", "socketdir"], capture_output=True, text=True, check=True
    )
    sealer = cast.sealer(home)
    if answer.stdout.startswith("/run/") or size <= 106:
        assert opened(cast.sealer(cast.reader), sealed(sealer)) == PLAIN
        return
    with pytest.raises(ConfigError, match=r"socket.*106"):
        sealed(sealer)


# --- processes that end, and that are ended ----------------------------------------------------------------------


def test_gpg_killed_while_it_seals(cast: Cast) -> None:
    plain = Endless()
    cipher = cast.sealer(cast.writer).seal(plain, audience="backup")
    next(cipher)
    (gpg,) = gpg_processes()
    gpg.kill()
    with pytest.raises(Unavailable):
        list(cipher)
    assert plain.closed


def test_gpg_told_to_end_while_it_opens(cast: Cast) -> None:
    cipher = sealed(cast.sealer(cast.writer), random.Random(4).randbytes(30_000_000))
    blocks = (cipher[i : i + 100_000] for i in range(0, len(cipher), 100_000))
    plain = cast.sealer(cast.reader).open(blocks)
    next(plain)
    (gpg,) = gpg_processes()
    gpg.terminate()
    with pytest.raises(Unavailable):
        list(plain)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_a_consumer_that_goes_leaves_nothing_running(cast: Cast, stopped: bool) -> None:
    before, plain = our_threads(), Endless()
    cipher = cast.sealer(cast.writer).seal(plain, audience="backup")
    assert next(cipher)
    (gpg,) = gpg_processes()
    if stopped:
        gpg.suspend()
    cipher.close()  # type: ignore[attr-defined]  # a generator, as the port's callers may rely on
    assert plain.closed
    assert gpg_processes() == []
    assert our_threads() <= before


def test_input_that_breaks_leaves_nothing_running(cast: Cast) -> None:
    def breaking() -> Iterator[bytes]:
        yield from (random.Random(i).randbytes(1 << 20) for i in range(20))
        raise KeyboardInterrupt

    before = our_threads()
    with pytest.raises(KeyboardInterrupt):
        list(cast.sealer(cast.writer).seal(breaking(), audience="backup"))
    assert gpg_processes() == []
    assert our_threads() <= before


def test_a_slow_consumer_holds_the_source_back(cast: Cast) -> None:
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        for block in Endless():
            taken += len(block)
            yield block

    cipher = cast.sealer(cast.writer).seal(counted(), audience="backup")
    next(cipher)
    seen, settled = -1, time.monotonic() + 1
    while seen != taken or time.monotonic() < settled:
        seen = taken
        time.sleep(0.05)
    assert taken <= 64 << 20
    cipher.close()  # type: ignore[attr-defined]


def test_a_hopeless_message_is_not_read_to_its_end(cast: Cast) -> None:
    cipher, read = sealed(cast.sealer(cast.writer), random.Random(5).randbytes(60_000_000)), 0

    def blocks() -> Iterator[bytes]:
        nonlocal read
        for start in range(0, len(cipher), 1 << 20):
            read += 1 << 20
            yield cipher[start : start + (1 << 20)]

    with pytest.raises(PgkeepError):
        list(cast.sealer(cast.writer).open(blocks()))
    assert read < len(cipher)
