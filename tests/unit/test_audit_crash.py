"""An audit is killed at every single touch of the vault, before and after it; then it is run again.

Whatever the moment: no copy is lost that was there, what was damaged is whole in the end, nothing that a journal names
is swept, one ledger is left, and backups go on being made meanwhile.
"""

import pytest

from fix_audit import AuditedNode
from fix_fragile import FragileVault, Killed, When
from pgkeep import backup
from pgkeep.audit import Report
from pgkeep.errors import NotReplicated
from pgkeep.model import Replicated
from pgkeep.testing import MemoryVault

DUMP, GLOBALS = 0, 1


class BadNight:
    """Four peers, three copies: one of them is gone, others have lost or flipped something, and there is litter."""

    def __init__(self) -> None:
        memory = MemoryVault(("alice", "bob", "carol", "dave"))
        self.vault = FragileVault(memory)
        self.node = AuditedNode(self.vault, memory=memory)
        first, second = self.node.full(), self.node.full()
        self.node.store()
        self.waiting: Replicated = self.node.replicated()
        self.node.audit()
        self.node.full()
        self.node.peer("alice").flip(first.backup.parts[DUMP].cid)
        self.node.peer("bob").lose(first.backup.parts[GLOBALS].cid)
        self.node.peer("alice").unpin(second.backup.parts[DUMP].cid)
        self.node.peer("carol").up = False

    def audit_at(self, moment: int, when: When) -> Report:
        """Killed there, and run again until it ends by itself."""
        self.vault.calls, self.vault.fatal = 0, (moment, when)
        try:
            return self.node.audit()
        except Killed:
            self.vault.fatal = None
            return self.node.audit()


def touches() -> int:
    """How often one undisturbed audit touches the vault."""
    night = BadNight()
    before = night.vault.calls
    report = night.node.audit()
    report.require_well()
    assert {problem.what for problem in report.problems if problem.about.startswith("litter")} == {
        "could not be let go of: not known of carol, silent"
    }
    assert {repair.how for repair in report.repairs} == {
        "fetched what was missing",
        "replaced what was rotten",
        "pinned again",
        "replicated anew",
    }
    return night.vault.calls - before


TOUCHES = touches()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(1, TOUCHES + 1))
def test_killed_anywhere_and_run_again(moment: int, when: When) -> None:
    night = BadNight()
    report = night.audit_at(moment, when)
    report.require_well()
    night.node.require_whole()
    assert len(night.node.named("audit")) == 1
    final = night.node.audit()
    final.require_well()
    assert not final.repairs
    night.node.full()
    night.node.audit().require_well()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(1, TOUCHES + 1, 5))
def test_killed_anywhere_and_never_again_a_backup_is_still_made(moment: int, when: When) -> None:
    night = BadNight()
    night.vault.calls, night.vault.fatal = 0, (moment, when)
    with pytest.raises(Killed):
        night.node.audit()
    night.vault.fatal = None
    night.node.peer("carol").up = True
    entry = night.node.full()
    assert all(sum(peer.has_whole(part.cid) for peer in night.node.memory.peers) >= 3 for part in entry.backup.parts)


@pytest.mark.parametrize("moment", range(1, TOUCHES + 1))
def test_a_run_that_waited_is_recorded_whole_or_not_at_all(moment: int) -> None:
    night = BadNight()
    night.vault.calls, night.vault.fatal = 0, (moment, "after")
    try:
        night.node.audit()
    except Killed:
        night.vault.fatal = None
    night.node.peer("carol").up = True
    night.node.audit().require_well()
    node, before = night.node, len(night.node.journals.head().journal.entries)
    try:
        backup.record(night.waiting, node.source, node.journals, node.vault)
    except NotReplicated:
        assert len(node.journals.head().journal.entries) == before
    node.audit().require_well()
    node.require_whole()
