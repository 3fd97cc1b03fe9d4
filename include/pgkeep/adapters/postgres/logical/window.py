"""One window: what was committed after the cut before, and is seen by the snapshot of this one."""

import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from pgkeep.adapters.postgres import witnesses
from pgkeep.adapters.postgres.cut_window import CutWindow
from pgkeep.adapters.postgres.ddl import DdlReplay
from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.guard import hold
from pgkeep.adapters.postgres.history import History
from pgkeep.adapters.postgres.installation import Installed, look
from pgkeep.adapters.postgres.measure import measure_sequences
from pgkeep.adapters.postgres.moment import let_go
from pgkeep.adapters.postgres.pgoutput.encoding import codec_of
from pgkeep.adapters.postgres.pgoutput.translation import Relation, Translation
from pgkeep.adapters.postgres.running import ToolFailedError
from pgkeep.adapters.postgres.slot import lsn, lsn_text
from pgkeep.adapters.postgres.trailer import trailer
from pgkeep.errors import Unavailable
from pgkeep.inventory import TableName, Update
from pgkeep.model import Link, SlotPosition
from pgkeep.ports import Inexact
from pgkeep.visibility import visible

from .agreement import differing, identities, naming, tables
from .order import Order
from .peeking import peeked, readable
from .reading import Reading
from .standing import position, unexplained
from .whole import stale, validated


@dataclass(kw_only=True)
class LogicalWindow(CutWindow):
    """The moment of `snapshot`, and what was committed since the cut `since`, where the source stood as `then` says.

    Without `then`, changes are kept only from here on.
    `kept_from`: the first LSN that the slot keeps. `token` was written into the WAL right after the moment.
    """

    slot: str
    history: History
    publication: int
    token: str
    then: SlotPosition | None
    kept_from: str
    _position: SlotPosition = field(init=False, repr=False)
    _reading: Reading | None = field(default=None, init=False, repr=False)
    _translation: Translation | None = field(default=None, init=False, repr=False)

    def look_first(self) -> None:
        """Looks at the tables that the slot does not show, while nobody has rewritten them since the cut.

        Those that were written are held from here on, for they are carried whole; after everything that might queue
        behind somebody who waits for us. Raises Disturbed, Unavailable, ConfigError.
        """
        hold(self._unlisted, self.snapshot.moment)
        unlisted = {str(table): witnesses.table(self.snapshot.moment, table) for table in self._unlisted}
        self._sequences = measure_sequences(self.snapshot.moment)
        let_go(self.snapshot.moment)
        self._position = self._stand(unlisted)
        hold(self._written, self.snapshot.moment)

    def changes(self) -> Generator[bytes]:
        """The file of this window; nothing if there is nothing to say. See the port."""
        nonce, encoding = secrets.token_hex(16), self._ask("SELECT current_setting('server_encoding')")
        reading = self._reading = self._begin_reading(codec_of(encoding))
        translation = self._translation = Translation(
            nonce=nonce,
            encoding=encoding,
            judge=reading.judge,
            listen=reading.listen,
            server_version=self.server_version,
            always=self._always_generated(),
            there=self._tables,
            ignored={(table.schema, table.name) for table in self.snapshot.ignored.tables},
        )
        head = list[bytes]()
        with readable():
            for piece in translation.sql(peeked(self.snapshot, self.slot, encoding=encoding)):
                head.append(piece)
                if translation.transactions:
                    yield from head
                    head.clear()
        reading.finish()
        self._require_known(reading, translation.relations, translation.reshaped)
        assert self.then
        if translation.transactions or self._resynced or self._moved:
            yield from head
            yield from trailer(
                self.snapshot.moment,
                nonce=nonce,
                encoding=encoding,
                sequences=self._sequences,
                tables=self._resynced,
            )

    def update(self) -> Update:
        """What the window did to the inventory. After DDL, anything may have changed."""
        assert self._reading
        assert self._translation
        touched = {TableName(schema=schema, name=name) for schema, name in self._translation.touched}
        changed = None if self._reading.ddl else touched | {*self._resynced}
        return self._measured(changed, roles=self._reading.replay.roles)

    def link(self, *, gap: str | None) -> Link:
        """See the port. Raises Inexact, Unavailable, ConfigError."""
        done = self._translation if gap is None else None
        return Link(
            since=self.since,
            position=self._explained(done) if done else replace(self._position, retained=self.kept_from),
            gap=gap,
            exact="proven" if gap is None else None,
            transactions=done.transactions if done else 0,
            changes=done.changes if done else 0,
            stale=self._stale(done) if done else (),
        )

    # --- what stands at the cut, asked once ---------------------------------------------------------------------

    @cached_property
    def _installed(self) -> Installed:
        with translated(self.snapshot.moment.server):
            return look(self.snapshot.moment.connection)

    def _stand(self, unlisted: Mapping[str, str]) -> SlotPosition:
        try:
            return position(
                self.snapshot,
                slot=self.slot,
                history=self.history,
                publication=self.publication,
                token=self.token,
                then=self.then,
                kept_from=self.kept_from,
                sequences=self._sequences,
                tables=unlisted,
            )
        except ToolFailedError as failure:
            raise Unavailable(f"{failure}", next_step="nothing was stored; run it again") from failure

    @property
    def _moved(self) -> bool:
        """Whether anything is to be said that no row shows."""
        assert self.then
        now = (self._position.witnesses.sequences, self._position.witnesses.properties)
        return now != (self.then.witnesses.sequences, self.then.witnesses.properties)

    @cached_property
    def _tables(self) -> dict[int, TableName]:
        """All tables there are, by oid, but for those whose rows are not kept."""
        ignored = self.snapshot.ignored.oids
        with translated(self.snapshot.moment.server):
            found = tables(self.snapshot.moment.connection)
        return {oid: table for oid, table in found.items() if oid not in ignored}

    @cached_property
    def _unlisted(self) -> tuple[TableName, ...]:
        """The tables that the slot does not show, but for those whose rows are not kept."""
        ignored = set(self.snapshot.ignored.oids)
        return tuple(
            TableName(schema=schema, name=name) for oid, schema, name in self._installed.unlisted if oid not in ignored
        )

    @cached_property
    def _resynced(self) -> tuple[TableName, ...]:
        """The tables to carry whole: written since the last cut where the slot does not show it, or listed only now."""
        if self._reading is None:
            return ()
        relisted = {table for oid, table in self._tables.items() if oid in self._reading.relisted}
        carried = tuple(sorted({*self._written, *relisted}, key=str))
        hold(carried, self.snapshot.moment)
        return carried

    @cached_property
    def _written(self) -> tuple[TableName, ...]:
        """The tables that the slot does not show, and that were written since the cut before."""
        if self.then is None:
            return ()
        then = self.then.tables
        return tuple(table for table in self._unlisted if self._position.tables[str(table)] != then.get(str(table)))

    # --- reading ------------------------------------------------------------------------------------------------

    def _always_generated(self) -> dict[int, tuple[str, ...]]:
        """By table, the columns GENERATED ALWAYS AS IDENTITY: now, and those that were at the cut before."""
        assert self.then
        with translated(self.snapshot.moment.server):
            now = identities(self.snapshot.moment.connection)
        return now | {int(oid): (*now.get(int(oid), ()), *names) for oid, names in self.then.identities.items()}

    def _begin_reading(self, codec: str) -> Reading:
        assert self.since
        assert self.then
        now = visible(self.cut.snapshot)
        return Reading(
            before=visible(self.since.snapshot),
            now=now,
            end=lsn(self.cut.lsn),
            token=self.then.token,
            mark=self._installed.token,
            encoding=codec,
            replay=DdlReplay(encoding=codec),
            order=Order(altered=self.then.altered, now=now),
        )

    def _require_known(self, reading: Reading, relations: Mapping[int, Relation], reshaped: str | None) -> None:
        """Raises Inexact if the slot showed a table otherwise than the catalog has it, and no DDL says why."""
        if reading.ddl and (table := naming(relations.values())):
            raise Inexact(f"{table} has values that name objects (regclass or like it), and there was DDL")
        if not reading.ddl and (table := reshaped or differing(self.snapshot.moment, relations)):
            raise Inexact(f"{table} is another table than the one that was changed")

    def _explained(self, done: Translation) -> SlotPosition:
        """Where the source stands, if what was read explains it. Raises Inexact."""
        assert self._reading
        assert self.then
        why = unexplained(
            self.snapshot.moment,
            now=self._position,
            then=self.then,
            reading=self._reading,
            event_triggers=self._installed.event_triggers,
        )
        why = why or validated([*self._unlisted, *self._resynced], then=self.then, replay=self._reading.replay)
        if why:
            raise Inexact(why)
        return replace(self._position, retained=self._retained(done), altered=self._reading.order.altered)

    def _stale(self, done: Translation) -> tuple[str, ...]:
        assert self._reading
        assert self.then
        return stale(
            self._resynced,
            there=self._tables.values(),
            then=self.then,
            shown=done.touched,
            replay=self._reading.replay,
        )

    def _retained(self, done: Translation) -> str:
        """The first byte of WAL that is still needed: of what is held back, else of the cut."""
        held = done.held
        return self.cut.lsn if held is None else lsn_text(min(lsn(self.cut.lsn), held))
