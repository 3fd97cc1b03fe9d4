"""How far a journal had come when `pgkeep check` last looked: a file of its user, far from the cluster and Airflow."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pgkeep import records
from pgkeep.errors import Corrupted, Unavailable
from pgkeep.freshness import Recollection, Seen
from pgkeep.model import KeyFingerprint

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A `Memory` in the user's state directory. `node`: whose database of that name; another vault has another node."""

    database: str
    node: KeyFingerprint

    @property
    def path(self) -> Path:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        return state / "pgkeep" / f"{quote(self.database, safe='')}.{self.node[-16:]}.seen.json"

    def recall(self) -> Sequence[Recollection]:
        """Raises Unavailable: there is something, and it cannot be read."""
        try:
            seen = records.from_bytes(Seen, self.path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, Corrupted) as error:
            raise Unavailable(
                f"{self.path} cannot be read, so an older journal would not be noticed: {error}",
                next_step="let this user read it; if it is damaged, remove it",
            ) from error
        return (Recollection(seen=seen, where=str(self.path), forget=f"remove {self.path}"),)

    def keep(self, seen: Seen) -> None:
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(records.to_bytes(seen))
            new.replace(self.path)
        except OSError as error:
            log.warning("%s cannot be written, so an older journal would not be noticed: %s", self.path, error)
