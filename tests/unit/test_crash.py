"""The process is killed at every single touch of the world, before and after it; then the step is run again.

Whatever the moment: the journal stays readable, it names only what enough peers have, nothing is named twice, and the
source was told to forget only what the journal names.
"""

import pytest

from fix_fragile import FragileVault, Killed, When
from pgkeep import backup, records, restore
from pgkeep.copies import ciphertext
from pgkeep.errors import PgkeepError
from pgkeep.journal_store import JournalStore
from pgkeep.meter import Meter
from pgkeep.model import Entry, Origin, Replicated, Sealed, Stored
from pgkeep.plan import Point, plan
from pgkeep.testing import MemorySealer, MemorySource, MemoryTarget, MemoryVault


class Node:
    """The steps as Airflow runs them: each gets the record before as JSON, and is run again when it was killed."""

    def __init__(self) -> None:
        self.world = MemoryVault()
        self.vault = FragileVault(self.world)
        self.sealer = MemorySealer()
        self.source = MemorySource()
        self.journals = JournalStore(database="shop", vault=self.vault, sealer=self.sealer, copies=3, patience=0.0)
        self.trusted = JournalStore(database="shop", vault=self.world, sealer=self.sealer, copies=3)

    def dump_database(self, _: object) -> Stored:
        return backup.capture(
            self.source, self.sealer, self.vault, self.journals, origin=Origin(host="node-1", by="test")
        )

    def check_encryption(self, data: object) -> Sealed:
        return backup.check(records.decode(Stored, data), self.sealer, self.vault)

    def replicate(self, data: object) -> Replicated:
        return backup.replicate(records.decode(Sealed, data), self.vault, copies=3, patience=0.0)

    def record(self, data: object) -> Entry:
        return backup.record(records.decode(Replicated, data), self.source, self.journals, self.vault)

    def release(self, data: object) -> None:
        backup.release(records.decode(Entry, data), self.source, self.journals)

    def full(self) -> None:
        """One run of the DAG, with one retry for each task."""
        data: object = None
        for step in (self.dump_database, self.check_encryption, self.replicate, self.record, self.release):
            for _ in range(2):
                try:
                    record = step(data)
                    break
                except Killed:
                    self.require_sound()
            data = records.encode(record) if record is not None else None

    def require_sound(self) -> None:
        """The invariants, seen through the eyes of somebody else."""
        journal = self.trusted.head().journal
        named = [part for entry in journal.entries for part in entry.backup.parts]
        assert len({part.cid for part in named}) == len(named), "named twice"
        for part in named:
            for peer in self.world.peers:
                read = Meter([peer.objects[part.cid]])
                read.drain()
                assert ciphertext(part).is_read_by(read), f"{peer.name} does not have {part.name}"
        assert set(self.source.released) <= {entry.sequence for entry in journal.entries}


def touches() -> int:
    """How often one undisturbed run touches the vault."""
    node = Node()
    node.journals.begin()
    before = node.vault.calls
    node.full()
    return node.vault.calls - before


TOUCHES = touches()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(1, TOUCHES + 1))
def test_killed_anywhere_and_run_again(moment: int, when: When) -> None:
    node = Node()
    node.journals.begin()
    node.full()
    node.vault.calls, node.vault.fatal = 0, (moment, when)
    node.full()
    node.require_sound()
    journal = node.trusted.head().journal
    assert [entry.sequence for entry in journal.entries] == [1, 2], "each run is one entry, however often it was killed"
    assert node.source.released == [1, 2] or node.source.released == [1, 2, 2]
    target = MemoryTarget()
    restore.restore(plan(journal, Point()), node.sealer, node.world, target)
    assert target.database == node.source.holding


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(1, 8))
def test_killed_while_the_journal_begins(moment: int, when: When) -> None:
    node = Node()
    node.vault.fatal = (moment, when)
    try:
        node.journals.begin()
    except Killed:
        node.vault.fatal = None
        node.journals.begin()
    assert node.trusted.head().journal.sequence == 0


def test_a_killed_run_that_is_never_repeated_is_no_backup() -> None:
    for moment in range(1, TOUCHES):
        node = Node()
        node.journals.begin()
        node.vault.calls, node.vault.fatal = 0, (moment, "after")
        data: object = None
        try:
            for step in (node.dump_database, node.check_encryption, node.replicate, node.record):
                data = records.encode(step(data))
        except Killed:
            pass
        node.require_sound()


def test_wrong_records_do_not_pass_from_step_to_step() -> None:
    node = Node()
    node.journals.begin()
    stored = records.encode(node.dump_database(None))
    for step in (node.replicate, node.record, node.release):
        with pytest.raises(PgkeepError, match="is a Stored"):
            step(stored)
