"""What the next backups and restores depend on beside the copies: keys, recipients, room on the peers."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pgkeep.audit.report import Kind, Problem
from pgkeep.errors import PgkeepError
from pgkeep.journal import Journal
from pgkeep.ports import Sealer, Vault
from pgkeep.progress import human_size

NAMED = 5
MORE_ROOM = "give that peer more room"


def surroundings(journal: Journal, sealer: Sealer, vault: Vault) -> Iterator[Problem]:
    """What somebody should see to, or has to."""
    yield from _keys(sealer)
    yield from _recipients(journal, sealer)
    yield from _room(journal, vault)


def _keys(sealer: Sealer) -> Iterator[Problem]:
    try:
        complaints = sealer.problems(datetime.now(UTC))
    except PgkeepError as error:
        yield Problem(kind="ConfigError", about="keys", what=error.what, next_step=error.next_step)
        return
    for found in complaints:
        kind: Kind = "ConfigError" if found.fatal else "notice"
        yield Problem(kind=kind, about="keys", what=found.what, next_step=found.next_step)


def _recipients(journal: Journal, sealer: Sealer) -> Iterator[Problem]:
    """Entries that others can read than those who are to read the next one: a key was added, or given up."""
    wanted = sealer.readers("backup")
    with_parts = [entry for entry in journal.entries if entry.backup.parts]
    for who in sorted(wanted | {key for entry in with_parts for key in entry.recipients}):
        # Whoever is not wanted any more reads what there was; whoever is new does not.
        odd = [entry.sequence for entry in with_parts if (who in entry.recipients) != (who in wanted)]
        if odd:
            what = f"recipient {who} can{'not' if who in wanted else ''} read {_entries(odd)}"
            step = f"pgkeep rekey {journal.database}, where a private key is; or keep the keys that can read them"
            yield Problem(kind="notice", about="recipients", what=what, next_step=step)


def _entries(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:NAMED]))
    more = len(numbers) - NAMED
    return f"{'entry' if len(numbers) == 1 else 'entries'} {named}" + (f" and {more} more" if more > 0 else "")


def _room(journal: Journal, vault: Vault) -> Iterator[Problem]:
    try:
        cramped = too_little_room(journal, vault)
    except PgkeepError as error:
        yield Problem(kind="notice", about="room", what=error.what, next_step=error.next_step)
        return
    for name, what in cramped.items():
        yield Problem(kind="notice", about=f"peer {name}", what=what, next_step=MORE_ROOM)


def too_little_room(journal: Journal, vault: Vault) -> Mapping[str, str]:
    """Peers without room for two more full backups, which will be about as large as the last: by name, what they have.

    Raises Unavailable.
    """
    fulls = [entry.backup for entry in journal.entries if entry.backup.kind == "full"]
    return {
        name: f"has {human_size(free)} left, the last full backup took {human_size(fulls[-1].size)}"
        for name, free in sorted(vault.room().items())
        if fulls and free < 2 * fulls[-1].size
    }
