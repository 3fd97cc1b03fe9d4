"""A backup that is stored and checked, but not recorded yet: what a later `pgkeep backup --resume` goes on from.

Airflow keeps such records itself. The file holds names, sizes and digests, no secrets and no data.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pgkeep import records
from pgkeep.errors import ConfigError
from pgkeep.model import Sealed


@dataclass(frozen=True, slots=True)
class Pending:
    """At most one unfinished backup of that database, in the user's state directory."""

    database: str

    @property
    def path(self) -> Path:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        return state / "pgkeep" / f"{quote(self.database, safe='')}.sealed.json"

    def read(self) -> Sealed:
        """Raises ConfigError: there is none. Raises Corrupted: it is something else."""
        try:
            return records.from_bytes(Sealed, self.path.read_bytes())
        except FileNotFoundError:
            raise ConfigError(
                f"no unfinished backup of {self.database} is known here",
                next_step=f"make a new one: pgkeep backup {self.database} --full",
            ) from None

    def write(self, sealed: Sealed) -> None:
        """Keeps it for its user only, whole or not at all."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(records.to_bytes(sealed))
        new.replace(self.path)

    def forget(self) -> None:
        """It is recorded now."""
        self.path.unlink(missing_ok=True)
