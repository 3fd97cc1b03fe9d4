"""What an audit has found and done, gathered on the way."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from pgkeep.audit.report import Problem, Repair
from pgkeep.audit.standing import Held, Kept
from pgkeep.copies import askable, holding
from pgkeep.errors import Unavailable
from pgkeep.ports import Holder, Vault

log = logging.getLogger(__name__)

BRING_BACK = "bring the missing peers back, then audit again"


@dataclass(kw_only=True)
class Findings:
    """`copies`: as many as there are to be of each object."""

    copies: int
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def repaired(self, held: Held, how: str) -> None:
        """A copy is whole again, and was read back; `how`: what was done."""
        kept = held.kept
        log.info("%s: %s, and read back whole", held, how)
        self.repairs.append(Repair(about=kept.wanted.name, cid=kept.cid, peer=held.place.name, how=how))

    def wrong(self, kept: Kept, what: str, *, next_step: str, lost: bool = False) -> None:
        """An object is damaged somewhere; `lost`: no whole copy is left."""
        about = str(kept.wanted)
        self.problems.append(
            Problem(kind="Corrupted", about=about, what=what, next_step=next_step, cid=kept.cid, lost=lost)
        )

    def too_few(self, kept: Kept, what: str, holders: Sequence[Holder], *, next_step: str) -> None:
        """An object has too few copies that count; `holders`: what the cluster says of it."""
        said = {holder.name: holder.status for holder in holders}
        who = ", ".join(f"{name}: {status}" for name, status in sorted(said.items()))
        self.problems.append(
            Problem(
                kind="NotReplicated",
                about=str(kept.wanted),
                what=f"{what} ({who})",
                next_step=next_step,
                cid=kept.cid,
                have=len(holding(holders)),
                want=self.copies,
                holders=said,
            )
        )


def bring_back(holders: Sequence[Holder], vault: Vault) -> str:
    """What brings claims back. Bytes that were read are no copy that the cluster would keep."""
    try:
        places = askable(vault)
    except Unavailable:
        return BRING_BACK
    deaf = sorted(holder.name for holder in holders if holder.wanted and holder.unsaid and holder.peer in places)
    return f"start the cluster daemon of {', '.join(deaf)} (its Kubo answers), then audit again" if deaf else BRING_BACK
