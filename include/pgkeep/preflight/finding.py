"""One thing that was looked at, and what it means for the next backup."""

from collections.abc import Iterable
from dataclasses import dataclass

from pgkeep.errors import ConfigError, NotReplicated, Overdue, PgkeepError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `fatal`: it must not stay so; `kind`: that sort of error."""

    about: str
    what: str
    next_step: str = ""
    fatal: bool = False
    kind: type[PgkeepError] = ConfigError

    def __str__(self) -> str:
        mark = "FAILED " if self.fatal else "warning" if self.next_step else "ok     "
        return f"{mark} {self.about}: {self.what}" + (f". Next: {self.next_step}" if self.next_step else "")


def failed(error: PgkeepError, about: str) -> Finding:
    return Finding(about=about, what=error.what, next_step=error.next_step, fatal=True, kind=type(error))


def require_all(findings: Iterable[Finding]) -> None:
    """Raises when findings are fatal: the gravest of their kinds."""
    fatal = [finding for finding in findings if finding.fatal]
    if fatal:
        gravest = max((finding.kind for finding in fatal), key=lambda kind: (kind is not Overdue, kind.exit_code))
        what, step = f"{len(fatal)} checks failed", "mend what is marked FAILED, then: pgkeep check"
        if issubclass(gravest, NotReplicated):
            raise gravest(what, next_step=step, have=0, want=0, holders={})
        raise gravest(what, next_step=step)
