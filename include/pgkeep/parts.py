"""The parts of one backup on their way into this node's own peer."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pgkeep.errors import PgkeepError
from pgkeep.meter import Meter
from pgkeep.model import Backup, Kind, Link, Origin, Part, PartName, Stored, Totals
from pgkeep.pin_names import part_name
from pgkeep.ports import Audience, Sealer, Snapshot, Vault

log = logging.getLogger(__name__)

AUDIENCES: Mapping[PartName, Audience] = {
    "dump": "backup",
    "globals": "backup",
    "changes": "backup",
    "inventory": "journal",
    "ancestry": "journal",
}


@dataclass(kw_only=True)
class Parts:
    """Seals and stores one part after the other. `number`: the version of the journal that is to name them."""

    database: str
    kind: Kind
    number: int
    sealer: Sealer
    vault: Vault
    stored: list[Part] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def store(self, name: PartName, chunks: Iterator[bytes]) -> None:
        """Raises what `chunks`, the sealer and the vault raise; then nothing of that part is left."""
        plain = Meter(chunks)
        cipher = Meter(self.sealer.seal(plain, audience=AUDIENCES[name]))
        pin = part_name(self.database, kind=self.kind, number=self.number, part=name)
        cid = self.vault.add(cipher, name=pin)
        self.stored.append(
            Part(
                name=name,
                cid=cid,
                size=cipher.size,
                digest=cipher.digest,
                plain_size=plain.size,
                plain_digest=plain.digest,
            )
        )

    @contextmanager
    def or_nothing(self) -> Iterator[None]:
        """What goes wrong in the block leaves no part behind.

        Litter is swept later anyway: what cannot be let go now must not hide why the backup failed.
        """
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Lets go of what was stored."""
        self.let_go(self.stored)
        self.stored.clear()

    def let_go(self, parts: Iterable[Part]) -> None:
        """Lets go of parts that no journal names."""
        for part in parts:
            try:
                self.vault.drop(part.cid)
            except PgkeepError as error:
                log.warning("%s stays in the own peer until it is swept: %s", part.cid, error)

    def sum_up(
        self, snapshot: Snapshot, *, origin: Origin, totals: Totals | None = None, link: Link | None = None
    ) -> Stored:
        """The record of all that was stored of that moment."""
        return Stored(
            backup=Backup(
                database=self.database,
                kind=self.kind,
                number=self.number,
                cut=snapshot.cut,
                server_version=snapshot.server_version,
                parts=tuple(self.stored),
                totals=totals,
                link=link,
                origin=origin,
                seconds=round(time.monotonic() - self.started, 3),
            )
        )
