"""Transactions that measure: one snapshot, and settings under which a value has one text, whoever asks."""

from collections.abc import Mapping

from .gate import Session
from .value_texts import VALUE_TEXTS

PINNED: Mapping[str, str] = {
    **VALUE_TEXTS,
    "xmloption": "content",
    "lc_numeric": "C",
    "search_path": "pg_catalog",  # also what the texts of regclass and its like are qualified by
    "row_security": "off",  # rows that a policy hides are an error, never silently missing
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "statement_timeout": "0",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
}
SINCE_17: Mapping[str, str] = {"transaction_timeout": "0"}

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def begin(connection: Session) -> None:
    """Opens a read-only transaction that will see one moment: that of its first query."""
    connection.execute("; ".join((BEGIN, *_settings(connection))))


def begin_at(connection: Session, *, exported: str) -> None:
    """Opens a read-only transaction that sees what the exporter of that snapshot sees."""
    connection.execute("; ".join((BEGIN, f"SET TRANSACTION SNAPSHOT '{exported}'", *_settings(connection))))


def _settings(connection: Session) -> list[str]:
    """SET takes no snapshot. Within the transaction, so that a pooler between us cannot lose it."""
    settings = {**PINNED, **(SINCE_17 if connection.info.server_version >= 170_000 else {})}
    return [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()]
