"""How far each journal had come, as Airflow remembers it.

What cannot be remembered is said in a log, and fails nothing; but who asks is told when that cannot be read: none is
not the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgkeep.airflow import variables
from pgkeep.airflow.variables import quietly
from pgkeep.errors import Unavailable
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
        """The highest version that was seen, or None."""
        return quietly(lambda: variables.read(Seen, self.key), f"the journal of {self.slug}")

    def recall(self) -> Sequence[Recollection]:
        """Raises Unavailable: what is remembered cannot be read."""
        where = f"Airflow's Variable {self.key}"
        try:
            seen = variables.read(Seen, self.key)
        except Exception as error:
            raise Unavailable(
                f"{where} cannot be read ({type(error).__name__}), so an older journal would not be noticed",
                next_step="see that Airflow's database answers; if the Variable was changed by hand, remove it",
            ) from error
        if seen is None:
            return self.further
        return (Recollection(seen=seen, where=where, forget=f"remove {where}"), *self.further)

    def keep(self, seen: Seen) -> None:
        about = "How far pgkeep has seen this journal. An older one is refused; remove this to accept one."
        found = later(self.seen(), seen)
        quietly(lambda: variables.write(self.key, found, about), f"the journal of {self.slug}")
