"""Whose answer counts, and how it travels."""

from dataclasses import dataclass

from pgkeep import records
from pgkeep.errors import ConfigError, Corrupted
from pgkeep.ports import Sealer

from .model import Approved, Person, Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who may approve. `another`: into production, only somebody else than who asked. `approvers`: ids; empty: all."""

    another: bool
    approvers: tuple[str, ...]

    def require_askable(self, proposal: Proposal, *, triggered_by: str | None) -> None:
        """Raises ConfigError: nobody's answer could count."""
        if not (self.another and proposal.production):
            return
        if not triggered_by:
            raise ConfigError(
                "Airflow does not know who triggered this run, and a restore into production needs approval by "
                "somebody else (approval_by_another)",
                next_step="trigger it in the Airflow UI or by its REST API, with a login",
            )
        if self.approvers and not self.respondents(proposal, triggered_by=triggered_by):
            raise ConfigError(
                f"only {triggered_by} may approve (approvers), and has triggered this run",
                next_step="let somebody else trigger it, or name another of the approvers in pgkeep.toml",
            )

    def respondents(self, proposal: Proposal, *, triggered_by: str | None) -> tuple[str, ...]:
        """The ids that Airflow itself is to let answer; empty: everybody who may answer at all.

        Airflow says by name who triggered a run. Where ids are not names (FAB's are numbers) the asker is not left out
        here; `objection` knows both, so his answer does not count.
        """
        if self.another and proposal.production:
            return tuple(who for who in self.approvers if who != triggered_by)
        return self.approvers

    def objection(self, proposal: Proposal, *, triggered_by: str | None, by: Person | None) -> str | None:
        """Why this person's approval does not count, or None."""
        if by is None:
            return "Airflow does not say who approved"
        if self.approvers and by.id not in self.approvers:
            return f"{by.name} is not among those who may approve ({', '.join(self.approvers)})"
        if not (self.another and proposal.production):
            return None
        if not triggered_by:
            return "Airflow does not say who triggered this run"
        if triggered_by in (by.id, by.name):
            return f"{by.name} has triggered this run, and somebody else has to approve it (approval_by_another)"
        return None


def sealed(approved: Approved, sealer: Sealer) -> bytes:
    """An approval as this node's key vouches for it: who may write what travels between tasks cannot forge it.

    Raises ConfigError, Unavailable.
    """
    return b"".join(sealer.seal(iter([records.to_bytes(approved)]), audience="journal"))


def unsealed(text: bytes, sealer: Sealer, *, run: str) -> Approved:
    """The approval that a node has sealed for that run. Raises Corrupted, ConfigError."""
    approved = records.from_bytes(Approved, b"".join(sealer.open(iter([text]))))
    if approved.run != run:
        raise Corrupted(f"this approval was given to {approved.run}, not to {run}", next_step="trigger a new run")
    return approved
