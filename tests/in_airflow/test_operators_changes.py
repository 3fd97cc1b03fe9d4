"""The steps of an hour over the doubles: what is collected, what is skipped, and what several runs at once come to."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from in_airflow import steps
from in_airflow.steps import collect, replicated
from in_airflow.world import World
from pgkeep import chain, records
from pgkeep.airflow import assets
from pgkeep.errors import Unavailable
from pgkeep.model import Entry, Stored
from pgkeep.testing import MemoryCapture

SECOND = timedelta(seconds=1)


@pytest.fixture
def kept(world: World) -> World:
    """A database whose changes are kept, and which has its first full backup."""
    world.capture = MemoryCapture(world.source)
    finish(world, collect(world))
    return world


def finish(world: World, stored: steps.Record, *, until: datetime | None = None) -> Entry:
    entry = steps.record(world, replicated(world, stored), until=until)
    steps.release(world, entry, assets.either("shop"))
    return records.decode(Entry, entry)


def shown(world: World) -> datetime:
    """The moment that the source shows now."""
    return datetime.fromisoformat(world.source.holding.cut.time)


def kinds(world: World) -> list[str]:
    return [entry.backup.kind for entry in world.journals.head().journal.entries]


def unbroken(world: World) -> bool:
    """`chain.links` raises if it is not."""
    return bool(chain.links(world.journals.head().journal))


def skipped(call: Callable[[], object]) -> str:
    with pytest.raises(AirflowSkipException) as caught:
        call()
    return str(caught.value)


def test_the_first_hour_is_a_full_backup(kept: World) -> None:
    assert kinds(kept) == ["gap", "full"]


def test_the_way_of_an_hour(kept: World) -> None:
    kept.source.commit(10)
    stored = collect(kept)
    backup = records.decode(Stored, stored).backup
    assert (backup.kind, backup.link and backup.link.transactions) == ("changes", 1)
    assert backup.origin.by == "airflow:pgkeep_shop_full/manual__1/2"
    entry = finish(kept, stored)
    journal = kept.journals.head().journal
    assert journal.entries[-1] == journal.recorded(entry.backup), "what is handed on is brief, and the journal is whole"
    assert journal.entries[-1].sequence == entry.sequence
    assert kept.source.released == [2, 3]
    assert kinds(kept) == ["gap", "full", "changes"]
    assert unbroken(kept)


def test_a_quiet_hour_stores_nothing_and_is_an_entry(kept: World) -> None:
    before = set(kept.vault.peers[0].objects)
    stored = collect(kept)
    assert records.decode(Stored, stored).backup.parts == ()
    assert set(kept.vault.peers[0].objects) == before
    assert finish(kept, stored).backup.link
    assert kinds(kept) == ["gap", "full", "changes"]


def test_an_interval_that_is_shown_already_is_skipped(kept: World) -> None:
    said = skipped(lambda: collect(kept, until=shown(kept)))
    assert "already covered by entry 1" in said
    assert kinds(kept) == ["gap", "full"]


def test_an_interval_that_is_not_shown_yet_is_collected(kept: World) -> None:
    kept.source.commit(1)
    kept.source.commit(1)
    backup = records.decode(Stored, collect(kept, until=shown(kept) - SECOND)).backup
    assert backup.link
    assert backup.link.transactions == 2, "a run brings the journal up to now, not only to its interval's end"


def test_a_run_by_hand_has_no_interval_and_always_collects(kept: World) -> None:
    assert records.decode(Stored, collect(kept)).backup.kind == "changes"


def test_what_cannot_be_carried_is_a_full_backup_in_the_same_run(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    assert kept.capture
    kept.capture.doubt = "a row was hidden"
    kept.source.commit(5)
    assert finish(kept, collect(kept)).backup.kind == "full"
    assert kinds(kept) == ["gap", "full", "gap", "full"]
    assert "a row was hidden; a full backup is made instead" in caplog.text
    link = chain.link_of(kept.journals.head().journal.entry(3))
    assert link.gap == "a row was hidden"


def test_a_lost_slot_is_a_full_backup_in_the_same_run(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    assert kept.capture
    kept.capture.slot = None
    assert finish(kept, collect(kept)).backup.kind == "full"
    assert kinds(kept) == ["gap", "full", "gap", "full"]
    assert "the slot is lost; a full backup is made now" in caplog.text


def test_an_event_goes_to_what_the_run_has_made(kept: World) -> None:
    assert kept.capture
    told = assets.either("shop")
    for kind, doubt in (("changes", None), ("full", "a row was hidden")):
        kept.capture.doubt = doubt
        kept.source.commit(1)
        entry = steps.record(kept, replicated(kept, collect(kept)))
        (event,) = steps.release(kept, entry, told)[told].asset_alias_events
        assert event.dest_asset_key.name == f"pgkeep/shop/{kind}"
        assert event.extra == assets.summary(records.decode(Entry, entry))


def test_two_runs_at_once_are_one_chain(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kept.source.commit(1)
    slow = replicated(kept, collect(kept))
    kept.source.commit(1)
    finish(kept, collect(kept))
    kept.source.commit(1)
    entry = records.decode(Entry, steps.record(kept, slow))
    links = [chain.link_of(link) for link in chain.links(kept.journals.head().journal)]
    assert [link.transactions for link in links] == [0, 2, 1]
    assert entry.sequence == 4
    assert "another run has carried the changes" in caplog.text
    assert "collecting again from there" in caplog.text


def test_a_run_that_was_overtaken_lets_go_of_what_it_had_stored(kept: World) -> None:
    kept.source.commit(1)
    stored = collect(kept)
    kept.source.commit(1)
    slow, fast = replicated(kept, stored), collect(kept)
    finish(kept, fast)
    steps.record(kept, slow)
    own = {part.cid for part in records.decode(Stored, stored).backup.parts}
    assert own
    assert not own & set(kept.vault.peers[0].pins)


def test_an_overtaken_run_whose_interval_is_shown_meanwhile_adds_nothing(kept: World) -> None:
    kept.source.commit(1)
    until = shown(kept)
    slow = replicated(kept, collect(kept, until=until))
    fast = finish(kept, collect(kept, until=until))
    assert records.decode(Entry, steps.record(kept, slow, until=until)) == fast
    assert kinds(kept) == ["gap", "full", "changes"]


def test_a_record_that_was_killed_behind_its_entry_finds_it(kept: World) -> None:
    kept.source.commit(1)
    ready = replicated(kept, collect(kept))
    assert steps.record(kept, ready) == steps.record(kept, ready)


def test_a_full_backup_ends_the_last_window_first(kept: World) -> None:
    kept.source.commit(7)
    finish(kept, steps.dump(kept))
    link, full = kept.journals.head().journal.entries[-2:]
    assert (link.backup.kind, full.backup.kind) == ("changes", "full")
    assert link.backup.cut == full.backup.cut


def test_a_missing_full_backup_is_made_up_for_by_one_run_only(world: World) -> None:
    capture = world.capture = MemoryCapture(world.source)
    collect(world)
    capture.dumping = True
    assert records.decode(Stored, collect(world)).backup.kind == "changes"
    capture.dumping = False
    assert records.decode(Stored, collect(world)).backup.kind == "full"


def test_a_dying_source_is_tried_again(kept: World) -> None:
    assert kept.capture
    kept.capture.slot, kept.source.dies_after = None, 100
    with pytest.raises(Unavailable):
        collect(kept)


def test_full_backups_only_means_that_nothing_is_collected(world: World) -> None:
    with pytest.raises(AirflowFailException, match="Next: pgkeep backup shop --full"):
        collect(world)
