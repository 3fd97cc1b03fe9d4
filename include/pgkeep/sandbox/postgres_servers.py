"""The PostgreSQL servers of a sandbox: `source`, `scratch`, and with Airflow `metadata`.

TCP on 127.0.0.1 only and no Unix socket; scram passwords; `wal_level=logical`; role `pgkeep` is the superuser.
PostgreSQL refuses to run as root: started by root, it runs as the user `postgres`, or else `nobody`. That user must
reach its data, so they are below the sandbox's home only if the home's parents let it through, else in `/var/lib`.
"""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pgkeep.adapters.postgres.programs import Tools
from pgkeep.errors import ConfigError, Unavailable

from . import processes
from .place import State, digest, make_private_directory
from .postgres_programs import copy_programs
from .processes import Server, inherited_environment

ROLE = "pgkeep"
SECONDS = 300.0  # recovery after a crash takes its time
SHARED_PLACE = Path("/var/lib/pgkeep-sandbox")
SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "100",
    "max_replication_slots": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who runs the servers. `uid` is None when that is the present user."""

    uid: int | None = None
    gid: int | None = None

    def run(self, *argv: str | Path, directory: Path) -> "subprocess.CompletedProcess[str]":
        """Runs a short program as this user; `directory` is where it runs. Never raises for its exit code."""
        return subprocess.run(
            argv,
            cwd=directory,
            env=inherited_environment() | {"LC_ALL": "C", "HOME": str(directory)},
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def reaches(self, directory: Path) -> bool:
        return self.uid is None or self.run("test", "-x", directory, directory=Path("/")).returncode == 0


def find_owner() -> Owner:
    """The present user; for root an unprivileged one. Raises ConfigError if the system has none."""
    if os.geteuid() != 0:
        return Owner()
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(uid=user.pw_uid, gid=user.pw_gid)
    raise ConfigError(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody`",
        next_step="run pgkeep as an ordinary user, or: useradd --system postgres",
    )


def choose_data(home: Path, owner: Owner) -> Path:
    """The directory for all data directories: in `home` where `owner` can reach it, else below /var/lib."""
    inside = make_private_directory(home / "postgres")
    if owner.uid is None:
        return inside
    for directory in (home, inside):
        directory.chmod(0o711)  # to walk through, not to look around; what matters in it is 0600 and 0700
    if owner.reaches(inside):
        return inside
    shared = SHARED_PLACE / hashlib.sha256(str(home).encode()).hexdigest()[:12]
    for directory in (SHARED_PLACE, shared):
        directory.mkdir(mode=0o711, exist_ok=True)
        directory.chmod(0o711)
    return shared


def reachable_programs(programs: Tools, owner: Owner) -> Tools:
    """The same programs, copied to /var/lib when they lie where `owner` may not look (root's own environment)."""
    if owner.uid is None or owner.reaches(programs.directory):
        return programs
    SHARED_PLACE.mkdir(mode=0o711, exist_ok=True)
    return copy_programs(programs, to=SHARED_PLACE)


def initialise(data: Path, programs: Tools, owner: Owner, *, password: str) -> None:
    """Makes the data directory unless it is there; never leaves half of one. Raises Unavailable if initdb fails."""
    if (data / "PG_VERSION").exists():
        return _check_version(data, programs)
    staging = Path(tempfile.mkdtemp(prefix=f".{data.name}.", dir=data.parent))
    try:
        _hand_over(staging, owner)
        password_file = staging / "password"
        with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
        _hand_over(password_file, owner)
        _run_initdb(staging / "data", password_file, programs, owner)
        (staging / "data").rename(data)
    finally:
        shutil.rmtree(staging)


def _hand_over(path: Path, owner: Owner) -> None:
    if owner.uid is not None and owner.gid is not None:
        os.chown(path, owner.uid, owner.gid)


def _check_version(data: Path, programs: Tools) -> None:
    made_by = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    if made_by != str(programs.major):
        raise ConfigError(
            f"{data} was made by PostgreSQL {made_by}, and the newest here is {programs.major}",
            next_step=f"install PostgreSQL {made_by} again, or start a new sandbox with another --home",
        )


def _run_initdb(data: Path, password_file: Path, programs: Tools, owner: Owner) -> None:
    flags = ("--encoding=UTF8", "--locale=C", "--data-checksums", "--auth=scram-sha-256", f"--username={ROLE}")
    result = owner.run(
        programs.directory / "initdb", *flags, f"--pwfile={password_file}", "-D", data, directory=data.parent
    )
    if result.returncode != 0:
        last_line = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"initdb failed in {data.parent.parent}: {last_line}", next_step="mend that, then repeat")
    descriptor = os.open(data / "postgresql.auto.conf", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())


def server(name: str, state: State, owner: Owner, *, logs: Path) -> Server:
    """How the server `name` is started. Its settings can be changed by ALTER SYSTEM, its address cannot."""
    data = Path(state.postgres_data) / name
    port = state.ports[name]
    address = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    argv = [str(Path(state.postgres_programs) / "postgres"), "-D", str(data)]
    for setting, value in address.items():
        argv += ["-c", f"{setting}={value}"]
    return Server(
        name=name,
        argv=argv,
        directory=data,
        log=logs / f"{name}.log",
        environment={"LC_ALL": "C", "TZ": "UTC"},
        configuration=digest(argv),
        user=owner.uid,
        group=owner.gid,
        stop_signal=signal.SIGINT,  # "fast": ends the sessions, then writes a checkpoint
        grace=120.0,
        address=f"postgresql://{ROLE}@127.0.0.1:{port}",
    )


def conninfo(name: str, state: State, *, dbname: str = "postgres") -> str:
    """What `psycopg.connect` needs to reach the server as its superuser. Contains the password."""
    return psycopg.conninfo.make_conninfo(
        hostaddr="127.0.0.1",  # unlike `host`, not changed by PGHOSTADDR
        sslmode="disable",
        port=state.ports[name],
        user=ROLE,
        password=state.secrets[name],
        dbname=dbname,
        connect_timeout=5,
    )


def start(home: Path, state: State, name: str, owner: Owner) -> list[str]:
    """Makes and starts one server, and returns when it answers; its name if it had to be started."""
    run, this = home / "run", server(name, state, owner, logs=home / "logs")
    programs = Tools(directory=Path(state.postgres_programs), major=state.postgres_major)
    initialise(this.directory, programs, owner, password=state.secrets[name])
    started = not processes.is_current(run, this)
    if started:
        processes.stop(run, this)
        _remove_stale_lock(this.directory)
        processes.start(run, this)
    processes.wait_until(lambda: _answers(name, state), run, this, seconds=SECONDS)
    return [name] if started else []


def _remove_stale_lock(data: Path) -> None:
    """Removes what a killed server left, if its shared memory is gone or nobody is attached to it.

    PostgreSQL makes the same test, but before that it refuses to start if *any* process now has the old one's number.
    """
    lock = data / "postmaster.pid"
    try:
        memory = lock.read_text(encoding="utf-8").splitlines()[6].split()[1]
    except (OSError, IndexError):
        return
    segments = Path("/proc/sysvipc/shm")
    if segments.exists() and not any(
        words[1] == memory and words[6] != "0" for words in map(str.split, segments.read_text().splitlines()[1:])
    ):
        lock.unlink()


def _answers(name: str, state: State) -> bool:
    """Whether the server accepts connections now. Raises ConfigError if it refuses the password."""
    try:
        psycopg.connect(conninfo(name, state)).close()
    except psycopg.OperationalError as error:
        # It has no SQLSTATE, for there is no connection; and a server that goes away then had asked for one, too. (Ours
        # speaks English: LC_ALL=C.)
        if "password authentication failed" in str(error):
            raise ConfigError(
                f"the {name} server does not accept the sandbox's password: it was changed, or another server answers",
                next_step="give role pgkeep its password again, or start a new sandbox with another --home",
            ) from error
        return False
    return True
