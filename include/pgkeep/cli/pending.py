"""A backup that is stored and checked, but not recorded yet: what a later `pgkeep backup --resume` goes on from.

Airflow keeps such records itself. The file holds names, sizes and digests, no secrets and no data.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from pgkeep import records
from pgkeep.cli import state_files
from pgkeep.errors import ConfigError
from pgkeep.model import KeyFingerprint, PeerId, Sealed
from pgkeep.site import Site

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """At most one unfinished backup of that database by that node, which is stored in that peer.

    `readers`: the keys for which backups are encrypted now.
    """

    database: str
    node: KeyFingerprint
    peer: PeerId
    readers: frozenset[KeyFingerprint]

    @property
    def path(self) -> Path:
        return state_files.place(self.database, self.node[-16:], self.peer[-8:], kind="sealed")

    def read(self) -> Sealed:
        """Raises ConfigError: there is none, or none for the keys that count now. Raises Corrupted: something else."""
        try:
            sealed = records.from_bytes(Sealed, self.path.read_bytes())
        except FileNotFoundError:
            raise self._none(f"no unfinished backup of {self.database} is known here") from None
        if frozenset(sealed.recipients) != self.readers:
            raise self._none(f"the unfinished backup of {self.database} is not encrypted for the keys configured now")
        return sealed

    def write(self, sealed: Sealed) -> None:
        """Keeps it for its user only, whole or not at all. A backup does not fail for want of a note about it."""
        try:
            state_files.write(self.path, records.to_bytes(sealed))
        except OSError as error:
            log.warning("%s cannot be written (%s): this backup cannot be gone on with", self.path, error.strerror)

    def forget(self) -> None:
        """It is recorded now."""
        self.path.unlink(missing_ok=True)

    def _none(self, why: str) -> ConfigError:
        return ConfigError(why, next_step=f"make a new one: pgkeep backup {self.database} --full")


def pending(site: Site) -> Pending:
    """That of this very node, peer and keys: another configuration has another. Raises Unavailable, ConfigError."""
    return Pending(site.database.name, site.sealer.signer, site.vault.own().peer, site.sealer.readers("backup"))
