"""What a sandbox remembers, where, and for whom; ports, programs, sizes."""

import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path
from random import Random

import pytest

from pgkeep import sandbox
from pgkeep.adapters.postgres import programs
from pgkeep.errors import ConfigError, Unavailable
from pgkeep.sandbox import binaries, go_build, postgres_programs, sample, sample_rows, tcp_ports
from pgkeep.sandbox.place import State, load_state, locked, make_private_directory, save_state, write_private


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = State(ports={"source": 20_001}, airflow=True).with_secrets("source")
    save_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_there_is_no_state_in_an_empty_place(tmp_path: Path) -> None:
    assert load_state(tmp_path) == State()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unknown": 1}'])
def test_a_broken_state_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(ConfigError, match="not the state of a sandbox"):
        load_state(tmp_path)


def test_secrets_are_chosen_once() -> None:
    first = State().with_secrets("a", "b")
    assert first.with_secrets("a", "b", "c").secrets.items() > first.secrets.items()
    assert len(set(first.secrets.values())) == 2
    assert first.secrets["a"] not in repr(first)


def test_written_files_are_private_at_once_and_whole(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        place = make_private_directory(tmp_path / "a" / "b")
        write_private(place / "file", "new")
        write_private(place / "file", "newer")
    finally:
        os.umask(old)
    assert (place / "file").read_text() == "newer"
    assert [path.name for path in place.iterdir()] == ["file"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (place / "file").stat().st_mode & 0o777 == 0o600


def test_a_home_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"), locked(tmp_path / "file", print):
        pass
    with pytest.raises(ConfigError, match="cannot be used"):
        sandbox.status(tmp_path / "file")


def test_the_lock_restores_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        with locked(tmp_path, print):
            (tmp_path / "made").write_text("")
        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(old)


def test_the_home_is_a_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert sandbox.default_home() == tmp_path / "pgkeep/sandbox"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/srv/somebody")
    assert sandbox.default_home() == Path("/srv/somebody/.local/share/pgkeep/sandbox")


def test_ports_are_different_free_and_not_taken() -> None:
    chosen = tcp_ports.choose(["a", "b", "c"], taken=[])
    assert len(set(chosen.values())) == 3
    assert not set(tcp_ports.choose(["d"], taken=tcp_ports.RANGE[1:]).values()) - {tcp_ports.RANGE[0]}
    with socket.create_server(("127.0.0.1", chosen["a"])):
        assert not tcp_ports.is_free(chosen["a"])
    assert tcp_ports.is_free(chosen["a"])


def test_no_port_left() -> None:
    with pytest.raises(Unavailable, match="no free TCP port"):
        tcp_ports.choose(["a"], taken=tcp_ports.RANGE)


@pytest.mark.parametrize("arguments", [["isolated_sandbox", "HOME", "--", "true"], ["compose", "HOME"]])
def test_what_is_run_by_its_module_ends_in_a_sentence(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/state.json").write_text("{")
    module, *rest = (str(tmp_path) if word == "HOME" else word for word in arguments)
    command = [sys.executable, "-m", f"pgkeep.sandbox.{module}", *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ConfigError.exit_code
    assert done.stderr.startswith("pgkeep: ")
    assert done.stderr.count("\n") == 1


def test_postgres_is_complete_and_not_too_old() -> None:
    found = postgres_programs.find_programs()
    assert found.major >= 15
    assert all((found.directory / name).exists() for name in postgres_programs.NEEDED)
    assert postgres_programs.find_programs(preferred=found.major) == found


def test_a_copy_of_the_programs_works_and_is_made_once(tmp_path: Path) -> None:
    majors = {tools.major: tools for tools in map(programs.examine, programs.in_the_wheel()) if tools}
    assert majors, "the extra `sandbox` brings a PostgreSQL"
    first = postgres_programs.copy_programs(majors[max(majors)], to=tmp_path)
    inode = first.directory.stat().st_ino
    assert postgres_programs.copy_programs(majors[max(majors)], to=tmp_path) == first
    assert first.directory.stat().st_ino == inode
    answer = subprocess.run([first.directory / "psql", "--version"], capture_output=True, text=True, check=True)
    assert f" {first.major}." in answer.stdout
    assert all(path.stat().st_mode & 0o005 for path in (tmp_path / first.directory).iterdir())


@pytest.mark.parametrize(
    ("answer", "version"),
    [("ipfs version 0.43.0", "0.43.0"), ("ipfs-cluster-service version 1.1.6+git0", "1.1.6"), ("what?", "")],
)
def test_versions_are_read_from_what_programs_say(tmp_path: Path, answer: str, version: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o700)
    assert binaries._version(program) == version


def test_wrong_versions_on_path_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in binaries.NEEDED:
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} version 0.1.0\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert binaries._on_path() == tmp_path
    assert binaries._right_ones(tmp_path) is None


def test_without_go_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])  # nor a wheel with one
    with pytest.raises(ConfigError, match="there is no Go"):
        go_build.find_go()


@pytest.mark.parametrize("version", ["1.21.3", "1.26.4", "1.27.0", "1.27.3"])
def test_a_go_of_another_version_is_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    (tmp_path / "go").write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    (tmp_path / "go").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigError, match="there is no Go"):
        go_build.find_go()


def test_both_go_modules_are_pinned() -> None:
    for module in go_build.MODULES:
        directory = Path(go_build.__file__).parent / "go" / module
        assert "\ntool " in (directory / "go.mod").read_text()
        assert (directory / "go.sum").stat().st_size > 10_000
    texts = [(Path(go_build.__file__).parent / "go" / m / "go.mod").read_text() for m in go_build.MODULES]
    assert f"github.com/ipfs/kubo v{binaries.KUBO} " in texts[0]
    assert f"github.com/ipfs-cluster/ipfs-cluster v{binaries.CLUSTER} " in texts[1]


@pytest.mark.parametrize(
    ("text", "size"), [("50MB", 50_000_000), ("1.5 gb", 1_500_000_000), ("2000", 2000), ("1KB", 1000), ("3 B", 3)]
)
def test_sizes(text: str, size: int) -> None:
    assert sample.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1MB", "1XB", "MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="not a size"):
        sample.parse_size(text)


def test_the_same_seed_gives_the_same_rows() -> None:
    one, same, other = (sample_rows.Sample(size=300_000, seed=seed) for seed in (1, 1, 2))
    for table in sample_rows.TYPES:
        first, again, different = (str([repr(row) for row in s.rows(table)]) for s in (one, same, other))
        assert first == again
        assert first != different


@pytest.mark.parametrize("size", [0, 1000, 100_000, 3_000_000])
def test_samples_have_about_the_wanted_size(size: int) -> None:
    files = [row[-1] for row in sample_rows.Sample(size=size, seed=5).rows("loc_file")]
    assert size * 0.9 <= sum(map(len, files)) <= size * 0.9 + 2_001


def test_documents_compress_as_pdfs_do() -> None:
    document = sample_rows._document(Random(1), 500_000)
    assert 0.7 < len(zlib.compress(document)) / len(document) < 0.9
