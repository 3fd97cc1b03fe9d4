"""Throw-away OpenPGP keys: two recipients who can read backups, and this node's own key, which signs them.

The agent's socket lies in a short private directory wherever the keyring's own path would be too long for one
(libassuan accepts 106 bytes); the keyring points there by GnuPG's socket redirection files.
"""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import gnupg

from pgkeep.adapters.openpgp.programs import LONGEST_SOCKET_PATH
from pgkeep.errors import ConfigError, Unavailable

from .place import make_private_directory, write_private

NAMES = ("node", "recipient-1", "recipient-2")
LIFETIME = "5y"
SOCKETS = ("S.gpg-agent", "S.gpg-agent.extra", "S.gpg-agent.browser", "S.gpg-agent.ssh")


def provide_keys(home: Path) -> Mapping[str, str]:
    """Fingerprints by name; the keys are made if they are missing.

    Raises ConfigError without GnuPG, Unavailable if it cannot make them.
    """
    keyring = _open(home)
    have = _fingerprints(keyring)
    for name in NAMES:
        if name not in have:
            have[name] = _generate(keyring, name)
    return have


def _open(home: Path) -> gnupg.GPG:
    if not shutil.which("gpg"):
        raise ConfigError("GnuPG is not installed", next_step="apt-get install gnupg, then repeat")
    return gnupg.GPG(gnupghome=str(home))


def _address(name: str) -> str:
    return f"{name}@sandbox.invalid"


def _fingerprints(keyring: gnupg.GPG) -> dict[str, str]:
    keys = keyring.list_keys(secret=True)
    return {name: key["fingerprint"] for name in NAMES for key in keys if f"<{_address(name)}>" in "".join(key["uids"])}


def _generate(keyring: gnupg.GPG, name: str) -> str:
    wanted = keyring.gen_key_input(
        key_type="EDDSA",
        key_curve="ed25519",
        key_usage="sign",
        subkey_type="ECDH",
        subkey_curve="cv25519",
        subkey_usage="encrypt",
        name_real=f"pgkeep sandbox {name}",
        name_email=_address(name),
        expire_date=LIFETIME,
        no_protection=True,
    )
    made = keyring.gen_key(wanted)
    if not made.fingerprint:
        raise Unavailable(
            f"GnuPG made no key for {name} in {keyring.gnupghome} (exit code {made.returncode}): {made.stderr[-200:]}",
            next_step="mend what GnuPG says (2.2 or newer is needed), then repeat",
        )
    return str(made.fingerprint)


def prepare_keyring(home: Path, *, sockets: str) -> str:
    """Makes the keyring's directory and sees that its agent can have sockets.

    `sockets` is the directory that an earlier call returned, or "". Returns the one in use now; "" is GnuPG's own.
    """
    make_private_directory(home)
    write_private(home / "gpg-agent.conf", "disable-scdaemon\n")
    longest = max(len(str(home / name).encode()) for name in SOCKETS)
    if longest <= LONGEST_SOCKET_PATH or _own_socket_directory(home) != home:
        return ""
    if not (sockets and _is_private(Path(sockets))):
        sockets = tempfile.mkdtemp(prefix="pgkeep-gpg-")
    for name in SOCKETS:
        write_private(home / name, f"%Assuan%\nsocket={Path(sockets) / name}\n")
    return sockets


def _own_socket_directory(home: Path) -> Path:
    """Where GnuPG wants its sockets: /run/user/UID/gnupg/... if the system has it, else the keyring's directory."""
    answer = subprocess.run(
        ["gpgconf", "--homedir", home, "--list-dirs", "socketdir"], capture_output=True, text=True, check=False
    )
    # GnuPG escapes some characters in its answer (":" and "%"); such a path is never a short one of its own.
    return Path(answer.stdout.strip()) if answer.stdout.startswith("/run/") else home


def _is_private(directory: Path) -> bool:
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700 and found.st_uid == os.geteuid()


def stop_agent(home: Path, *, sockets: str) -> None:
    """Ends the keyring's agent, if there is one, and removes its short directory."""
    if home.is_dir() and shutil.which("gpgconf"):
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True, check=False)
    if sockets:
        shutil.rmtree(sockets, ignore_errors=True)
