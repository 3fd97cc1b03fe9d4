"""`pgkeep lpbm` at the command line: where the password comes from, and what is written."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fix_lpbm import PASSWORD, encrypted
from fix_node import pgkeep_program
from pgkeep.cli import main
from unit.test_lpbm_encryption import wrong_padding


def run(arguments: Sequence[str], capfdbinary: pytest.CaptureFixture[bytes]) -> tuple[int, bytes, str]:
    code = main(["lpbm", *arguments])
    said = capfdbinary.readouterr()
    return code, said.out, said.err.decode()


@pytest.fixture
def one(tmp_path: Path) -> Path:
    path = tmp_path / "one.sql.enc"
    path.write_bytes(encrypted(b"SELECT 'secret';\n"))
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    return path


def test_a_file_is_decrypted(one: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    password = str(one.with_name("password"))
    assert run(["decrypt", str(one), "--password-file", password], capfdbinary)[:2] == (0, b"SELECT 'secret';\n")
    out = one.with_name("out.sql")
    assert run(["decrypt", str(one), "-o", str(out), "--password-file", password], capfdbinary)[:2] == (0, b"")
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (b"SELECT 'secret';\n", 0o600)


def test_a_directory_is_no_file_to_write_or_to_find_a_password_in(
    one: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    there = str(one.parent)
    assert (
        f"{there} cannot be read: Is a directory"
        in run(["decrypt", str(one), "-o", "x", "--password-file", there], capfdbinary)[2]
    )
    code, _, said = run(
        ["decrypt", str(one), "-o", there, "--password-file", str(one.with_name("password"))], capfdbinary
    )
    assert (code, f"{there} cannot be written: it is a directory" in said) == (3, True)


def test_nothing_half_done_is_written(
    one: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    one.write_bytes(wrong_padding(b"SELECT 1;\n" * 20_000))
    monkeypatch.setenv("LPBM_PASSWORD", "hunter2")
    code, out, said = run(["decrypt", str(one), "-o", str(one.with_name("out.sql"))], capfdbinary)
    assert (code, out) == (6, b"")
    assert "wrong password, or the file is damaged" in said
    assert "hunter2" not in said
    assert sorted(path.name for path in one.parent.iterdir()) == ["one.sql.enc", "password"]


@pytest.mark.parametrize("password", [None, ""])
def test_a_missing_password_is_said(
    password: str | None, one: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LPBM_PASSWORD", raising=False)
    if password is not None:
        monkeypatch.setenv("LPBM_PASSWORD", password)
    code, _, said = run(["decrypt", str(one), "-o", "out"], capfdbinary)
    assert code == 3
    assert "set LPBM_PASSWORD" in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["list", "nowhere.txt"], 3, "nowhere.txt cannot be read"),
        (["list", "/dev/null"], 3, "names no file"),
        (["decrypt", "nowhere.enc", "-o", "x"], 3, "there is no file nowhere.enc, and it is no CID"),
        (["list", "/"], 3, "/ cannot be read: Is a directory"),
        (["decrypt", "/", "-o", "x"], 3, "/ is a directory, and it is no CID"),
        (["restore", "nowhere.txt", "--into", "postgresql://h/x"], 3, "nowhere.txt cannot be read"),
        (["import", "shop", "--journal", "nowhere.txt"], 3, "nowhere.txt cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(
    arguments: list[str], code: int, says: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    found = run(arguments, capfdbinary)
    assert found[0] == code
    assert says in found[2]


def test_the_password_is_asked_for_where_somebody_sits(one: Path) -> None:
    ours, theirs = os.openpty()
    out = one.with_name("out.sql")
    command = [pgkeep_program(), "lpbm", "decrypt", str(one), "-o", str(out)]
    environ = {name: value for name, value in os.environ.items() if name != "LPBM_PASSWORD"}
    asking = subprocess.Popen(command, env=environ, stdin=theirs, stderr=subprocess.PIPE, start_new_session=True)
    assert asking.stderr is not None
    said = b""
    while not said.endswith(b"password: "):
        said += asking.stderr.read(1)
    os.write(ours, f"{PASSWORD}\n".encode())
    said += asking.communicate()[1]
    assert asking.returncode == 0
    assert out.read_bytes() == b"SELECT 'secret';\n"
    assert PASSWORD.encode() not in said
    for end in (ours, theirs):
        os.close(end)


def test_no_program_inherits_the_password(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPBM_PASSWORD", PASSWORD)
    assert main(["lpbm", "decrypt", str(one), "-o", str(one.with_name("out.sql"))]) == 0
    assert "LPBM_PASSWORD" not in os.environ
