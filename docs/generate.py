"""Writes the tables of settings and errors from the code that they describe; --check only compares."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pgkeep import errors
from pgkeep.settings import Alerts, Database, Keys, Notifier, Peer, Vault
from pgkeep.settings.table import settings_of

DOCS = Path(__file__).parent
SECTIONS = {
    "vault": Vault,
    "[vault.peers]": Peer,
    "keys": Keys,
    "alerts": Alerts,
    "[alerts.notifiers]": Notifier,
    "databases.NAME": Database,
}
LISTS = ((Vault, "peers"), (Alerts, "notifiers"))
"""Sections of their own."""
WHO_ACTS = {
    "ConfigError": ("you", "fails at once"),
    "Unavailable": ("nobody yet", "Airflow tries again"),
    "Disturbed": ("nobody yet", "Airflow tries again"),
    "JournalMovedOn": ("nobody yet", "Airflow tries again"),
    "LogUnavailable": ("nobody yet", "Airflow tries again; full backups go on without it"),
    "NotReplicated": ("nobody yet", "waits without a worker slot, fails at its deadline"),
    "Corrupted": ("you, now", "fails at once"),
    "NotRestorable": ("you", "fails at once"),
    "Overdue": ("you, within a day", "fails at once"),
}


def settings() -> Iterator[str]:
    """One row for each key of `pgkeep.toml`."""
    yield "| key | meaning | default |"
    yield "|---|---|---|"
    for section, cls in SECTIONS.items():
        for key, field in settings_of(cls).items():
            default = "must be given" if field.default is dataclasses.MISSING else _toml(field.default)
            default = "NAME" if (cls, key) == (Database, "dbname") else default
            if (cls, key) not in LISTS:
                yield f"| `[{section}]` `{key}` | {field.metadata['meaning']} | {default} |"


def exit_codes() -> Iterator[str]:
    """One row for each class of error."""
    yield "| error | means | exit code | who acts | in Airflow |"
    yield "|---|---|---|---|---|"
    for name, (who, airflow) in WHO_ACTS.items():
        cls = getattr(errors, name)
        meaning = cls.__doc__.split(". ")[0].split(".\n")[0].rstrip(".")
        yield f"| `{name}` | {meaning} | {cls.exit_code} | {who} | {airflow} |"


def _toml(value: object) -> str:
    if value is None or value in ((), ""):
        return "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


TABLES = (("settings", settings, DOCS / "settings.md"), ("errors", exit_codes, DOCS / "operating.md"))


def written(text: str, name: str, rows: Iterable[str]) -> str:
    """The page with that table as it should be."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = text.split(start)
    return f"{before}{start}\n" + "\n".join(rows) + f"\n{end}{rest.split(end)[1]}"


def main() -> int:
    """0 unless `--check` finds a difference."""
    for name, rows, page in TABLES:
        text = page.read_text(encoding="utf-8")
        new = written(text, name, rows())
        if "--check" in sys.argv and new != text:
            return 1
        page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
