"""The SQL file as it grows: transaction blocks, batches of statements, runs of COPY, markers."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from pgkeep.adapters.postgres.value_texts import VALUE_TEXTS
from pgkeep.delta import header, marker

from .messages import NULL, Row, Transaction
from .statements import PIECE, Table, escaped

APPLYING: Mapping[str, str] = {
    "session_replication_role": "replica",
    "standard_conforming_strings": "on",
    "xmloption": "content",
    "check_function_bodies": "off",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_min_messages": "warning",
}

# Operators of types that are not PostgreSQL's own are in their extension's schema.
FIND_OPERATORS = (
    "SELECT pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', 'pg_catalog', ("
    "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(n.nspname), ', ') FROM pg_catalog.pg_extension e "
    "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname <> 'pg_catalog')), false) "
    "\\g /dev/null\n"
)

EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's, in UTC like all that is added to it here

LIMIT = 1_200_000
STATEMENT = 1_000
"""Weights: a statement weighs its bytes and STATEMENT, and LIMIT is a batch, and a block of merged transactions."""
FEW_ROWS, FEW_BYTES = 8, 1 << 14
"""Up to so many new rows are one INSERT in a batch; for more it is worth to interrupt the batch by COPY."""

# COPY's text format. A zero byte is in no text, so it can announce what is not text, and all rows be escaped at once.
COLUMN_END, ROW_END = b"\0c", b"\0r"
ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))
MARKS = ((COLUMN_END, b"\t"), (ROW_END, b"\n"), (NULL, b"\\N"))


class Emission:
    """Writes what happens, in its order. `transactions`, `changes`: how many it wrote."""

    def __init__(self, *, nonce: str, encoding: str, server_version: int) -> None:
        self.transactions = self.changes = 0
        self.written = bytearray(head(nonce, encoding=encoding, server_version=server_version))
        self._nonce = nonce
        self._unmarked: Transaction | None = None
        self._ready = self._in_block = False
        self._block = self._batch = 0
        self._run: Table | None = None
        self._rows = list[Row]()
        self._row_bytes = 0
        self._copying = False

    def take(self) -> bytes:
        """What has been written since."""
        taken = bytes(self.written)
        self.written.clear()
        return taken

    # --- what happens ------------------------------------------------------------------------------------------------

    def begin(self, transaction: Transaction) -> None:
        """What follows belongs to that transaction."""
        self._unmarked, self._ready = transaction, False

    def statement(self, text: bytes) -> None:
        """A change, written as statement of a batch (`statements.END`)."""
        if not self._ready:
            self._settle()
        self.written += text
        self.changes += 1
        self._batch += STATEMENT + len(text)  # as `_weigh`, but this is where the time goes
        if self._batch >= LIMIT:
            self._end_batch()

    def statement_in_pieces(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same; the pieces go out at once, after all that was written before."""
        self._settle()
        yield self.take()
        yield from pieces
        self.changes += 1
        self._weigh(LIMIT)

    def insert(self, table: Table, row: Row, size: int) -> None:
        """A new row, from a message of `size` bytes."""
        if self._run is not table:
            self._settle()
            self._run, self._ready = table, False
        self._rows.append(row)
        self._row_bytes += size
        if self._row_bytes >= PIECE:
            self._copy_rows(table)

    def insert_in_pieces(self, table: Table, row: Row) -> Iterator[bytes]:
        self._settle()
        self._start_copy(table)
        for i, value in enumerate(row):
            self.written += b"\t" if i else b""
            yield self.take()
            yield from [b"\\N"] if value == NULL else escaped(value, ESCAPES)
        self.written += b"\n"
        self._end_copy()
        self.changes += 1
        self._block += LIMIT

    def alone(self, sql: bytes) -> None:
        """Complete statements in a transaction block of their own."""
        self._end_run()
        self._commit()
        self.written += b"BEGIN;\n"
        self._mark()
        self.written += sql.rstrip(b"\n") + b"\nCOMMIT;\n"

    def end(self) -> None:
        """The transaction has ended."""
        self._unmarked = None
        self._end_run()
        if self._block + self._batch >= LIMIT:
            self._commit()

    def close(self) -> None:
        """Nothing follows."""
        self._commit()

    # --- what that takes ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """A statement may begin here: in a block, after the marker of its transaction."""
        self._end_run()
        if not self._in_block:
            self.written += b"BEGIN;\n"
            self._in_block = True
        self._mark()
        self._ready = True

    def _mark(self) -> None:
        if self._unmarked:
            self.written += marker(self._nonce, describe(self._unmarked))
            self.transactions += 1
            self._unmarked = None

    def _weigh(self, size: int) -> None:
        self._batch += STATEMENT + size
        if self._batch >= LIMIT:
            self._end_batch()

    def _end_batch(self) -> None:
        if self._batch:
            self.written += b";\n"
        self._block += self._batch
        self._batch = 0

    def _commit(self) -> None:
        self._end_batch()
        if self._in_block:
            self.written += b"COMMIT;\n"
        self._block, self._in_block, self._ready = 0, False, False

    def _end_run(self) -> None:
        table, self._run = self._run, None
        if table is None:
            return
        if self._copying or len(self._rows) > FEW_ROWS or self._row_bytes > FEW_BYTES:
            self._copy_rows(table)
            self._end_copy()
        else:
            text = table.inserted(self._take_rows())
            self.written += text
            self._weigh(len(text))

    def _start_copy(self, table: Table) -> None:
        self._end_batch()
        self.written += b"COPY " + table.name + table.list + b" FROM stdin;\n"
        self._copying = True

    def _copy_rows(self, table: Table) -> None:
        if not self._copying:
            self._start_copy(table)
        self._block += STATEMENT * len(self._rows) + self._row_bytes
        self.written += copy_text(self._take_rows())

    def _end_copy(self) -> None:
        self.written += b"\\.\n"
        self._copying = False

    def _take_rows(self) -> list[Row]:
        rows, self._rows, self._row_bytes = self._rows, [], 0
        self.changes += len(rows)
        return rows


def head(nonce: str, *, encoding: str, server_version: int) -> bytes:
    settings = {"client_encoding": encoding, **VALUE_TEXTS, **APPLYING}
    source = f"-- from PostgreSQL {server_version // 10_000}.{server_version % 10_000}\n"
    lines = [f"SET {name} = '{value}';\n" for name, value in settings.items()]
    return header(nonce) + "".join([source, *lines, FIND_OPERATORS]).encode()


def describe(transaction: Transaction) -> str:
    lsn, (seconds, microseconds) = transaction.commit_lsn, divmod(transaction.time, 1_000_000)
    written = f"{_to_the_second(seconds)}.{microseconds:06}Z"
    return f"transaction {transaction.xid} {lsn >> 32:X}/{lsn & 0xFFFFFFFF:X} {written}"


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat()


def copy_text(rows: list[Row]) -> bytes:
    """Rows in COPY's text format."""
    text = ROW_END.join(map(COLUMN_END.join, rows)) + ROW_END if rows else b""
    for plain, written in ESCAPES + MARKS:
        text = text.replace(plain, written)
    return text
