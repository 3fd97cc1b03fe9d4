"""Reading without pgkeep.toml: what the command line may say, what it must not, and what it then stands for."""

import argparse
import io
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fix_memory_node import MemoryNode
from pgkeep import wiring
from pgkeep.adapters.ipfs import Endpoint, IpfsVault
from pgkeep.cli import main, reading
from pgkeep.cli.reading import Address, Reading
from pgkeep.errors import ConfigError, Corrupted, NotRestorable, Unavailable
from pgkeep.journal_search import JournalSearch, read_mailed
from pgkeep.model import Cid, KeyFingerprint
from pgkeep.ports import Place
from pgkeep.testing import MemoryVault

FINGERPRINT = "AB" * 20
FOREIGN = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"


@pytest.mark.parametrize(
    ("text", "url", "login"),
    [
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001", None),
        ("http://peer.example", "http://peer.example:5001", None),
        ("http://peer.example/", "http://peer.example:5001/", None),
        ("https://peer.example/kubo", "https://peer.example/kubo", None),
        ("http://me%40home@peer.example:9", "http://peer.example:9", "me@home"),
        ("http://[::1]", "http://[::1]:5001", None),
        ("http://[::1]:77", "http://[::1]:77", None),
    ],
)
def test_addresses(text: str, url: str, login: str | None) -> None:
    assert reading.address(5001)(text) == Address(url=url, login=login)


@pytest.mark.parametrize(
    "text", ["peer:5001", "/ip4/127.0.0.1/tcp/5001", "http://", "http://h:x", "ftp://h", "http://[h"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is no address\. Next: write it as http://host:5001"):
        reading.address(5001)(text)


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str], *, code: int) -> str:
    try:
        ended: object = main(arguments)
    except SystemExit as exit_:
        ended = exit_.code
    assert ended == code
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop: no settings, no connections, nobody at a terminal."""
    for variable in ("PGKEEP_CONFIG", "PGKEEP_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("option", ["--peer", "--cluster"])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["list", "shop", option, "http://me:hunter2@h:1"], capsys, code=2)
    assert "has a password in it, which everybody on this machine can read. Next: leave it out" in said
    assert "hunter2" not in said


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("into", ["postgresql://me:hunter2@h/shop", "postgresql://me@h/shop?password=hunter2"])
def test_nor_is_one_in_the_targets_address(into: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["restore", "shop", "--into", into], capsys, code=3)
    assert "has a password in it, which everybody on this machine can read. Next: leave it out" in said
    assert "hunter2" not in said


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["list", "shop"],
            3,
            "no peer is named from which backups could be read, and PGKEEP_CONFIG is not set",
        ),
        (["list", "shop"], 3, "name a living one: --peer http://host:5001; or export PGKEEP_CONFIG="),
        (["list", "shop", "--node", FINGERPRINT], 3, "no peer is named from which backups could be read. Next: name a"),
        (["list", "shop", "--node", "ABCD"], 2, "'ABCD' is no fingerprint. Next: write the whole fingerprint"),
        (["list", "shop", "--peer", ""], 2, "is empty, perhaps for a variable that is not set"),
        (
            ["restore", "shop", "--into", "postgresql://h/x", "--cluster", "http://me@h:9094"],
            3,
            "the password of me at h:9094 is not known, and nobody can be asked. Next: export PGKEEP_PASSWORD",
        ),
        (["restore", "shop", "--into", "postgresql://[::1/shop"], 3, "postgresql://"),
        (
            ["list", "shop", "--cluster", "http://me@h:9094", "--password-file", "/nowhere"],
            3,
            "the file with the password, /nowhere, cannot be read: No such file or directory. Next: correct",
        ),
        (
            ["list", "shop", "--cluster", "http://me@h:9094", "--password-file", "/"],
            3,
            "the file with the password, /, cannot be read: Is a directory. Next: correct --password-file",
        ),
        (
            ["list", "shop", "--cluster", "http://me@h:9094", "--password-file", "/dev/null"],
            3,
            "the file with the password, /dev/null, is empty. Next: correct --password-file",
        ),
        (
            ["list", "shop", "--peer", "http://127.0.0.1:9", "--journal", "/"],
            3,
            "the journal / cannot be read: Is a directory. Next: write the path of the file",
        ),
        (
            ["list", "shop", "--peer", "http://127.0.0.1:9", "--password-file", "/nowhere"],
            3,
            "--password-file names a password, and no address says whose it is",
        ),
        (
            ["list", "shop", "--peer", "http://127.0.0.1:9", "--journal", "shop.pgkeep"],
            3,
            "the journal shop.pgkeep cannot be read: No such file or directory. Next: write the path of the file",
        ),
        (["list", "shop", "--peer", "http://127.0.0.1:9", "--journal", "7"], 4, "127.0.0.1:9) cannot be reached"),
        (["list", "shop", "--peer", "http://127.0.0.1:9"], 4, "see that it runs and that --peer has its address"),
        (
            ["list", "shop", "--peer", "http://h", "--peer", "http://h:5001/"],
            3,
            "h:5001 is named twice. Next: name each",
        ),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(arguments, capsys, code=code)


def chosen(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    reading.add_options(parser)
    return parser.parse_args(arguments)


def doors(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[Endpoint], list[Endpoint]]:
    """What the vault is opened with."""
    seen: list[tuple[list[Endpoint], list[Endpoint]]] = []
    real = wiring.open_vault_at

    def remember(kubos: Sequence[Endpoint], clusters: Sequence[Endpoint], **patience: float) -> IpfsVault:
        seen.append(([*kubos], [*clusters]))
        return real(kubos, clusters, **patience)

    monkeypatch.setattr(wiring, "open_vault_at", remember)
    reading.opened(chosen(*arguments))
    return seen[0]


@pytest.mark.usefixtures("nothing")
def test_the_password_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from the file\n")
    monkeypatch.setenv("PGKEEP_PASSWORD", "from the environment")
    cluster = ["--cluster", "http://me@h", "--peer", "http://p"]
    (kubo,), (endpoint,) = doors(monkeypatch, *cluster)
    assert (endpoint.url, endpoint.login, endpoint.password) == ("http://h:9094", "me", "from the environment")
    assert (kubo.written, endpoint.written) == (
        "--peer",
        "--cluster (its password: PGKEEP_PASSWORD or --password-file)",
    )
    assert (kubo.url, kubo.login, kubo.password) == ("http://p:5001", None, None), "nobody else gets it"
    (_,), (endpoint,) = doors(monkeypatch, *cluster, "--password-file", str(file))
    assert endpoint.password == "from the file"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere", "No such file or directory"),
        ("directory", "Is a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("pipe", "No regular file, which can be read more than once"),
        ("empty", "It is empty"),
    ],
)
def test_why_a_file_holds_no_passphrase(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    opener = wiring.open_reader(tmp_path, nodes=(), passphrase_file=tmp_path / name)
    with pytest.raises(
        ConfigError, match=f"private key, .*/{name}, cannot be read: {why}. Next: write it .* --passphrase-file$"
    ):
        list(opener.open([]))


def test_a_keyring_that_is_not_there_is_named_as_the_command_line_has_it(tmp_path: Path) -> None:
    opener = wiring.open_reader(tmp_path / "nowhere", nodes=(), passphrase_file=None)
    with pytest.raises(ConfigError, match=r"nowhere is not a directory\. Next: correct GNUPGHOME, and import the keys"):
        list(opener.open([]))


@pytest.mark.usefixtures("nothing")
def test_the_password_is_asked_for_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def typed(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", typed)
    _, (endpoint,) = doors(monkeypatch, "--cluster", "http://me@h:1")
    assert (asked, endpoint.password) == (["password of me at h:1: "], "typed")


def test_one_address_given_twice_is_one_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    kubos, clusters = doors(monkeypatch, "--peer", "http://a", "--peer", "http://a:5001", "--peer", "http://b")
    assert ([kubo.url for kubo in kubos], clusters) == (["http://a:5001", "http://b:5001"], [])


@pytest.mark.parametrize("host", ["h", "[::1]"])
@pytest.mark.parametrize("port", [":9094/", ""])
def test_a_cluster_alone_has_its_kubo_beside_it(host: str, port: str) -> None:
    found = wiring.open_vault_at([], [Endpoint(url=f"https://{host}{port}", login="me", password="x")])
    assert str(found._own.kubo) == f"the Kubo RPC of {host}:5001, as no --peer is named ({host}:5001)"


@pytest.mark.parametrize(
    ("text", "version", "file"),
    [
        ("17", "17", None),
        ("./17", None, Path("./17")),
        ("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", "bafy..", None),
        ("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG", "QmYw..", None),
        ("shop-journal.gpg", None, Path("shop-journal.gpg")),
        ("b", None, Path("b")),
    ],
)
def test_what_journal_means(text: str, version: str | None, file: Path | None) -> None:
    found = reading.opened(chosen("--peer", "http://a", "--journal", text))
    assert (found.version and text, found.file) == (version and text, file)


# --- a journal that was kept elsewhere, over the doubles ----------------------------------------------------------


@pytest.fixture
def node() -> MemoryNode:
    node = MemoryNode()
    node.full()
    return node


def reader(node: MemoryNode, *, version: str | None = None, file: Path | None = None) -> Reading:
    """The doubles stand in for what `reading.opened` opens."""
    vault = cast(Any, node.vault)
    return Reading(vault=vault, hasty=vault, opener=cast(Any, node.sealer), version=version, file=file)


def mailed(node: MemoryNode) -> bytes:
    head = node.journals.head()
    return node.vault.peers[0].objects[head.cid]


def test_a_mailed_version_is_read_without_any_peer(node: MemoryNode) -> None:
    content = mailed(node)
    assert read_mailed(iter([content]), node.sealer, database="shop") == node.journal
    assert read_mailed(iter([content]), node.sealer, database=None) == node.journal
    with pytest.raises(ConfigError, match=r"it is the journal of shop, not of other\. Next: name the file"):
        read_mailed(iter([content]), node.sealer, database="other")
    stranger = replace(node.sealer, trusted=frozenset({KeyFingerprint("F" * 40)}))
    with pytest.raises(Corrupted, match="whom nobody trusts"):
        read_mailed(iter([content]), stranger, database="shop")


@pytest.mark.parametrize("content", [b"", b"no journal at all\n"])
def test_a_file_that_is_no_journal_is_named(content: bytes, node: MemoryNode, tmp_path: Path) -> None:
    file = tmp_path / "mail.gpg"
    file.write_bytes(content)
    found = reader(node, file=file)
    with pytest.raises(Corrupted, match=r"mail\.gpg is no journal that can be believed.*the very file that was mailed"):
        found.journal("shop")


def test_what_was_mailed_may_be_old_and_that_is_said(
    node: MemoryNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "shop.gpg"
    file.write_bytes(mailed(node))
    found = reader(node, file=file)
    with caplog.at_level(logging.WARNING):
        assert found.journal("shop").sequence == 2
        assert caplog.messages == []
        node.full()
        assert found.journal(None).sequence == 2
    newest = node.journal.sequence
    assert f"this file is version 2 of the journal; the peers have version {newest}" in caplog.text
    for peer in node.vault.peers:
        peer.up = False
    assert found.journal("shop").sequence == 2, "nobody needs to answer for that"


def test_an_object_that_has_lost_its_name_is_a_version_by_its_cid(node: MemoryNode) -> None:
    head = node.journals.head()
    for peer in node.vault.peers:
        peer.pins.clear()
    node.vault.cluster.clear()
    search = JournalSearch(database="shop", vault=node.vault, sealer=node.sealer)
    with pytest.raises(NotRestorable, match="there is no journal of shop"):
        search.head(search.listing())
    assert search.head(search.listing(), accept=head.cid) == head
    keyless = replace(search, sealer=replace(node.sealer, holds=frozenset()))
    with pytest.raises(ConfigError, match="no private key"):
        keyless.head(search.listing(), accept=head.cid)
    dump = head.journal.entries[-1].backup.parts[0].cid
    with pytest.raises(Corrupted):
        search.head(search.listing(), accept=Cid(dump))


def test_an_object_that_nobody_has_is_said_of_all_who_were_asked(node: MemoryNode) -> None:
    found = reader(node, version=FOREIGN)
    with pytest.raises(Unavailable, match=rf"no peer that answers has {FOREIGN}: not alice, bob, carol, nor any that"):
        found.journal("shop")
    head = node.journals.head()
    node.vault.cluster.clear()
    for peer in node.vault.peers:
        peer.pins.clear()
    assert reader(node, version=head.cid).journal("shop") == head.journal, "without a name, it is still found"


def test_a_peer_that_lets_nobody_in_may_have_it_and_hides_no_other(
    node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, head = MemoryVault.read, node.journals.head()

    def guarded(vault: MemoryVault, cid: Cid, *, at: Place) -> Iterator[bytes]:
        if at.name == "alice":
            raise ConfigError("alice does not let us in", next_step="correct the login")
        return read(vault, cid, at=at)

    node.vault.cluster.clear()
    for peer in node.vault.peers:
        peer.pins.clear()
    monkeypatch.setattr(MemoryVault, "read", guarded)
    assert reader(node, version=head.cid).journal("shop") == head.journal
    with pytest.raises(ConfigError, match="alice does not let us in"):
        reader(node, version=FOREIGN).journal("shop")
