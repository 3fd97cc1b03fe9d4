"""The user's state directory, far from the cluster and Airflow: what one command leaves there for a later one."""

import os
from pathlib import Path
from urllib.parse import quote


def place(database: str, *whose: str, kind: str) -> Path:
    """Of a database's file of that kind. `whose`: the identities that tell it from those of other configurations."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "pgkeep" / ".".join([quote(database, safe=""), *whose, kind, "json"])


def write(path: Path, content: bytes) -> None:
    """For its user only, whole or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
