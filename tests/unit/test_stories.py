"""The stories over the doubles: a backup is made, found again and brought back, on good days and on bad ones."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pgkeep import backup, journal, records, restore
from pgkeep.errors import ConfigError, Corrupted, Disturbed, NotReplicated, NotRestorable, Unavailable
from pgkeep.journal_store import KEPT_VERSIONS, JournalStore
from pgkeep.model import Cid, Entry, Instant, KeyFingerprint, Origin, Sealed, Stored, now
from pgkeep.pin_names import journal_name, part_name
from pgkeep.plan import Point, RecoveryPlan, plan
from pgkeep.ports import Place, Snapshot
from pgkeep.testing import NODE, RECIPIENTS, MemorySealer, MemorySource, MemoryTarget, MemoryVault, sample_inventory

ORIGIN = Origin(host="node-1", by="test")


class World:
    """One node with three peers and a database, all in memory."""

    def __init__(self) -> None:
        self.vault = MemoryVault()
        self.sealer = MemorySealer()
        self.source = MemorySource()
        self.journals = JournalStore(database="shop", vault=self.vault, sealer=self.sealer, copies=3, patience=0.0)

    def capture(self) -> Stored:
        return backup.capture(self.source, self.sealer, self.vault, self.journals, origin=ORIGIN)

    def seal(self) -> Sealed:
        return backup.check(self.capture(), self.sealer, self.vault)

    def full(self) -> Entry:
        return self.record(self.seal())

    def record(self, sealed: Sealed) -> Entry:
        replicated = backup.replicate(sealed, self.vault, copies=3, patience=0.0)
        return backup.record(replicated, self.source, self.journals, self.vault)

    def restore(self, target: MemoryTarget, *, replace: bool = False) -> restore.Restored:
        way = plan(self.journals.head().journal, Point())
        return restore.restore(way, self.sealer, self.vault, target, replace=replace)

    def objects(self) -> set[Cid]:
        return {cid for peer in self.vault.peers for cid in peer.objects}

    def damage(self, cid: Cid, *, peers: int) -> None:
        for peer in self.vault.peers[:peers]:
            content = peer.objects[cid]
            peer.objects[cid] = content[:50] + bytes([content[50] ^ 1]) + content[51:]

    def journal_cid(self, sequence: int) -> Cid:
        return next(cid for cid, (name, _) in self.vault.cluster.items() if name == f"pgkeep/shop/journal/{sequence}")


@pytest.fixture
def world() -> World:
    world = World()
    world.journals.begin()
    return world


def test_a_backup_comes_back(world: World) -> None:
    entry = world.full()
    target = MemoryTarget()
    restored = world.restore(target)
    assert restored.plan == RecoveryPlan(base=entry, steps=())
    assert target.database == world.source.holding
    assert target.leftovers == 0
    backup.release(entry, world.source, world.journals)
    assert world.source.released == [1]


def test_a_version_is_measured_and_mailed_as_it_was_found_valid(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a peer gives its end too early, or has a door that lets nobody in."""
    world.full()
    head = world.journals.head()
    whole, read, times = world.vault.peers[0].objects[head.cid], MemoryVault.read, itertools.count()

    def odd(vault: MemoryVault, cid: Cid, *, at: Place) -> Iterator[bytes]:
        if at.name == "alice" and next(times) % 2:
            yield from itertools.islice(read(vault, cid, at=at), 1)
        elif at.name == "alice":
            raise ConfigError("alice refuses our login", next_step="correct it")
        else:
            yield from read(vault, cid, at=at)

    monkeypatch.setattr(MemoryVault, "read", odd)
    for _ in range(4):
        assert world.journals.sealed(head) == whole
        assert world.journals.measured(head).size == len(whole)


def test_every_part_is_pinned_under_its_name_on_every_peer(world: World) -> None:
    entry = world.full()
    for part in entry.backup.parts:
        name, peers = world.vault.cluster[part.cid]
        assert name == part_name("shop", kind="full", number=1, part=part.name)
        assert len(peers) == 3
        assert all(copy.read_back for copy in entry.holders[part.cid])


def test_recipients_read_backups_and_the_node_reads_only_the_journal(world: World) -> None:
    entry = world.full()
    vault, own = world.vault, world.vault.own()
    readers = {part.name: world.sealer.envelope(vault.read(part.cid, at=own)).recipients for part in entry.backup.parts}
    assert readers["dump"] == readers["globals"] == set(RECIPIENTS)
    assert readers["inventory"] == {*RECIPIENTS, NODE}


def test_a_source_that_dies_leaves_nothing(world: World) -> None:
    before = world.objects()
    world.source.dies_after = 100
    with pytest.raises(Unavailable, match="pg_dump was killed"):
        world.capture()
    assert world.objects() == before


def test_a_table_rewritten_in_that_moment_costs_one_more_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "PAUSES", (0.0, 0.0))
    world.source.disturbances = 2
    assert world.full().backup.kind == "full"
    world.source.disturbances = 3
    with pytest.raises(Disturbed):
        world.capture()


def test_a_failure_after_the_first_part_lets_go_of_it(world: World) -> None:
    before = world.objects()

    class Unreadable(MemorySource):
        @contextmanager
        def snapshot(self) -> Iterator[Snapshot]:
            with super().snapshot() as snapshot:
                yield snapshot
                raise Unavailable("the connection broke at the very end", next_step="again")

    world.source = Unreadable()
    with pytest.raises(Unavailable, match="at the very end"):
        world.capture()
    assert world.objects() == before


def test_an_expired_key_is_a_setting_to_mend(world: World) -> None:
    world.sealer.expired = frozenset({RECIPIENTS[1]})
    with pytest.raises(ConfigError, match="expired"):
        world.capture()


def test_check_refuses_other_bytes(world: World) -> None:
    stored = world.capture()
    world.damage(stored.backup.parts[0].cid, peers=1)
    with pytest.raises(Corrupted, match="must not leave this machine"):
        backup.check(stored, world.sealer, world.vault)


@pytest.mark.parametrize("readers", [RECIPIENTS[:1], (*RECIPIENTS, KeyFingerprint("D" * 40))])
def test_check_refuses_too_few_and_too_many_readers(world: World, readers: tuple[KeyFingerprint, ...]) -> None:
    configured, world.sealer.recipients = world.sealer.recipients, readers
    stored = world.capture()
    world.sealer.recipients = configured
    with pytest.raises(Corrupted, match="it is encrypted for"):
        backup.check(stored, world.sealer, world.vault)
    assert not any(part.cid in world.vault.cluster for part in stored.backup.parts), "nothing left the machine"


def test_a_peer_that_is_down_is_waited_for_without_a_new_dump(world: World) -> None:
    sealed = world.seal()
    world.vault.peers[2].up = False
    with pytest.raises(Unavailable):
        backup.replicate(sealed, world.vault, copies=3, patience=0.0)
    world.vault.peers[2].up = True
    assert world.record(sealed).sequence == 1


def test_a_copy_with_other_bytes_does_not_count(world: World) -> None:
    sealed = world.seal()
    cid = sealed.backup.parts[0].cid
    world.vault.peers[1].objects[cid] = b"rotten"
    with pytest.raises(NotReplicated) as caught:
        backup.replicate(sealed, world.vault, copies=3, patience=0.0)
    assert (caught.value.have, caught.value.want) == (2, 3)
    assert caught.value.holders["bob"] == "does not give it whole"


def test_claims_count_for_the_part_with_the_fewest(world: World) -> None:
    sealed = world.seal()
    backup.ask(sealed, world.vault, copies=3)
    backup.require_claims(sealed, world.vault, copies=3)
    world.vault.peers[2].unpin(sealed.backup.parts[1].cid)
    with pytest.raises(NotReplicated, match=r"globals .* has 2 of 3 copies"):
        backup.require_claims(sealed, world.vault, copies=3)


def test_recording_twice_gives_one_entry(world: World) -> None:
    replicated = backup.replicate(world.seal(), world.vault, copies=3, patience=0.0)
    first = backup.record(replicated, world.source, world.journals, world.vault)
    again = backup.record(replicated, world.source, world.journals, world.vault)
    assert first == again
    assert len(world.journals.head().journal.entries) == 1


def test_two_backups_at_once_become_two_entries_with_true_names(world: World) -> None:
    one = world.seal()
    later = replace(world.source.holding.cut, time=Instant("2026-01-02T03:04:05.000001Z"))
    world.source.holding = replace(world.source.holding, cut=later)
    two = world.seal()
    assert one.backup.number == two.backup.number == 1
    assert [world.record(one).sequence, world.record(two).sequence] == [1, 2]
    name, _ = world.vault.cluster[two.backup.parts[0].cid]
    assert name == part_name("shop", kind="full", number=2, part="dump")
    assert [entry.sequence for entry in world.journals.head().journal.entries] == [1, 2]


def test_the_newest_is_the_one_that_shows_the_latest_moment(world: World) -> None:
    late = world.seal()
    later = replace(world.source.holding.cut, time=Instant("2026-01-02T03:04:06.000000Z"))
    world.source.holding = replace(world.source.holding, cut=later)
    assert world.full().sequence == 1
    assert world.record(late).sequence == 2
    assert world.journals.head().journal.entry().sequence == 1


def test_release_only_after_the_peers_show_the_entry(world: World) -> None:
    entry = world.full()
    stranger = replace(entry, backup=replace(entry.backup, parts=entry.backup.parts[:1]))
    with pytest.raises(Corrupted, match="does not name entry"):
        backup.release(stranger, world.source, world.journals)
    assert world.source.released == []


# --- the journal -------------------------------------------------------------------------------------------------


def test_no_journal_is_not_an_empty_one() -> None:
    with pytest.raises(NotRestorable, match="no journal of shop"):
        World().journals.head()


def test_no_journal_while_a_peer_is_silent_is_no_answer() -> None:
    world = World()
    world.vault.peers[1].up = False
    with pytest.raises(Unavailable, match="silent: bob"):
        world.journals.head()


def test_a_journal_begins_only_when_every_peer_says_there_is_none() -> None:
    world = World()
    world.vault.peers[1].up = False
    with pytest.raises(Unavailable, match="1 of 3 peers do not answer"):
        world.journals.begin()


def test_beginning_twice_is_the_same_journal(world: World) -> None:
    world.full()
    assert world.journals.begin().journal.sequence == 1


def test_backups_without_a_journal_are_not_started_over(world: World) -> None:
    world.full()
    for sequence in (0, 1):
        world.vault.drop(world.journal_cid(sequence))
    with pytest.raises(Corrupted, match="no journal that names them"):
        world.journals.begin()


@pytest.mark.parametrize("alive", [0, 1, 2])
def test_any_one_peer_is_enough_to_restore(world: World, alive: int) -> None:
    world.full()
    for peer in world.vault.peers:
        peer.up = peer is world.vault.peers[alive]
    target = MemoryTarget()
    world.restore(target)
    assert target.database == world.source.holding


def test_a_writer_wants_to_hear_from_a_holder_of_any_newer_version(world: World) -> None:
    world.journals = replace(world.journals, copies=1)
    world.vault.peers[2].up = False
    with pytest.raises(Unavailable, match="a newer version"):
        world.capture()


def test_a_damaged_newest_version_is_refused_not_passed_over(world: World) -> None:
    world.full()
    world.damage(world.journal_cid(1), peers=3)
    with pytest.raises(Corrupted, match="version 1 of the journal of shop is not valid"):
        world.journals.head()
    assert world.journals.head(accept="0").journal.sequence == 0, "only a person's word takes an older one"


def test_a_newest_version_that_is_gone_where_it_should_be_is_damage_not_distance(world: World) -> None:
    world.full()
    for peer in world.vault.peers:
        del peer.objects[world.journal_cid(1)]
    with pytest.raises(Corrupted, match="version 1 of the journal of shop is not valid"):
        world.journals.head()


def test_a_newest_version_on_peers_that_are_down_is_distance(world: World) -> None:
    world.full()
    peers = world.vault.peers
    cid = world.journal_cid(1)
    world.vault.cluster[cid] = (world.vault.cluster[cid][0], (peers[1].id, peers[2].id))
    del peers[0].objects[cid]
    peers[1].up = peers[2].up = False
    with pytest.raises(Unavailable, match="is on no peer that answers"):
        world.journals.head()


def test_a_version_damaged_on_one_peer_is_read_from_another(world: World) -> None:
    world.full()
    world.damage(world.journal_cid(1), peers=1)
    assert world.journals.head().journal.sequence == 1


def test_an_older_version_under_a_newer_name_is_a_rollback(world: World) -> None:
    world.full()
    world.full()
    newest, older = world.journal_cid(2), world.journal_cid(1)
    world.vault.drop(newest)
    world.vault.pin(older, name=journal_name("shop", sequence=2), copies=3)
    with pytest.raises(Corrupted, match="is version 1 of shop: somebody put an older"):
        world.journals.head()


def test_whoever_unpins_everything_is_noticed(world: World) -> None:
    """By somebody with the cluster's password: what is gone is gone, and nothing begins anew over it."""
    world.full()
    for cid in list(world.vault.cluster):
        world.vault.drop(cid)
    with pytest.raises(NotRestorable, match="no journal of shop"):
        world.journals.head()
    with pytest.raises(NotRestorable, match="no journal of shop"):
        world.full()


def test_removed_newer_versions_are_betrayed_by_the_backups_they_named(world: World) -> None:
    for _ in range(3):
        world.full()
    for sequence in (2, 3):
        world.vault.drop(world.journal_cid(sequence))
    with pytest.raises(Corrupted, match="newer versions were removed"):
        world.journals.head()


def test_a_removed_newest_version_is_betrayed_by_what_it_named(world: World) -> None:
    for _ in range(3):
        world.full()
    world.vault.drop(world.journal_cid(3))
    with pytest.raises(Corrupted, match="newer versions were removed"):
        world.journals.head()
    with pytest.raises(Corrupted, match="newer versions were removed"):
        world.capture()


def test_without_the_clusters_pinset_kubos_own_names_are_enough(world: World) -> None:
    world.full()
    world.vault.cluster.clear()
    assert world.journals.head().journal.sequence == 1
    world.vault.peers[0].up = False
    target = MemoryTarget()
    world.restore(target)
    assert target.database == world.source.holding


def test_a_new_recipient_need_not_read_older_versions(world: World) -> None:
    world.full()
    newcomer = KeyFingerprint("F" * 40)
    world.sealer.recipients = (*RECIPIENTS, newcomer)
    world.full()
    theirs = replace(world.sealer, holds=frozenset({newcomer}))
    assert replace(world.journals, sealer=theirs).head().journal.sequence == 2


def test_an_object_for_others_beside_the_valid_version_is_ignored(world: World) -> None:
    world.full()
    foreign = replace(world.sealer, recipients=(KeyFingerprint("F" * 40),), signer=KeyFingerprint("E" * 40))
    cid = world.vault.add(foreign.seal([b"x"], audience="journal"), name="x")
    world.vault.pin(cid, name=journal_name("shop", sequence=1), copies=3)
    assert world.journals.head().journal.sequence == 1


def test_a_version_that_reads_back_different_is_never_published(world: World) -> None:
    class Rotten(MemoryVault):
        def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
            cid = super().add(chunks, name=name)
            if "draft" in name:
                self.peers[0].objects[cid] = b"rotten"
            return cid

    world.vault = Rotten()
    world.journals = replace(world.journals, vault=world.vault)
    with pytest.raises(Corrupted):
        world.journals.begin()
    assert world.vault.cluster == {}


def test_an_entry_that_is_written_stays_written_whatever_tidying_meets(world: World) -> None:
    class Forgetful(MemoryVault):
        def label(self, cid: Cid, *, name: str) -> None:
            if "recorded" in name:
                raise Unavailable("gone", next_step="again")
            super().label(cid, name=name)

    world.vault = Forgetful()
    world.journals = replace(world.journals, vault=world.vault)
    world.journals.begin()
    assert world.full().sequence == 1


def test_a_dump_is_not_read_again_and_again_while_another_part_is_missing(world: World) -> None:
    class Counting(MemoryVault):
        reads = 0

        def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
            self.reads += 1
            return super().read(cid, at=at)

        def pin(self, cid: Cid, *, name: str, copies: int) -> None:
            super().pin(cid, name=name, copies=copies - name.endswith("globals"))

    world.vault = Counting()
    world.journals = replace(world.journals, vault=world.vault)
    world.journals.begin()
    sealed = world.seal()
    before = world.vault.reads
    with pytest.raises(NotReplicated):
        backup.replicate(sealed, world.vault, copies=3, patience=0.5)
    assert world.vault.reads == before


def test_a_journal_signed_by_a_stranger_is_refused(world: World) -> None:
    stranger = replace(world.sealer, signer=KeyFingerprint("E" * 40))
    version = journal.begin("other", now=now())
    cid = world.vault.add(stranger.seal([records.to_bytes(version)], audience="journal"), name="x")
    world.vault.pin(cid, name=journal_name("other", sequence=0), copies=3)
    with pytest.raises(Corrupted, match="whom nobody trusts"):
        replace(world.journals, database="other").head()


def test_two_valid_versions_of_one_number_are_shown_not_chosen(world: World) -> None:
    fork = World()
    fork.journals.begin()
    cid = fork.journal_cid(0)
    other = world.vault.add([fork.vault.peers[0].objects[cid]], name="x")
    world.vault.pin(other, name=journal_name("shop", sequence=0), copies=3)
    with pytest.raises(Corrupted, match="2 different valid versions 0"):
        world.journals.head()
    assert world.journals.head(accept=other).cid == other


def test_only_the_last_versions_are_kept(world: World) -> None:
    for _ in range(KEPT_VERSIONS + 3):
        world.full()
    kept = {name for name, _ in world.vault.cluster.values() if "/journal/" in name}
    newest = world.journals.head().journal.sequence
    assert kept == {journal_name("shop", sequence=newest - i) for i in range(KEPT_VERSIONS)}


# --- restore -----------------------------------------------------------------------------------------------------


def test_a_damaged_copy_is_passed_over(world: World) -> None:
    entry = world.full()
    world.damage(entry.backup.parts[0].cid, peers=2)
    target = MemoryTarget()
    world.restore(target)
    assert target.database == world.source.holding


def test_no_whole_copy_is_corrupted_and_nothing_changes(world: World) -> None:
    entry = world.full()
    world.damage(entry.backup.parts[0].cid, peers=3)
    target = MemoryTarget()
    with pytest.raises(Corrupted, match="no whole copy of dump"):
        world.restore(target)
    assert (target.database, target.leftovers) == (None, 0)


def test_a_restore_that_comes_back_different_never_takes_the_place(world: World) -> None:
    world.full()
    target = MemoryTarget(loses_rows=1)
    with pytest.raises(Corrupted, match=r"table public.document: source 3 rows.*restored 2 rows"):
        world.restore(target)
    assert (target.database, target.leftovers) == (None, 0)


def test_an_occupied_target_is_replaced_only_on_request(world: World) -> None:
    world.full()
    target = MemoryTarget(database=sample_inventory(rows=9))
    with pytest.raises(ConfigError, match="not empty"):
        world.restore(target)
    assert world.restore(target, replace=True).replaced == "shop_before"


def test_without_a_private_key_nothing_is_restored(world: World) -> None:
    world.full()
    world.sealer.holds = frozenset({NODE})
    target = MemoryTarget()
    with pytest.raises(ConfigError, match="no private key"):
        world.restore(target)
    assert target.leftovers == 0


def test_a_rehearsal_refuses_what_a_restore_would_and_makes_nothing(world: World) -> None:
    world.full()
    way = plan(world.journals.head().journal, Point())

    def rehearse(target: MemoryTarget, *, replace: bool = False) -> None:
        restore.rehearse(way, world.sealer, world.vault, target, replace=replace, stale=False)
        assert (target.made, target.leftovers) == (0, 0)

    rehearse(MemoryTarget())
    rehearse(MemoryTarget(database=sample_inventory(rows=9)), replace=True)
    with pytest.raises(ConfigError, match="not empty"):
        rehearse(MemoryTarget(database=sample_inventory(rows=9)))
    with pytest.raises(ConfigError, match="is PostgreSQL 14"):
        rehearse(MemoryTarget(major=14))
    world.sealer.holds = frozenset({NODE})
    with pytest.raises(ConfigError, match="no private key"):
        rehearse(MemoryTarget())


def test_a_watch_sees_every_byte(world: World) -> None:
    entry = world.full()
    seen: dict[str, int] = {}

    def watch(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            seen[name] = seen.get(name, 0) + len(chunk)
            yield chunk

    part = restore.part_of(entry, "dump")
    text = b"".join(restore.plaintext(part, world.sealer, world.vault, watch=watch))
    assert seen["dump"] == part.plain_size == len(text)
