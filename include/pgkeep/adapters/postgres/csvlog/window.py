"""One window: the transactions that the log shows between two cuts, if all of them can be run again."""

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pgkeep.adapters.postgres import witnesses
from pgkeep.adapters.postgres.cut_window import CutWindow
from pgkeep.adapters.postgres.gate import translated
from pgkeep.adapters.postgres.guard import in_passing
from pgkeep.adapters.postgres.history import History
from pgkeep.adapters.postgres.measure import measure_sequences
from pgkeep.adapters.postgres.pgoutput.emission import Emission
from pgkeep.adapters.postgres.pgoutput.messages import Transaction
from pgkeep.adapters.postgres.pgoutput.statements import END, PIECE
from pgkeep.adapters.postgres.running import ToolFailedError
from pgkeep.adapters.postgres.trailer import trailer
from pgkeep.errors import Unavailable
from pgkeep.inventory import TableName, Update
from pgkeep.model import Link, LogPosition, TableCounts, Witnesses
from pgkeep.ports import Inexact
from pgkeep.positions import LogPlace
from pgkeep.visibility import visible

from .bounded import bounded
from .changed import Before, explained, look
from .cut import FramedMoment
from .judgement.judge import Judge
from .judgement.survey import survey
from .log.files import LogFiles
from .log.marker import wait_for
from .log.row_time import row_time
from .log.rows import Lost, Rows
from .log.statements import statement
from .log.stretch import Stretch, between, place_at, read_on
from .log_settings import DECISIVE, LogSettings
from .model import Group, LogRow, Statement
from .transactions.groups import Collected, collect
from .transactions.moments import LogMoment, begun, sampled

PATIENCE = 30.0
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
RECONFIGURED = re.compile(rb'parameter "(\w+)" (?:changed|removed|cannot)')
"""What the server says when it has read its configuration anew; in English, which the preflight asks for."""
STATUS = "SELECT pg_xact_status(%s::text::xid8)"


@dataclass(kw_only=True)
class CsvlogWindow(CutWindow):
    """The moment that is `framed` in the log, and what was committed since the cut at which the source stood as `then`
    says. Without `then`, the log is read only from here on. `last_try`: no other moment will do. `patience`: seconds
    until our marks must stand in the log.
    """

    framed: FramedMoment
    files: LogFiles
    history: History
    settings: LogSettings
    then: LogPosition | None
    last_try: bool
    patience: float = PATIENCE
    _marks: tuple[LogPlace, LogPlace] = field(init=False, repr=False)
    _standing: LogPosition = field(init=False, repr=False)
    _groups: tuple[Group, ...] = field(default=(), init=False, repr=False)

    def look_first(self, before: LogPlace) -> None:
        """Finds the marks in the log, which come after `before`, and looks at what no log shows.

        Raises Unavailable, ConfigError, Inexact.
        """
        first, second = (wait_for(self.files, mark, before, patience=self.patience) for mark in self.framed.frame.marks)
        self._marks = first, second
        self._sequences = measure_sequences(self.snapshot.moment)
        self._standing = LogPosition(
            system=self.history.system,
            timeline=self.history.timeline,
            database=self.history.database,
            settings=self.settings.digest,
            place=first,
            cut=begun(self._moment(between(self.files, since=first, until=second))),
            temporary=self.framed.temporary,
            held=self.framed.frame.held,
            tables={},  # until it is known what was done to them
            witnesses=self._look(),
        )

    def changes(self) -> Iterator[bytes]:
        """The file of this window; nothing if there is nothing to say. See the port."""
        assert self.then
        assert self.since
        collected, self._standing = self._collect()  # also where they cannot be carried
        if collected.ambiguous and self.last_try:
            raise Inexact("at each of several cuts somebody was writing, and the log does not show on which side of it")
        self._groups = collected.exact()
        self._standing = replace(self._standing, tables=self._explained())
        nonce, encoding = secrets.token_hex(16), self._ask("SELECT current_setting('server_encoding')")
        if not (self._groups or self._moved):
            return
        yield from self._emitted(Emission(nonce=nonce, encoding=encoding, server_version=self.server_version))
        yield from trailer(self.snapshot.moment, nonce=nonce, encoding=encoding, sequences=self._sequences, tables=())

    def update(self) -> Update:
        """What the window did to the inventory."""
        return self._measured({TableName(schema=s, name=n) for group in self._groups for s, n in group.first_write})

    def link(self, *, gap: str | None) -> Link:
        """See the port. Raises Inexact, Unavailable, ConfigError."""
        exact = self._groups if gap is None else ()
        return Link(
            since=self.since,
            position=self._standing if gap is None else self._anew(),
            gap=gap,
            exact="not proven" if gap is None else None,
            transactions=len(exact),
            changes=sum(len(group.statements) for group in exact),
            stale=(),
        )

    def _anew(self) -> LogPosition:
        """Where the source stands if the changes up to there could not be carried, so that nothing adds up to them."""
        return replace(self._standing, tables=self._compared((), before=None)[0])

    # --- what the log says --------------------------------------------------------------------------------------

    def _collect(self) -> tuple[Collected, LogPosition]:
        """Reads the window's part of the log; and where the next window begins."""
        assert self.then
        assert self.since
        stretch = between(self.files, since=self.then.place, until=self._marks[1])
        with in_passing(self.snapshot.moment):  # the definition of a view locks what it reads from
            catalog = survey(self.snapshot.moment.connection)
        ignored = {(table.schema, table.name) for table in self.snapshot.ignored.tables}
        temporary = {*self.then.temporary, *self.framed.temporary}
        collected = collect(
            self._rows(stretch),
            judge=bounded(Judge(catalog=catalog, ignored=ignored, temporary=temporary).judge),
            committed=self._committed,
            then=self.then.cut,
            before=visible(self.since.snapshot),
            now=self._moment(stretch),
            begins_logged=self.settings.mode.startswith("all"),
        )
        again = place_at(self.files, stretch, collected.again)
        return collected, replace(self._standing, place=again, cut=collected.carried)

    def _rows(self, stretch: Stretch) -> Iterator[tuple[LogRow, Statement | None]]:
        for override in self.settings.of_roles:
            raise Inexact(f"not all sessions are logged in one way: {override}")
        whole = self.settings.values["log_parameter_max_length"] == "-1"
        chunks = read_on(self.files, stretch)
        for row in Rows(chunks, database=self.snapshot.moment.dbname.encode(), lost=_refuse_lost):
            if not row.database and (found := RECONFIGURED.match(row.message)) and found[1].decode() in DECISIVE:
                raise Inexact(f"{found[1].decode()} was changed: what was logged cannot all be read in the same way")
            yield row, statement(row, whole=whole)

    def _moment(self, stretch: Stretch) -> LogMoment:
        """The cut, with places as the stretch counts them: behind the first mark, and within the second."""
        first, second = (between(self.files, since=stretch.since, until=mark).size for mark in self._marks)
        return sampled(
            self.framed.frame.looks,
            boot=self.framed.boot,
            clock=self.framed.frame.clock,
            snapshot=visible(self.cut.snapshot),
            first=first,
            second=second - 1,
            connected=self.framed.frame.connected,
            own=self.framed.own,
        )

    def _committed(self, xid: int) -> bool | None:
        with translated(self.snapshot.moment.server):
            row = self.snapshot.moment.connection.execute(STATUS, [xid]).fetchone()
        return None if row is None or row[0] is None else row[0] == "committed"

    # --- what else there is to know -----------------------------------------------------------------------------

    def _look(self) -> Witnesses:
        then = self.then.witnesses if self.then else None
        try:
            return witnesses.look(self.snapshot, then=then, sequences=self._sequences)
        except ToolFailedError as failure:
            raise Unavailable(f"{failure}", next_step="nothing was stored; run it again") from failure

    def _explained(self) -> dict[str, TableCounts]:
        """The tables, if nothing changed that the log does not show. Raises Inexact."""
        assert self.then
        assert self.since
        now, then = self._standing.witnesses, self.then.witnesses
        why = witnesses.never_shown(now, then)
        if why is None and now.schema != then.schema:
            why = "the schema was changed"
        before = Before(tables=self.then.tables, snapshot=self.since.snapshot, held=self.then.held)
        tables, unexplained = self._compared(self._groups, before=before)
        if why or unexplained:
            raise Inexact(why or unexplained or "")
        return tables

    def _compared(self, groups: Iterable[Group], *, before: Before | None) -> tuple[dict[str, TableCounts], str | None]:
        return look(
            self.snapshot.moment,
            before=before,
            told=explained(groups),
            without=self.snapshot.ignored.oids,
            budget=self.measured,
        )

    @property
    def _moved(self) -> bool:
        """Whether anything is to be said that no statement shows."""
        assert self.then
        now, then = self._standing.witnesses, self.then.witnesses
        return (now.sequences, now.properties) != (then.sequences, then.properties)

    # --- writing ------------------------------------------------------------------------------------------------

    def _emitted(self, emission: Emission) -> Iterator[bytes]:
        zone = _zone(self.settings.values["log_timezone"])
        for group in self._groups:
            emission.begin(Transaction(xid=group.xid, commit_lsn=0, time=_microseconds(group.time, zone)))
            for found in group.statements:
                emission.statement(found.sql.rstrip() + b"\n" + END)
            emission.end()
            if len(emission.written) >= PIECE:
                yield emission.take()
        emission.close()
        yield emission.take()


def _refuse_lost(lost: Lost) -> None:
    raise Inexact(f"{lost.size} bytes of the log are no row of it: the server or its disk failed while it was written")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Inexact(f"log_timezone is {name}, which is not known here") from error


def _microseconds(text: bytes, zone: ZoneInfo) -> int:
    """Since 2000, in UTC. Of an hour that comes twice, the zone's abbreviation says which it is."""
    found = row_time(text.decode("ascii", "replace"))
    if found is None:
        raise Inexact(f"a row of the log has no time: {text!r}")
    moments = [found.moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    moment = next((moment for moment in moments if moment.tzname() == found.zone), moments[0])
    return round((moment.astimezone(UTC) - EPOCH).total_seconds() * 1_000_000)
