"""Moments, ages, counts and tables, as people read them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pgkeep.model import Instant
from pgkeep.progress import human_time


def moment(instant: Instant) -> str:
    """A moment for people, to the second: `2026-01-02 03:04:05 UTC`."""
    return f"{instant[:19].replace('T', ' ')} UTC"


def age(instant: Instant) -> str:
    """How long ago."""
    return human_time((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds())


def counted(count: int, what: str, many: str = "") -> str:
    """`1 row`, `1,234 rows`; `many`: a plural that is not made by an s."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns, each as wide as it needs to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
