"""From the stream of a slot to SQL that psql alone can apply."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from .emission import Emission
from .encoding import codec_of
from .frames import corrupted, frames
from .messages import (
    BEGIN,
    COMMIT,
    DELETE,
    INSERT,
    MESSAGE,
    ORIGIN,
    RELATION,
    TRUNCATE,
    TYPE,
    UPDATE,
    Column,
    Decision,
    Message,
    Relation,
    Transaction,
    read_begin,
    read_message,
    read_truncate,
)
from .statements import PIECE, truncation
from .tables import Tables

__all__ = ["Column", "Decision", "Message", "Relation", "Transaction", "Translation"]

OURS, CUT = "pgkeep:", "pgkeep:cut"


class Acts(dict[int, Callable[[bytes], None]]):
    """What to do with a message, by its first byte."""

    def __missing__(self, kind: int) -> Callable[[bytes], None]:
        raise corrupted(f"message {chr(kind)!r} where none such can be")


class Translation:
    """Reads `COPY (SELECT data FROM pg_logical_slot_peek_binary_changes(..)) TO STDOUT (FORMAT binary)`, writes SQL.

    encoding        the source's server_encoding as PostgreSQL calls it, in which the slot must have been read
    judge           says, once per transaction, what becomes of it
    listen          is told what was said by messages that begin with `pgkeep:`, in transactions that are emitted
                    (`pgkeep:cut`: in all), and returns SQL that must stand at that place: complete statements, which
                    get a transaction block of their own; or nothing
    server_version  of the source, as PostgreSQL counts
    always          by a table's oid, its columns that are GENERATED ALWAYS AS IDENTITY, which the stream does not tell;
                    ones that are not any more do no harm
    there           the oids of the tables there are at the end; of others, any column may have been such a one
    ignored         tables, by schema and name, whose rows are not carried
    """

    def __init__(
        self,
        *,
        nonce: str,
        encoding: str,
        judge: Callable[[Transaction], Decision],
        listen: Callable[[Message], bytes],
        server_version: int,
        always: Mapping[int, Collection[str]] | None = None,
        there: Collection[int] | None = None,
        ignored: Collection[tuple[str, str]] = (),
    ) -> None:
        self.held: int | None = None
        """The lowest commit_lsn of the transactions held back."""
        self._judge, self._listen = judge, listen
        self._codec = codec_of(encoding)
        self._tables = Tables(codec=self._codec, always=always or {}, there=there, ignored=ignored)
        self._emission = Emission(nonce=nonce, encoding=encoding, server_version=server_version)
        self._transaction: Transaction | None = None
        self._acts = self._outside = self._between_transactions()
        self._passing = self._in_other_transactions()
        self._emitting = self._in_emitted_transactions()

    @property
    def transactions(self) -> int:
        """Emitted, with something in them."""
        return self._emission.transactions

    @property
    def changes(self) -> int:
        """Rows inserted, updated and deleted, and TRUNCATEs."""
        return self._emission.changes

    @property
    def relations(self) -> Mapping[int, Relation]:
        """By oid, the tables that emitted transactions changed, each as it was at its last change."""
        return self._tables.changed

    @property
    def reshaped(self) -> str | None:
        """A table that the stream has shown with other columns before."""
        return self._tables.reshaped

    @property
    def touched(self) -> frozenset[tuple[str, str]]:
        """Schema and name of those tables, under every name they had."""
        return frozenset(self._tables.names)

    def sql(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The file but for what the caller adds at its end (`delta.marker`), in pieces of about `PIECE` bytes.

        What `judge` and `listen` raise comes out unchanged. Raises Inexact: something cannot be written exactly;
        Corrupted: `chunks` are not the whole of such a stream.
        """
        written = self._emission.written
        for message in frames(chunks):
            if isinstance(message, memoryview):
                yield from self._large(message)
            else:
                self._acts[message[0]](message)
            if len(written) >= PIECE:
                yield self._emission.take()
        if self._acts is not self._outside:
            raise corrupted("it ends within a transaction")
        self._emission.close()
        yield self._emission.take()

    # --- what is done with each message ------------------------------------------------------------------------------

    def _between_transactions(self) -> Acts:
        # A message that belongs to no transaction comes between them.
        return Acts({BEGIN: self._begin, MESSAGE: self._pass})

    def _in_other_transactions(self) -> Acts:
        acts = Acts.fromkeys((UPDATE, DELETE, TRUNCATE, ORIGIN), self._pass)
        acts.update({RELATION: self._tables.add_relation, TYPE: self._tables.add_type})
        acts.update({INSERT: self._overhear, MESSAGE: self._hear, COMMIT: self._end})
        return Acts(acts)

    def _in_emitted_transactions(self) -> Acts:
        changes = {INSERT: self._insert, UPDATE: self._change, DELETE: self._change, TRUNCATE: self._truncate}
        return Acts({**self._passing, **changes, COMMIT: self._commit})

    def _pass(self, message: bytes) -> None:
        """It is not for us."""

    # --- transactions ------------------------------------------------------------------------------------------------

    def _begin(self, message: bytes) -> None:
        transaction = self._transaction = read_begin(message)
        decision = self._judge(transaction)
        if decision is Decision.EMIT:
            self._emission.begin(transaction)
            self._acts = self._emitting
            return
        if decision is Decision.HOLD:
            self.held = min(transaction.commit_lsn, self.held or transaction.commit_lsn)
        self._acts = self._passing

    def _commit(self, message: bytes) -> None:
        self._emission.end()
        self._end(message)

    def _end(self, message: bytes) -> None:
        self._acts = self._outside

    # --- changes -----------------------------------------------------------------------------------------------------

    def _insert(self, message: bytes) -> None:
        if table := self._tables[message[1:5]]:
            self._emission.insert(table, table.read(message), len(message))
        else:
            self._overhear(message)

    def _change(self, message: bytes) -> None:
        if table := self._tables[message[1:5]]:
            form, values = table.change(message)
            if form:
                self._emission.statement(form.text(values, quotes=b"'" in message))

    def _truncate(self, message: bytes) -> None:
        restart, oids = read_truncate(message)
        names = [table.name for oid in oids if (table := self._tables[oid])]
        if names:
            self._emission.statement(truncation(names, restart=restart))

    def _large(self, message: memoryview) -> Iterator[bytes]:
        """A row with large values goes out piece by piece."""
        kind, table = message[0], None
        if self._acts is self._emitting and kind in (INSERT, UPDATE, DELETE):
            table = self._tables[bytes(message[1:5])]
        if table is None:
            return self._acts[kind](bytes(message))
        table.require_writable(message)
        if kind == INSERT:
            yield from self._emission.insert_in_pieces(table, table.read(message))
        else:
            form, values = table.change(message)
            if form:
                yield from self._emission.statement_in_pieces(form.pieces(values))

    # --- messages ----------------------------------------------------------------------------------------------------

    def _hear(self, message: bytes) -> None:
        if message.startswith(OURS.encode(), 10):
            in_transaction, prefix, content = read_message(message, self._codec)
            if in_transaction:
                self._tell(prefix, content)

    def _overhear(self, message: bytes) -> None:
        """A row of _pgkeep.log is a message."""
        if said := self._tables.log_row(message):
            self._tell(*said)

    def _tell(self, prefix: str, content: bytes) -> None:
        emitting = self._acts is self._emitting
        if not (prefix == CUT or (emitting and prefix.startswith(OURS))):
            return
        assert self._transaction is not None
        sql = self._listen(Message(transaction=self._transaction, prefix=prefix, content=content))
        if sql and emitting:
            self._emission.alone(sql)
