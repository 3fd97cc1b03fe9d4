"""How entries leave: the journal first, their objects after; and what some peer keeps back is told, not failed at."""

from dataclasses import replace

import pytest

from pgkeep import backup, sentences
from pgkeep.errors import Corrupted, NotReplicated, NotRestorable, Unavailable
from pgkeep.model import Cid, Entry, Replicated, Sealed
from pgkeep.pin_names import journal_name
from pgkeep.plan import Point, plan
from pgkeep.restore import restore
from pgkeep.retention import choose
from pgkeep.retirement import Retired, confirmed, retire
from pgkeep.testing import MemoryTarget, MemoryVault
from unit.test_drill import World
from unit.test_retention import NOTHING


@pytest.fixture
def world() -> World:
    """Three full backups with changes between them, the newest proven."""
    world = World()
    world.full()
    for _ in range(2):
        world.source.commit(10)
        world.hourly()
        world.source.commit(100)
        world.full()
    world.drill()
    return world


def let_go(world: World) -> Retired:
    return retire(NOTHING, world.source, world.journals, world.vault, patience=0.0)


def parts(*entries: Entry) -> set[Cid]:
    return {part.cid for entry in entries for part in entry.backup.parts}


def objects(world: World) -> set[Cid]:
    return {cid for peer in world.vault.peers for cid in peer.objects}


def rows(world: World) -> int:
    """What comes back of the newest moment."""
    target = MemoryTarget()
    restore(plan(world.journal, Point()), world.sealer, world.vault, target)
    assert target.database
    return target.database.totals.rows


def test_what_no_rule_keeps_leaves_the_journal_and_every_peer(world: World) -> None:
    before = world.journal
    done = let_go(world)
    after = world.journal
    assert [entry.backup.kind for entry in after.entries] == ["changes", "full"]
    gone = [entry for entry in before.entries if entry not in after.entries]
    assert [fate.entry for fate in done.fates if not fate.stays] == gone
    assert objects(world) & parts(*before.entries) == parts(*after.entries)
    assert done.version == after.sequence == before.sequence + 1
    assert done.kept_back == {}
    assert set(after.leaving) == parts(*gone)
    assert after.verdicts == before.verdicts, "the verdict on what stays"
    assert rows(world) == 223


def test_changes_go_on_from_what_stays(world: World) -> None:
    let_go(world)
    world.source.commit(1000)
    world.hourly()
    assert rows(world) == 1223
    world.source.commit(1)
    world.full()
    assert world.drill().previous is not None
    let_go(world)
    assert rows(world) == 1224


def test_nothing_to_do_writes_no_version(world: World) -> None:
    let_go(world)
    before = world.journal
    done = let_go(world)
    assert world.journal == before
    assert all(fate.stays for fate in done.fates)
    assert done.kept_back == {}


def test_without_a_proof_nothing_goes(world: World) -> None:
    world.target.loses_rows = 1
    with pytest.raises(Corrupted):
        world.drill()
    before = world.journal
    assert all(fate.stays for fate in let_go(world).fates)
    assert world.journal == before


def test_a_peer_that_takes_no_pin_away_is_told_and_tried_again(world: World) -> None:
    world.vault.peers[2].keeps = True
    before = world.journal
    done = let_go(world)
    gone = parts(*before.entries) - parts(*world.journal.entries)
    # Only what stands in that Kubo under a name of its own can be seen there.
    assert done.kept_back
    assert set(done.kept_back) <= gone
    assert set(done.kept_back.values()) == {"still pinned at carol"}
    assert "not let go of yet: still pinned at carol. The next run tries again." in sentences.retired(done)
    world.source.commit(1)
    world.full()
    world.drill()
    again = let_go(world)
    assert set(done.kept_back) < set(world.journal.leaving), "it is remembered"
    assert set(done.kept_back) < set(again.kept_back)
    world.vault.peers[2].keeps = False
    assert let_go(world).kept_back == {}


def test_a_peer_that_is_away_may_have_anything(world: World) -> None:
    world.journals = replace(world.journals, copies=2)
    world.run = replace(world.run, journals=world.journals)
    world.vault.peers[2].up = False
    done = let_go(world)
    assert set(done.kept_back) == set(world.journal.leaving)
    assert set(done.kept_back.values()) == {"not known of carol, silent"}
    world.vault.peers[2].up = True
    assert let_go(world).kept_back == {}


def test_an_own_peer_that_does_not_unpin_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(cid: Cid) -> None:
        raise Unavailable("the Kubo of alice does not answer", next_step="start it")

    monkeypatch.setattr(world.vault, "drop", refuse)
    done = let_go(world)
    assert set(done.kept_back.values()) == {"the Kubo of alice does not answer"}
    monkeypatch.undo()
    assert let_go(world).kept_back == {}
    assert not objects(world) & set(world.journal.leaving)


def test_a_journal_that_cannot_be_replicated_lets_go_of_nothing(world: World) -> None:
    before = objects(world)
    world.vault.peers[2].up = False
    with pytest.raises((Unavailable, NotReplicated)):
        let_go(world)
    world.vault.peers[2].up = True
    assert before <= objects(world)
    assert rows(world) == 223


def test_what_was_retired_is_never_named_again(world: World) -> None:
    """A `record` task that somebody clears, weeks after its run."""
    first = world.journal.entry(2)
    sealed = Sealed(backup=first.backup, recipients=first.recipients, signer=first.signer)
    late = Replicated(sealed=sealed, copies=3, holders=first.holders)
    let_go(world)
    before = world.journal
    assert before.recorded(first.backup) is None
    with pytest.raises(NotRestorable, match="has left the journal of shop"):
        backup.record(late, world.source, world.journals, world.vault)
    world.source.commit(1)
    world.full()
    world.drill()
    let_go(world)
    assert not parts(first) & set(world.journal.leaving), "long forgotten"
    with pytest.raises(NotReplicated, match="has 0 of 3 copies"):
        backup.record(late, world.source, world.journals, world.vault)


def test_a_removed_version_that_retired_something_is_betrayed(world: World) -> None:
    let_go(world)
    name = journal_name("shop", sequence=world.journal.sequence)
    (cid,) = world.vault.listing(name).names[name]
    world.vault.drop(cid)
    with pytest.raises(Corrupted, match="newer versions were removed"):
        world.journals.head()


def test_what_is_lost_is_asked_for_once_more_before_it_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, back, _ = (parts(entry) for entry in world.journal.entries if entry.backup.kind == "full")
    for peer in world.vault.peers:
        for cid in lost:
            peer.lose(cid)
    given_up = {*lost, *back}
    assert set(confirmed(world.journal, given_up, world.vault)) == lost, "the other is whole"
    assert confirmed(world.journal, {Cid("bafygone")}, world.vault) == ()
    with monkeypatch.context() as patched:
        patched.setattr(world.vault, "places", lambda: MemoryVault.places(world.vault)[:2])
        assert confirmed(world.journal, given_up, world.vault) == (), "carol cannot be asked, and is to have it"
    world.vault.peers[2].up = False
    with pytest.raises(Unavailable, match="carol may have a whole copy of it"):
        confirmed(world.journal, given_up, world.vault)


def test_the_plan_is_shown_with_its_reasons(world: World) -> None:
    table = sentences.fate_table(choose(world.journal, NOTHING)).splitlines()
    assert table[0].split() == ["ENTRY", "KIND", "AS", "OF", "SIZE", "STAYS", "BECAUSE"]
    assert [line.split()[0] for line in table[1:]] == [str(entry.sequence) for entry in world.journal.entries]
    assert table[1].endswith("no rule keeps it")
    assert "GOES" in table[1]
    assert "proven, of which 1 are kept" in table[-1]
    said = sentences.retired(let_go(world))
    assert said.startswith("shop: 6 entries (")
    assert "2 entries stay." in said
    assert sentences.retired(let_go(world)) == "shop: nothing goes; 2 entries stay."
