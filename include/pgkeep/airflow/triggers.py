"""Waiting for copies, beside all the others who wait: a trigger of Airflow's triggerer holds no worker slot."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pgkeep import backup, records
from pgkeep.airflow.hooks import SiteHook
from pgkeep.errors import PgkeepError
from pgkeep.model import Sealed
from pgkeep.ports import Vault

log = logging.getLogger(__name__)

LONGEST_PAUSE = 600.0
"""Seconds. A peer whose pin is there but whose bytes are wrong is read anew by each look of a worker."""


class ReplicationTrigger(BaseTrigger):
    """Fires when the cluster claims `copies` copies of every part, or when `deadline` (seconds of the epoch) is over.

    A claim is no proof: the task then reads the bytes. `pause`: seconds before the first look, twice as many before
    each further one. `sealed`: the encoded record. The event hands deadline and next pause back, and in `refused`
    why this process cannot look (it lacks the configuration, say): then it fires at once, and a worker looks instead.
    """

    def __init__(self, *, sealed: dict[str, Any], copies: int, deadline: float, pause: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sealed = sealed
        self.copies = copies
        self.deadline = deadline
        self.pause = pause

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {"sealed": self.sealed, "copies": self.copies, "deadline": self.deadline, "pause": self.pause}
        return f"{__name__}.{type(self).__name__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        pause, claimed, refused = self.pause, False, ""
        while not claimed and not refused and (left := self.deadline - time.time()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                await asyncio.to_thread(self._look)
                claimed = True
            except PgkeepError as error:
                log.info("%s", error)
                refused = "" if error.transient else str(error)
        event = {"deadline": self.deadline, "pause": pause, "refused": refused}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    def _look(self) -> None:
        """A pin that could not be written while peers were missing is written now. Raises NotReplicated, ..."""
        sealed, vault = records.decode(Sealed, self.sealed), self.vault()
        backup.ask(sealed, vault, copies=self.copies)
        backup.require_claims(sealed, vault, copies=self.copies)

    def vault(self) -> Vault:
        """The cluster as this process sees it. Raises ConfigError."""
        return SiteHook().vault()
