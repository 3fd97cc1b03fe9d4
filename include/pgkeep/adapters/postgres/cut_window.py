"""What every window shows of the moment at which it ends, however its changes are collected."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from pgkeep.inventory import Inventory, SequenceState, TableName, Update
from pgkeep.model import Cut

from .gate import translated
from .moment import let_go
from .properties import read_properties, read_roles
from .remeasure import remeasure
from .source import PostgresSnapshot

DUMPING = "SELECT pg_try_advisory_xact_lock(hashtextextended('pgkeep full backup of ' || current_database(), 0))"


@dataclass(kw_only=True)
class CutWindow:
    """The moment of `snapshot`, and what was committed since the cut `since`.

    `measured`: bytes of tables to measure again, at most. `_sequences`: as the changes leave them.
    """

    snapshot: PostgresSnapshot
    since: Cut | None
    measured: int
    _sequences: tuple[SequenceState, ...] = field(init=False, repr=False)

    @property
    def cut(self) -> Cut:
        return self.snapshot.cut

    @property
    def server_version(self) -> int:
        return self.snapshot.server_version

    def dump(self) -> Iterator[bytes]:
        let_go(self.snapshot.moment)  # pg_dump would queue behind whoever waits for us
        yield from self.snapshot.dump()

    def globals(self) -> Iterator[bytes]:
        return self.snapshot.globals()

    def inventory(self) -> Inventory:
        """Its sequences stand as the changes leave them: both ways to this cut must show the same."""
        return replace(self.snapshot.inventory(), sequences=self._sequences)

    def alone(self) -> bool:
        """Whether this run has got the lock under which a missing full backup is made up for."""
        with translated(self.snapshot.moment.server):
            row = self.snapshot.moment.connections[-1].execute(DUMPING).fetchone()  # where no `let_go` ends it
        return row == (True,)

    def _measured(self, changed: Collection[TableName] | None, *, roles: Collection[str] = ()) -> Update:
        """What the window did to the inventory: to the tables `changed` (None: to any). `roles`: that it names."""
        moment = self.snapshot.moment
        tables, unmeasured = remeasure(
            moment, changed=changed, without=self.snapshot.ignored.oids, budget=self.measured
        )
        with translated(moment.server):
            properties, found = read_properties(moment.connection), read_roles(moment.connection)
        return Update(
            cut=self.cut,
            properties=properties,
            roles=tuple(sorted({*found, *roles})),
            tables=tables,
            unmeasured=unmeasured,
            all_unmeasured=changed is None,
            sequences=self._sequences,
        )

    def _ask(self, query: str) -> str:
        with translated(self.snapshot.moment.server):
            row = self.snapshot.moment.connection.execute(query).fetchone()
        assert row is not None
        return str(row[0])
