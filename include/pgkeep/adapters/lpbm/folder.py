"""A directory with LPBM's files, named by their CIDs or as LPBM called them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgkeep.ancestry import LegacyFile
from pgkeep.errors import ConfigError, NotRestorable, Unavailable

from .opener import require_size

CHUNK = 1 << 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The port Archive over a directory. That a file is what its name says, nothing proves."""

    path: Path

    def require(self, files: Sequence[LegacyFile]) -> None:
        """Raises NotRestorable with all that are not there; Corrupted: one that has an impossible size."""
        if not self.path.is_dir():
            raise ConfigError(f"{self.path} is no directory", next_step="name the one with LPBM's files: --files DIR")
        missing = [file for file in files if self._find(file) is None]
        if missing:
            raise self._lacks(missing)
        for file in files:
            if (path := self._find(file)) is not None:
                require_size(path.stat().st_size, name=str(file))

    def read(self, file: LegacyFile) -> Iterator[bytes]:
        """Its bytes. Raises NotRestorable, Unavailable."""
        path = self._find(file)
        if path is None:
            raise self._lacks([file])
        return read_path(path)

    def _find(self, file: LegacyFile) -> Path | None:
        candidates = (self.path / file.cid, self.path / file.name)
        return next((path for path in candidates if path.is_file()), None)

    def _lacks(self, missing: Sequence[LegacyFile]) -> NotRestorable:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return NotRestorable(
            f"{self.path} lacks {', '.join(map(str, missing[:5]))}{more}",
            next_step="put them there, named by CID (ipfs get CID) or as LPBM called them; nothing was begun",
        )


def read_path(path: Path) -> Iterator[bytes]:
    """The bytes of a file. Raises Unavailable."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be read: {error.strerror}", next_step="mend that, then run it again"
        ) from error
