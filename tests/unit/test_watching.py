"""What is gathered about one database, and what is remembered of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fix_memory_node import ORIGIN
from in_airflow.world import World
from pgkeep import backup
from pgkeep.cli.remembered import Remembered
from pgkeep.errors import Corrupted, NotReplicated, Unavailable
from pgkeep.freshness import Recollection, Seen, error
from pgkeep.journal_store import KEPT_VERSIONS
from pgkeep.meter import unwatched
from pgkeep.model import Entry, KeyFingerprint
from pgkeep.preflight import freshness, look, require_all
from pgkeep.site import Site
from unit.test_rollback import Attacker

NODE = KeyFingerprint("A" * 40)


class Notebook:
    """A memory that shows what it was given."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def recall(self) -> Sequence[Recollection]:
        return [Recollection(seen=seen, where="a notebook", forget="tear it up") for seen in self.seen]

    def keep(self, seen: Seen) -> None:
        self.seen = [seen]


@pytest.fixture
def world() -> World:
    return World()


def site_of(world: World) -> Site:
    """The doubles' source shows a moment long ago."""
    site = world.site("shop")
    return replace(site, database=replace(site.database, newest_hours=1e6))


def full(site: Site) -> Entry:
    stored = site.full(origin=ORIGIN, patience=0.0, watch=unwatched)
    sealed = backup.check(stored, site.sealer, site.vault)
    replicated = backup.replicate(sealed, site.vault, copies=site.copies, patience=0.0)
    return site.record(replicated, origin=ORIGIN, patience=0.0, watch=unwatched)


def test_what_is_well_is_remembered(world: World) -> None:
    memory, site = Notebook(), site_of(world)
    entry = full(site)
    _, concerns = look(site, memory)
    assert concerns == ()
    assert [(seen.sequence, seen.entry, seen.moment) for seen in memory.seen] == [(1, 1, entry.backup.cut.time)]
    (finding,) = freshness(site, memory)
    assert not finding.fatal
    assert "can be restored as it was" in finding.what


def test_a_journal_that_lost_its_newest_version_is_noticed_and_not_remembered(world: World) -> None:
    memory, site = Notebook(), site_of(world)
    full(site)
    look(site, memory)
    newer = replace(memory.seen[0], sequence=2)
    memory.keep(newer)
    _, concerns = look(site, memory)
    assert [concern.kind for concern in concerns] == [Corrupted]
    assert memory.seen == [newer]


def test_what_an_audit_left_damaged_is_a_finding_until_it_is_mended(world: World) -> None:
    site = site_of(world)
    (part, *_) = full(site).backup.parts
    world.vault.peers[2].worn = True
    world.vault.peers[2].lose(part.cid)
    assert site.audit(share=1.0, patience=0.0, watch=unwatched).run().wrong
    found = [finding for finding in freshness(site, Notebook()) if finding.kind is Corrupted]
    assert [f"({part.cid}): its copy at carol is damaged" in finding.what for finding in found] == [True]
    with pytest.raises(Corrupted):
        require_all(found)
    world.vault.peers[2].worn = False
    site.audit(share=1.0, patience=0.0, watch=unwatched).run().require_well()
    assert look(site, Notebook())[1] == ()


def test_a_copy_that_is_missing_is_no_reason_to_give_up_at_once(world: World) -> None:
    site = site_of(world)
    entry = full(site)
    for part in entry.backup.parts:
        world.vault.peers[2].unpin(part.cid)
    _, concerns = look(site, Notebook())
    found = error("shop", concerns)
    assert isinstance(found, NotReplicated)
    assert (found.have, found.want, found.transient) == (2, 3, True)


def test_a_journal_that_was_rolled_back_and_has_gone_on_is_noticed_until_somebody_has_looked(world: World) -> None:
    """The next backup hides it from everything but what is remembered outside of the cluster."""
    memory, site = Notebook(), site_of(world)
    for _ in range(3):
        full(site)
    look(site, memory)
    (seen,) = memory.seen
    Attacker(world.vault).roll_back(3)
    for _ in range(2):
        full(site)
    for _ in range(2):
        facts, concerns = look(site, memory)
        assert facts.journal.sequence == 4
        assert [concern.topic for concern in concerns] == ["rollback"]
        assert memory.seen == [seen]
    full(site)
    memory.seen.clear()
    assert look(site, memory)[1] == ()


def test_what_is_remembered_may_lie_far_back(world: World) -> None:
    """Old versions are let go of: what cannot be compared any more says nothing."""
    memory, site = Notebook(), site_of(world)
    full(site)
    look(site, memory)
    for _ in range(12):
        full(site)
    facts, concerns = look(site, memory)
    assert 1 < min(facts.lineage) <= 13 - KEPT_VERSIONS + 1
    assert concerns == ()


def test_a_vault_that_does_not_answer_is_a_finding(world: World) -> None:
    site = site_of(world)
    for peer in world.vault.peers:
        peer.up = False
    (finding,) = freshness(site, Notebook())
    assert finding.fatal
    assert finding.kind is Unavailable


def test_the_command_line_remembers_in_a_file_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    memory = Remembered("we/ird", NODE)
    assert memory.recall() == ()
    seen = Seen(sequence=3, cid=None, moment=None, entry=None)
    memory.keep(seen)
    (found,) = memory.recall()
    assert found.seen == seen
    assert memory.path.stat().st_mode & 0o777 == 0o600
    assert str(memory.path) in found.forget
    assert Remembered("we/ird", KeyFingerprint("B" * 40)).recall() == (), "another vault's database of that name"


def test_a_memory_that_cannot_be_written_fails_nothing_and_one_that_cannot_be_read_is_not_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("no directory", encoding="utf-8")
    memory = Remembered("shop", NODE)
    memory.keep(Seen(sequence=3, cid=None, moment=None, entry=None))
    assert caplog.text.count("would not be noticed") == 1
    with pytest.raises(Unavailable, match=r"cannot be read, so an older journal would not be noticed.*Next: let"):
        memory.recall()
