"""How far each journal had come, as Airflow remembers it.

What cannot be remembered is said in a log, and fails nothing; but who asks is told when that cannot be read: none is
not the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgkeep.airflow import variables
from pgkeep.airflow.turns import alone
from pgkeep.airflow.variables import quietly
from pgkeep.errors import Corrupted, Unavailable
from pgkeep.freshness import Recollection, Seen, later

SEEN = "pgkeep_seen__"


@dataclass(frozen=True, slots=True)
class JournalMemory:
    """A `freshness.Memory` in a Variable, and what else is known of the journal of that database (by its slug)."""

    slug: str
    further: tuple[Recollection, ...] = ()

    @property
    def key(self) -> str:
        return f"{SEEN}{self.slug}"

    def seen(self) -> Seen | None:
        """The highest version that was seen, or None. Raises Unavailable: that cannot be read."""
        try:
            return variables.read(Seen, self.key)
        except Corrupted as error:
            raise Unavailable(
                f"Airflow's Variable {self.key} cannot be read: {error.what}",
                next_step="if it was changed by hand, remove it",
            ) from error

    def recall(self) -> Sequence[Recollection]:
        """Raises Unavailable: what is remembered cannot be read, so an older journal would not be noticed."""
        seen, where = self.seen(), f"Airflow's Variable {self.key}"
        if seen is None:
            return self.further
        return (Recollection(seen=seen, where=where, forget=f"remove {where}"), *self.further)

    def keep(self, seen: Seen) -> None:
        """Unless what is remembered cannot be read: it may be more. Of two hosts that keep one at the same moment,
        the lower may stay, until the next look.
        """
        quietly(lambda: self._keep(seen), f"the journal of {self.slug}")

    def _keep(self, seen: Seen) -> None:
        about = "How far pgkeep has seen this journal. An older one is refused; remove this to accept one."
        with alone(f"journal-{self.slug}"):
            variables.write(self.key, later(self.seen(), seen), about)
