"""What can go wrong.

    PgkeepError
    ├── ConfigError       a setting is missing, or contradicts another      you      exit 3
    ├── Unavailable       a system did not answer; a retry may help         nobody   exit 4
    │   ├── Disturbed         somebody was in the way; again at once        nobody   exit 4
    │   ├── JournalMovedOn    another writer was faster; start again        nobody   exit 4
    │   └── LogUnavailable    the log of changes; a full backup needs none  nobody   exit 4
    ├── NotReplicated     fewer copies than asked, so far                   nobody   exit 5
    ├── Corrupted         bytes or journal disagree with the record         you, now exit 6
    ├── NotRestorable     no plan reaches that point                        you      exit 7
    └── Overdue           what has to happen now and then has not           you      exit 8

Anything else that escapes is a bug of pgkeep (exit 1). Each error says what happened and why, and ends with what to
do next. They are translated in two places only: the command line and `pgkeep.airflow.outcomes`.
"""

from collections.abc import Mapping
from typing import ClassVar

LISTED = "`pgkeep list NAME`, or the page Backups in Airflow, shows them"
"""Where entries are seen. What both doors may raise says `entry N`, `stale`, `replace`: words that both know."""


class PgkeepError(Exception):
    """What happened (one sentence), and what to do next. `transient`: the same call may succeed later."""

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __init__(self, what: str, *, next_step: str) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what.rstrip('.')}. Next: {self.next_step}"


class ConfigError(PgkeepError):
    """A setting is missing, wrong, or contradicts another; all of them are listed."""

    exit_code = 3


class Unavailable(PgkeepError):
    """A system outside did not answer, or answered that it cannot now."""

    exit_code = 4
    transient = True


class Disturbed(Unavailable):
    """Somebody was in the way at that very moment, by rewriting a table, say. Nothing was stored; the next may do."""


class JournalMovedOn(Unavailable):
    """Another writer appended to the journal first. Nothing was written; the run starts again."""


class LogUnavailable(Unavailable):
    """The log from which changes are collected is not there, or cannot be read. A full backup needs none."""


class NotReplicated(PgkeepError):
    """Fewer distinct peers hold an object than asked. `holders`: what each peer says of it."""

    exit_code = 5
    transient = True

    def __init__(self, what: str, *, next_step: str, have: int, want: int, holders: Mapping[str, str]) -> None:
        super().__init__(what, next_step=next_step)
        self.have = have
        self.want = want
        self.holders = dict(holders)


class Corrupted(PgkeepError):
    """Bytes, or the journal, are not what was recorded. Never retried: somebody has to look."""

    exit_code = 6


class NotRestorable(PgkeepError):
    """No recovery plan reaches the wanted point."""

    exit_code = 7


class Overdue(PgkeepError):
    """What has to happen now and then has not: a backup, a drill, an audit, a new key. Nothing is damaged."""

    exit_code = 8
