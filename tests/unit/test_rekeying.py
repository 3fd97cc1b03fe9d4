"""Other keys for all that is live: what changes, what does not, who can read it then, and what stands in the way."""

from dataclasses import replace

import pytest

from fix_memory_node import ORIGIN, MemoryNode
from pgkeep import backup, rekeying, sentences
from pgkeep.errors import ConfigError, Corrupted, NotReplicated, Unavailable
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.model import Cid, KeyFingerprint, Replicated, Sealed
from pgkeep.pin_names import journal_name
from pgkeep.plan import Point, plan
from pgkeep.rekeying import Rekey, Rekeyed
from pgkeep.restore import plaintext, restore
from pgkeep.retirement import retire
from pgkeep.testing import NODE, RECIPIENTS, MemorySealer, MemoryTarget
from unit.test_drill import World
from unit.test_retention import NOTHING

LEAVING, STAYING = RECIPIENTS
COMING = KeyFingerprint("D" * 40)
NEW_NODE = KeyFingerprint("9" * 40)


class Rekeyable(World):
    """Two full backups with changes between and after them, and a quiet hour; the newest full backup is proven."""

    def __init__(self) -> None:
        super().__init__()
        self.full()
        self.source.commit(10)
        self.hourly()
        self.source.commit(100)
        self.full()
        self.drill()
        self.source.commit(1000)
        self.hourly()
        self.hourly()

    def take(self, sealer: MemorySealer) -> None:
        """The settings name other keys now."""
        self.sealer = sealer
        self.journals = replace(self.journals, sealer=sealer)
        self.run = replace(self.run, sealer=sealer, journals=self.journals)

    def change_recipients(self) -> None:
        """One goes, one comes. One of those who can read all so far is here."""
        self.take(replace(self.sealer, recipients=(STAYING, COMING), holds=frozenset({NODE, STAYING})))

    def rekey(self, **changes: object) -> Rekeyed:
        run = Rekey(
            source=self.source,
            sealer=self.sealer,
            vault=self.vault,
            journals=self.journals,
            chained=True,
            patience=0.0,
            settling=0.0,
        )
        return replace(run, **changes).run()  # type: ignore[arg-type]


@pytest.fixture
def world() -> Rekeyable:
    return Rekeyable()


def parts(journal: Journal) -> set[Cid]:
    return {part.cid for entry in journal.entries for part in entry.backup.parts}


def rows_for(world: MemoryNode, *keys: KeyFingerprint, journal: Journal | None = None) -> int:
    """What somebody brings back who has these private keys and nothing else."""
    laptop = MemorySealer(holds=frozenset(keys), trusted=frozenset({NODE, NEW_NODE}))
    if journal is None:
        journal = JournalStore(database="shop", vault=world.vault, sealer=laptop, copies=3).head().journal
    target = MemoryTarget()
    restore(plan(journal, Point()), laptop, world.vault, target)
    assert target.database
    return target.database.totals.rows


def test_who_comes_reads_everything_and_who_goes_nothing_more(world: Rekeyable) -> None:
    before = world.journal
    assert rows_for(world, LEAVING) == 1113
    with pytest.raises(ConfigError, match="no private key"):
        rows_for(world, COMING, journal=before)
    world.change_recipients()
    done = world.rekey()
    assert rows_for(world, COMING) == rows_for(world, STAYING) == 1113
    with pytest.raises(ConfigError, match="no private key"):
        rows_for(world, LEAVING)
    with pytest.raises(ConfigError, match="no private key"):
        rows_for(world, LEAVING, journal=world.journal), "even one who knows the journal"
    assert done.recipients == (STAYING, COMING)
    assert {entry.recipients for entry in done.entries} == {(STAYING, COMING)}
    assert done.kept_back == {}


def test_nothing_but_the_objects_changes(world: Rekeyable) -> None:
    before = world.journal
    world.change_recipients()
    done = world.rekey()
    after = world.journal
    assert after.sequence == before.sequence + 1 == done.version
    assert after.verdicts == before.verdicts
    assert after.is_proven(after.entry(before.verdicts[-1].entry))
    for old, new in zip(before.entries, after.entries, strict=True):
        objects = {"cid": Cid("x"), "size": 0, "digest": ""}
        alike = [
            replace(
                entry,
                recipients=(),
                signer=NODE,
                holders={},
                backup=replace(
                    entry.backup,
                    parts=tuple(replace(part, **objects) for part in entry.backup.parts),  # type: ignore[arg-type]
                ),
            )
            for entry in (old, new)
        ]
        assert alike[0] == alike[1]
        assert after.recorded(old.backup) == new
    assert not parts(after) & parts(before), "every one of them"
    objects_left = {cid for peer in world.vault.peers for cid in peer.objects}
    assert objects_left & parts(before) == set()
    assert parts(after) <= objects_left
    assert set(after.leaving) == parts(before)


def test_the_chain_goes_on_and_later_drills_retirements_and_rekeys_find_it_as_it_was(world: Rekeyable) -> None:
    world.change_recipients()
    world.rekey()
    world.source.commit(10_000)
    world.hourly()
    assert world.journal.entries[-1].backup.kind == "changes"
    assert rows_for(world, COMING) == 11_113
    world.full()
    assert world.drill().previous is not None
    retire(NOTHING, world.source, world.journals, world.vault, patience=0.0)
    assert rows_for(world, COMING) == 11_113
    assert world.rekey().entries == (), "what came later is for the new ones anyway"


def test_step_by_step_each_in_one_version(world: Rekeyable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rekeying, "STEP_ENTRIES", 1)
    before = world.journal
    world.change_recipients()
    done = world.rekey()
    assert len(done.entries) == 5, "two full backups, and changes thrice; quiet hours and gaps hold nothing"
    assert world.journal.sequence == before.sequence + 5
    assert rows_for(world, COMING) == 1113
    last = before.entry(done.entries[-1].sequence)
    assert set(world.journal.leaving) == {part.cid for part in last.backup.parts}, "the others are gone everywhere"


def test_steps_are_as_large_as_they_may_be(world: Rekeyable, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = rekeying.outdated(world.journal, replace(world.sealer, recipients=(COMING,)))
    assert [len(step) for step in rekeying.steps(entries)] == [5]
    monkeypatch.setattr(rekeying, "STEP_ENTRIES", 3)
    assert [len(step) for step in rekeying.steps(entries)] == [3, 2]
    monkeypatch.setattr(rekeying, "STEP_BYTES", 1)
    assert [len(step) for step in rekeying.steps(entries)] == [1, 1, 1, 1, 1]
    assert [*rekeying.steps(())] == []


def test_nothing_to_do_writes_no_version(world: Rekeyable) -> None:
    before = world.journal
    assert world.rekey().entries == ()
    assert world.journal == before


def test_for_new_subkeys_all_is_done_though_the_keys_are_the_same(world: Rekeyable) -> None:
    before = world.journal
    assert len(world.rekey(every=True).entries) == sum(1 for entry in before.entries if entry.backup.parts)
    assert not parts(before) & parts(world.journal)
    assert rows_for(world, STAYING) == 1113


def test_without_a_private_key_of_who_reads_it_now_nothing_is_done(world: Rekeyable) -> None:
    world.take(replace(world.sealer, recipients=(COMING,), holds=frozenset({NODE, COMING})))
    before = objects(world)
    with pytest.raises(ConfigError, match="no private key for this message here"):
        world.rekey()
    assert objects(world) == before


def objects(world: Rekeyable) -> set[Cid]:
    return {cid for peer in world.vault.peers for cid in peer.objects}


def test_a_new_recipients_key_that_is_not_usable_changes_nothing(world: Rekeyable) -> None:
    world.change_recipients()
    world.take(replace(world.sealer, expired=frozenset({COMING})))
    before, journal = objects(world), world.journal
    with pytest.raises(ConfigError, match="has expired"):
        world.rekey()
    assert (objects(world), world.journal) == (before, journal)


def test_missing_copies_change_nothing(world: Rekeyable) -> None:
    before, journal = objects(world), world.journal
    world.change_recipients()
    world.vault.peers[2].worn = True
    with pytest.raises((NotReplicated, Unavailable)):
        world.rekey()
    assert world.journal == journal
    assert objects(world) == before, "the new objects are let go of"


@pytest.mark.parametrize("size", [1, 24])
@pytest.mark.parametrize("damaged", [0, 1])
def test_a_damaged_entry_stays_as_it_is_and_the_others_do_not(
    world: Rekeyable, monkeypatch: pytest.MonkeyPatch, size: int, damaged: int
) -> None:
    """The globals of the first full backup, on which the key is tried; or the changes after it."""
    monkeypatch.setattr(rekeying, "STEP_ENTRIES", size)
    bad = [entry for entry in world.journal.entries if entry.backup.parts][damaged]
    before = objects(world)
    for peer in range(3):
        world.damage(bad.backup.parts[1].cid, peer=peer)
    world.change_recipients()
    done = world.rekey()
    assert {entry.sequence for entry in done.entries} == {
        entry.sequence for entry in world.journal.entries if entry.backup.parts and entry != bad
    }
    assert {entry.recipients for entry in done.entries} == {(STAYING, COMING)}
    assert world.journal.entry(bad.sequence) == bad
    assert rows_for(world, COMING) == 1113, "from the second full backup"
    with pytest.raises(Corrupted, match=f"entry {bad.sequence} is not encrypted anew: no whole copy") as refused:
        done.require_all()
    assert "pgkeep audit shop --share 1" in refused.value.next_step
    named = parts(world.journal) | {cid for cid in objects(world) if cid in before}
    again = world.rekey()
    assert (set(again.damaged), again.entries) == ({bad.sequence}, ())
    assert sentences.rekeyed(again) == "shop: nothing was changed."
    listing = world.vault.listing("pgkeep/shop/")
    backups = {cid for name, cids in listing.names.items() if "/journal/" not in name for cid in cids}
    assert backups <= named, "what was stored anew of it is let go of"
    lost, kept = [part.cid for part in bad.backup.parts], replace(NOTHING, last=9)
    retire(kept, world.source, world.journals, world.vault, lost=lost, give_up=lost, patience=0.0)
    assert bad not in world.journal.entries, "a full backup for that, changes because no rule keeps them"
    world.rekey().require_all()


def test_what_nobody_holds_any_more_does_not_keep_the_others_from_it(world: Rekeyable) -> None:
    bad = next(entry for entry in world.journal.entries if entry.backup.parts)
    cid = bad.backup.parts[0].cid
    for peer in world.vault.peers:
        peer.lose(cid)
        peer.unpin(cid)
    world.change_recipients()
    with pytest.raises(Unavailable):
        world.rekey()
    done = world.rekey(lost=(cid,))
    assert list(done.damaged) == [bad.sequence]
    assert {entry.recipients for entry in done.entries} == {(STAYING, COMING)}
    assert rows_for(world, COMING) == 1113


def test_what_was_retired_meanwhile_stays_away(world: Rekeyable, monkeypatch: pytest.MonkeyPatch) -> None:
    world.change_recipients()
    real = Rekey._put_in_place

    def late(self: Rekey, anew: object) -> object:
        retire(NOTHING, world.source, world.journals, world.vault, patience=0.0)
        return real(self, anew)  # type: ignore[arg-type]

    monkeypatch.setattr(Rekey, "_put_in_place", late)
    world.rekey()
    assert [entry.backup.kind for entry in world.journal.entries if entry.backup.parts] == [
        "changes",
        "full",
        "changes",
    ]
    assert rows_for(world, COMING) == 1113


def test_a_task_that_records_late_finds_its_entry_under_other_keys(world: Rekeyable) -> None:
    first = world.journal.entry(2)
    assert first.backup.kind == "full"
    sealed = Sealed(backup=first.backup, recipients=first.recipients, signer=first.signer)
    late = Replicated(sealed=sealed, copies=3, holders=first.holders)
    world.change_recipients()
    world.rekey()
    before = world.journal
    assert backup.record(late, world.source, world.journals, world.vault) == before.entry(2)
    backup.release(first, world.source, world.journals)
    assert world.journal == before


def test_a_removed_version_that_exchanged_objects_is_betrayed(world: Rekeyable) -> None:
    world.change_recipients()
    world.rekey()
    name = journal_name("shop", sequence=world.journal.sequence)
    (cid,) = world.vault.listing(name).names[name]
    world.vault.drop(cid)
    with pytest.raises(Corrupted, match="newer versions were removed"):
        world.journals.head()


def test_old_objects_that_a_peer_keeps_are_told_and_tried_again(world: Rekeyable) -> None:
    world.vault.peers[2].keeps = True
    old = parts(world.journal)
    world.change_recipients()
    done = world.rekey()
    assert set(done.kept_back) <= old
    assert set(done.kept_back.values()) == {"still pinned at carol"}
    assert "not let go of yet: still pinned at carol. The next run tries again." in sentences.rekeyed(done)
    world.vault.peers[2].keeps = False
    assert world.rekey().kept_back == {}
    assert not objects(world) & old


def test_it_is_said_in_words(world: Rekeyable) -> None:
    world.change_recipients()
    lines = [*sentences.to_rekey(world.journal, world.sealer)]
    assert lines[0].splitlines()[0].split()[:5] == ["ENTRY", "KIND", "AS", "OF", "SIZE"]
    assert f"{LEAVING}, {STAYING}" in lines[0]
    assert lines[1].startswith("5 entries (")
    assert lines[1].endswith(f"encrypted for {STAYING}, {COMING} and signed by {NODE}, in 1 step")
    assert lines[2] == f"needed here: the private key of {LEAVING} or {STAYING}, and this node's"
    said = sentences.rekeyed(world.rekey())
    assert said.startswith("shop: 5 entries (")
    assert f"can be read by {STAYING}, {COMING} only" in said
    assert "The old keys still open what somebody has copied before" in said
    nothing = f"shop: everything is encrypted for {STAYING}, {COMING} already, and signed by this node"
    assert [*sentences.to_rekey(world.journal, world.sealer)] == [nothing]
    assert sentences.rekeyed(world.rekey()) == f"{nothing}."


# --- the node's own key ------------------------------------------------------------------------------------------


def lose_the_nodes_key(world: Rekeyable, *, with_recipient: bool = True) -> None:
    """A new one is made; the settings name the old one among `signers`."""
    world.take(
        replace(
            world.sealer,
            signer=NEW_NODE,
            holds=frozenset({NEW_NODE, *([LEAVING] if with_recipient else [])}),
            trusted=frozenset({NEW_NODE, NODE}),
        )
    )


def test_a_new_node_key_alone_reads_nothing_and_begins_nothing(world: Rekeyable) -> None:
    lose_the_nodes_key(world, with_recipient=False)
    with pytest.raises(ConfigError, match="no private key"):
        world.hourly()


def test_a_new_node_key_makes_a_break_that_the_journal_shows(world: Rekeyable) -> None:
    before = world.journal
    last = before.entries[-1]
    lose_the_nodes_key(world)
    world.source.commit(10_000)
    world.hourly()
    after = world.journal
    assert after.entries[: len(before.entries)] == tuple(
        replace(entry, backup=replace(entry.backup, link=replace(entry.backup.link, position=None)))
        if entry.backup.link
        else entry
        for entry in before.entries
    )
    gap, full = after.entries[len(before.entries) :]
    assert (gap.backup.kind, full.backup.kind) == ("gap", "full")
    assert gap.backup.link
    assert gap.backup.link.since == last.backup.cut, "the chain goes on, and says where it broke"
    assert (
        gap.backup.link.gap
        == f"this node signs with another key from here on: up to entry {last.sequence} it was {NODE}"
    )
    assert {gap.signer, full.signer} == {NEW_NODE}
    # From then on without anybody's key but its own.
    lose_the_nodes_key(world, with_recipient=False)
    world.source.commit(7)
    world.hourly()
    assert world.journal.entries[-1].backup.kind == "changes"
    assert rows_for(world, STAYING) == 11_120
    target = MemoryTarget()
    laptop = MemorySealer(holds=frozenset({STAYING}), trusted=frozenset({NODE, NEW_NODE}))
    restore(plan(world.journal, Point(entry=last.sequence)), laptop, world.vault, target)
    assert target.database
    assert target.database.totals.rows == 1113, "what the old key signed comes back as before"


def test_the_break_stands_before_anything_is_signed_anew(world: Rekeyable) -> None:
    lose_the_nodes_key(world)
    with pytest.raises(
        ConfigError, match=f"which another key has signed .{NODE}.*the journal does not show that break"
    ):
        world.rekey()
    assert world.rekey(chained=False).entries, "where no changes are kept nothing is broken"


def test_signed_anew_the_old_key_is_not_needed_any_more(world: Rekeyable) -> None:
    lose_the_nodes_key(world)
    world.hourly()
    done = world.rekey()
    assert {entry.signer for entry in world.journal.entries if entry.backup.parts} == {NEW_NODE}
    assert len(done.entries) == 5
    laptop = MemorySealer(holds=frozenset({STAYING}), trusted=frozenset({NEW_NODE}))
    journal = JournalStore(database="shop", vault=world.vault, sealer=laptop, copies=3).head().journal
    for entry in journal.entries:
        for part in entry.backup.parts:
            assert sum(map(len, plaintext(part, laptop, world.vault))) == part.plain_size


def test_full_backups_alone_need_no_break() -> None:
    world = MemoryNode()
    sealer = replace(
        world.sealer, signer=NEW_NODE, holds=frozenset({NEW_NODE, LEAVING}), trusted=frozenset({NEW_NODE, NODE})
    )
    journals = replace(world.journals, sealer=sealer)
    stored = backup.capture(world.source, sealer, world.vault, journals, origin=ORIGIN)
    replicated = backup.replicate(backup.check(stored, sealer, world.vault), world.vault, copies=3, patience=0.0)
    assert backup.record(replicated, world.source, journals, world.vault).signer == NEW_NODE
