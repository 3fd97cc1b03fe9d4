"""Where a sandbox keeps things, what it remembers between two commands, and who may change it now.

    HOME/env  pgkeep.toml  pgpass      what a user reads (see `user_files.py`)
    HOME/state.json                    ports, passwords, fingerprints: chosen once, kept by every later `up`
    HOME/run/NAME.json  run/NAME/      the process that runs as NAME, and the directory it was started in
    HOME/logs/NAME.log
    HOME/gnupg  peers/N  airflow       what the servers keep
    HOME/postgres/NAME                 the databases; elsewhere if another user must own them (`postgres_servers.py`)

Every file is 0600 and every directory 0700, from the moment it is made.
"""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pgkeep.errors import ConfigError

Report = Callable[[str], None]


def default_home() -> Path:
    """The sandbox of this user: `$XDG_DATA_HOME/pgkeep/sandbox`, or the same below `~/.local/share`."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "pgkeep/sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a sandbox remembers. Contains passwords: `repr` does not show them, the file is 0600."""

    ports: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    fingerprints: dict[str, str] = field(default_factory=dict)
    airflow: bool = False
    postgres_programs: str = ""
    postgres_major: int = 0
    postgres_data: str = ""
    postgres_user: str = ""
    ipfs_programs: str = ""
    agent_sockets: str = ""

    def with_ports(self, ports: dict[str, int]) -> "State":
        return replace(self, ports=self.ports | ports)

    def with_secrets(self, *names: str) -> "State":
        """The same state with a random secret (64 hex digits) for every name that has none yet."""
        return replace(self, secrets={name: secrets.token_hex(32) for name in names} | self.secrets)


def make_private_directory(path: Path) -> Path:
    """Makes `path` (0700) and its missing parents (0700, too); what exists stays as it is."""
    for parent in reversed(path.parents):
        parent.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Replaces `path` by `text`, whole or not at all, readable by its owner only."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def load_state(home: Path) -> State:
    """What the sandbox in `home` remembers; the empty state if there is none yet. Raises ConfigError if unreadable."""
    try:
        text = (home / "state.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise not_usable(home, error) from error
    try:
        return State(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{home / 'state.json'} is not the state of a sandbox of this version ({type(error).__name__})",
            next_step=f"choose another --home, or remove {home} if nothing in it matters",
        ) from error


def not_usable(home: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the sandbox's directory {home} cannot be used: {error.strerror}",
        next_step="choose another with --home, or act as the user to whom it belongs",
    )


def save_state(home: Path, state: State) -> None:
    write_private(home / "state.json", json.dumps(asdict(state), indent=1))


@contextmanager
def locked(home: Path, report: Report) -> Iterator[None]:
    """Only one command changes a sandbox at a time; the next one says so and waits. Ends with the process, too.

    Meanwhile this process's umask is 077: GnuPG and others that we start make files of their own.
    """
    try:
        make_private_directory(home)
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise not_usable(home, error) from error
    umask = os.umask(0o077)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"another command is working on {home}: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
        os.umask(umask)


def digest(*parts: object) -> str:
    """A short name for a configuration: the same parts give the same digest."""
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:32]
