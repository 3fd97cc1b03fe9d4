"""Reading with nothing but a private key: whose signatures count, and what is said where that is not known."""

import subprocess
from collections.abc import Iterator, Sequence

import pytest

from fix_openpgp import Cast, Home, Homes, homes
from pgkeep import wiring
from pgkeep.errors import ConfigError, Corrupted
from pgkeep.model import KeyFingerprint

PLAIN = b"a journal"


@pytest.fixture(scope="module")
def place() -> Iterator[Homes]:
    with homes() as place:
        yield place


@pytest.fixture(scope="module")
def cast(place: Homes) -> Cast:
    return place.cast()


@pytest.fixture(scope="module")
def message(cast: Cast) -> bytes:
    """By the node, for both recipients."""
    return b"".join(cast.sealer(cast.writer).seal([PLAIN], audience="backup"))


def opened(message: bytes, home: Home, *nodes: KeyFingerprint) -> bytes:
    return b"".join(wiring.open_reader(home.path, nodes=nodes, passphrase_file=None).open([message]))


def laptop(place: Homes, cast: Cast, name: str, *, public: Sequence[str] = ("node",)) -> Home:
    """A recipient's: his private key, and such public ones as he has imported."""
    home = place.new(name)
    home.receive(cast.reader, "alice", secret=True)
    if public:
        home.receive(cast.writer, *public)
    return home


def test_a_node_that_is_named_is_believed(place: Homes, cast: Cast, message: bytes) -> None:
    home = laptop(place, cast, "naming")
    assert opened(message, home, cast.node) == PLAIN
    assert opened(message, home, cast.foreign, cast.node) == PLAIN


def test_an_imported_key_is_not_believed_until_somebody_says_so(place: Homes, cast: Cast, message: bytes) -> None:
    home = laptop(place, cast, "unsaid")
    with pytest.raises(ConfigError) as refused:
        opened(message, home)
    assert refused.value.what == f"it is signed by {cast.node}, and nobody has said that this key is a node's"
    assert f"name it: --node {cast.node}" in refused.value.next_step
    home.gpg("--trust-model", "pgp", "--import-ownertrust", data=f"{cast.node}:6:\n".encode())
    assert opened(message, home) == PLAIN, "the keyring calls it one's own"


@pytest.mark.parametrize("level", [3, 4, 5])
def test_less_than_ultimate_trust_is_about_others_and_does_not_count(
    place: Homes, cast: Cast, message: bytes, level: int
) -> None:
    home = laptop(place, cast, f"level-{level}")
    home.gpg("--trust-model", "pgp", "--import-ownertrust", data=f"{cast.node}:{level}:\n".encode())
    with pytest.raises(ConfigError, match=f"signed by {cast.node}, and nobody has said"):
        opened(message, home)


def test_somebody_else_than_those_named_is_a_stranger(place: Homes, cast: Cast, message: bytes) -> None:
    home = laptop(place, cast, "other", public=("node", "mallory"))
    with pytest.raises(Corrupted, match=f"by a stranger, {cast.node}, not by {cast.foreign} .*--node {cast.node}"):
        opened(message, home, cast.foreign)


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_public_key_is_named_by_its_whole_fingerprint(
    place: Homes, cast: Cast, message: bytes, named: bool
) -> None:
    home = laptop(place, cast, f"missing-{named}", public=())
    with pytest.raises(ConfigError) as refused:
        opened(message, home, *([cast.node] if named else []))
    said = f"the signature by {cast.node} cannot be checked: the public key of {cast.node} is not in {home.path}"
    assert refused.value.what == said
    assert "--import NODE-PUBLIC-KEY.asc" in refused.value.next_step
    home.receive(cast.writer, "node")
    assert opened(message, home, cast.node) == PLAIN


def test_a_key_that_nobody_has_named_nor_has_is_a_stranger(place: Homes, cast: Cast) -> None:
    sealed = b"".join(cast.sealer(cast.stranger, node=cast.foreign).seal([PLAIN], audience="backup"))
    home = laptop(place, cast, "unknown")
    with pytest.raises(Corrupted, match=f"signed by a stranger, {cast.foreign}, not by {cast.node}"):
        opened(sealed, home, cast.node)


def test_without_a_private_key_it_says_whose_would_do(place: Homes, cast: Cast, message: bytes) -> None:
    home = place.new("keyless")
    home.receive(cast.writer, "node", "alice", "bob")
    with pytest.raises(ConfigError, match=f"no private key in {home.path} opens this message.*{cast.recipients[0]}"):
        opened(message, home, cast.node)


def test_a_home_that_is_none_is_named(place: Homes, message: bytes) -> None:
    home = wiring.open_reader(place.path / "nowhere", nodes=(), passphrase_file=None)
    with pytest.raises(ConfigError, match="nowhere is not a directory"):
        b"".join(home.open([message]))


def test_own_keys_are_those_that_gpg_shows_as_ultimate(place: Homes, cast: Cast) -> None:
    """The letter that we read, as gpg itself writes it."""
    home = laptop(place, cast, "letters")
    home.gpg("--trust-model", "pgp", "--import-ownertrust", data=f"{cast.node}:6:\n".encode())
    command = ["gpg", "--homedir", str(home.path), "--with-colons", "-k"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(":")[8] for line in listed if line.startswith("pub:")].count("u") == 1
