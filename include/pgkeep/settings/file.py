"""The file `pgkeep.toml` itself: reading it, and adding a database to it."""

import fcntl
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pgkeep.errors import ConfigError
from pgkeep.settings.model import Settings, parse

VARIABLE = "PGKEEP_CONFIG"


def load(path: str | Path | None) -> Settings:
    """The settings in that file (the value of PGKEEP_CONFIG). Raises ConfigError."""
    if not path:
        raise ConfigError(
            f"{VARIABLE} is not set", next_step=f"export {VARIABLE}=/path/to/pgkeep.toml (pgkeep sandbox env has one)"
        )
    try:
        return parse(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", next_step=f"correct {VARIABLE}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path} is not TOML: {error}", next_step="mend that line") from error


def add_database(path: str | Path, name: str, own: Mapping[str, str | bool | datetime]) -> None:
    """Appends `[databases.NAME]` with these keys, unless it is there. The old text stays; all in one step.

    Raises ConfigError: the file cannot be written, or would not be valid afterwards.
    """
    path = Path(path)
    lines = [f"\n{section(name)}", *(f"{key} = {_value(value)}" for key, value in own.items())]
    try:
        with _alone(path):
            before = path.read_text(encoding="utf-8")
            if name in tomllib.loads(before).get("databases", {}):
                return  # another `init` was faster
            content = before.rstrip("\n") + "\n" + "\n".join(lines) + "\n"
            parse(tomllib.loads(content))
            _replace(path, content)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", next_step="add to it by hand:\n" + "\n".join(lines)
        ) from error
    except ValueError as error:  # `databases = {..}`, to which no section can be added
        raise ConfigError(
            f"{path} takes no section more ({error})", next_step="add to it by hand:\n" + "\n".join(lines)
        ) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One writer at a time; by its directory, for the file itself is replaced."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _replace(path: Path, content: str) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as new:
        try:
            os.fchmod(new.fileno(), path.stat().st_mode)
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
            Path(new.name).replace(path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise


def section(name: str) -> str:
    """The line that begins a database's section: `[databases.NAME]`."""
    return f"[databases.{name if re.fullmatch(r'[A-Za-z0-9_-]+', name) else _string(name)}]"


def _value(value: str | bool | datetime) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else _string(value)


def _string(value: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
