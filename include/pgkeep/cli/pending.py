"""A backup that is stored and checked, but not recorded yet: what a later `pgkeep backup --resume` goes on from.

Airflow keeps such records itself. The file holds names, sizes and digests, no secrets and no data.
"""

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pgkeep import records
from pgkeep.cli import state_files
from pgkeep.errors import ConfigError, Corrupted
from pgkeep.model import KeyFingerprint, Kind, PeerId, Sealed
from pgkeep.site import Site

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """The unfinished backups of that database by that node, which are stored in that peer: at most one of each kind.

    `readers`: the keys for which backups are encrypted now.
    """

    database: str
    node: KeyFingerprint
    peer: PeerId
    readers: frozenset[KeyFingerprint]

    def path(self, kind: Kind) -> Path:
        """Where one of that kind is noted."""
        return state_files.place(self.database, self.node[-16:], self.peer[-8:], kind=f"{kind}.sealed")

    def read(self) -> Sealed:
        """The full one if there is one, for it took longer. Raises ConfigError: none is there for the keys of now."""
        path = next((path for kind in get_args(Kind) if os.path.exists(path := self.path(kind))), None)  # noqa: PTH110
        if path is None:
            raise self._none(f"no unfinished backup of {self.database} is known here")
        try:
            sealed = records.from_bytes(Sealed, path.read_bytes())
        except (Corrupted, OSError) as error:
            raise ConfigError(f"{path} is no note of a backup: {error}", next_step="remove that file") from error
        if frozenset(sealed.recipients) != self.readers:
            raise self._none(f"the unfinished backup of {self.database} is not encrypted for the keys configured now")
        return sealed

    def write(self, sealed: Sealed) -> bool:
        """Keeps it for its user only, whole or not at all, and says whether it could. A backup does not fail for want
        of a note about it.
        """
        try:
            state_files.write(path := self.path(sealed.backup.kind), records.to_bytes(sealed))
        except OSError as error:
            log.warning("%s cannot be written (%s): this backup cannot be gone on with", path, error.strerror)
            return False
        return True

    def forget(self, sealed: Sealed) -> None:
        """It is recorded now."""
        with contextlib.suppress(OSError):
            self.path(sealed.backup.kind).unlink()

    def _none(self, why: str) -> ConfigError:
        return ConfigError(why, next_step=f"make a new one: pgkeep backup {self.database}")


def pending(site: Site) -> Pending:
    """That of this very node, peer and keys: another configuration has another. Raises Unavailable, ConfigError."""
    return Pending(site.database.name, site.sealer.signer, site.vault.own().peer, site.sealer.readers("backup"))
