"""Writes the README's tables of settings and errors from the code that they describe; --check only compares."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from pgkeep import errors
from pgkeep.settings.model import Database, Keys, Peer, Vault
from pgkeep.settings.table import settings_of

README = Path(__file__).parent.parent / "README.md"
SECTIONS = {"vault": Vault, "[vault.peers]": Peer, "keys": Keys, "databases.NAME": Database}
WHO_ACTS = {
    "ConfigError": ("you", "fails at once"),
    "Unavailable": ("nobody yet", "Airflow tries again"),
    "Disturbed": ("nobody yet", "Airflow tries again"),
    "JournalMovedOn": ("nobody yet", "Airflow tries again"),
    "LogUnavailable": ("nobody yet", "Airflow tries again; full backups go on without it"),
    "NotReplicated": ("nobody yet", "waits without a worker slot, fails at its deadline"),
    "Corrupted": ("you, now", "fails at once"),
    "NotRestorable": ("you", "fails at once"),
}


def settings() -> Iterator[str]:
    """One row for each key of `pgkeep.toml`."""
    yield "| key | meaning | default |"
    yield "|---|---|---|"
    for section, cls in SECTIONS.items():
        for key, field in settings_of(cls).items():
            default = "must be given" if field.default is dataclasses.MISSING else _toml(field.default)
            default = "NAME" if (cls, key) == (Database, "dbname") else default
            if (cls, key) != (Vault, "peers"):
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
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def written(text: str) -> str:
    """The README with its tables as they should be."""
    for name, rows in (("settings", settings()), ("errors", exit_codes())):
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n" + "\n".join(rows) + f"\n{end}{rest.split(end)[1]}"
    return text


def main() -> int:
    """0 unless `--check` finds a difference."""
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        return int(written(text) != text)
    README.write_text(written(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
