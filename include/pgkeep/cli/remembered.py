"""How far a journal had come when `pgkeep check` last looked: a file of its user, far from the cluster and Airflow."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgkeep import records
from pgkeep.cli import state_files
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
        return state_files.place(self.database, self.node[-16:], kind="seen")

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
        try:
            state_files.write(self.path, records.to_bytes(seen))
        except OSError as error:
            log.warning("%s cannot be written, so an older journal would not be noticed: %s", self.path, error)
