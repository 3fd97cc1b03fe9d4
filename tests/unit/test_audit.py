"""The audit over the doubles: what it reads, mends, multiplies, sweeps, remembers and says."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_audit import AuditedNode
from pgkeep import backup, records, sentences
from pgkeep.audit import Report, ledger
from pgkeep.errors import ConfigError, Corrupted, NotReplicated, PgkeepError, Unavailable
from pgkeep.model import Cid, Entry, KeyFingerprint
from pgkeep.pin_names import audit_name, draft_name, journal_name, part_name, recorded_name
from pgkeep.ports import Holder, Listing, Place
from pgkeep.retirement import confirmed
from pgkeep.testing import MemorySource, MemoryVault

NAMES = ("alice", "bob", "carol")


@pytest.fixture
def node() -> AuditedNode:
    return AuditedNode()


def dump(entry: Entry) -> Cid:
    part = entry.backup.part("dump")
    assert part
    return part.cid


def well(report: Report) -> Report:
    report.require_well()
    assert not report.wrong
    return report


def lost(node: AuditedNode) -> list[Cid]:
    """What the ledgers say is whole nowhere."""
    return [*ledger.known(node.journals.search, node.journals.search.listing()).lost]


def remembered(node: AuditedNode) -> str | None:
    """What the ledgers say is left damaged."""
    return ledger.known(node.journals.search, node.journals.search.listing()).damaged(node.journals.head().journal)


def said(report: Report) -> str:
    return "\n".join(sentences.audited(report))


# --- nothing is wrong ----------------------------------------------------------------------------------------------


def test_everything_is_read_back_from_every_peer(node: AuditedNode) -> None:
    entries = [node.full(), node.full()]
    report = well(node.audit())
    assert report.objects == 6 + 3, "three parts each, and three versions of the journal"
    assert report.size > sum(entry.backup.size for entry in entries)
    assert [peer.name for peer in report.peers] == list(NAMES)
    for peer in report.peers:
        assert peer.asked
        assert (peer.objects, peer.size) == (peer.read, peer.read_size) == (report.objects, report.size)
    assert (report.repairs, report.litter, report.problems) == ((), (), ())
    assert report.since
    assert "all is well" in said(report)


def test_a_report_travels_as_json(node: AuditedNode) -> None:
    node.full()
    node.peer("bob").flip(node.named("full")[0])
    report = node.audit()
    assert records.from_bytes(Report, records.to_bytes(report)) == report


def test_a_journal_without_a_backup(node: AuditedNode) -> None:
    assert well(node.audit()).objects == 1


def test_a_share_is_read_and_the_next_audit_reads_on(node: AuditedNode) -> None:
    entries = [node.full() for _ in range(5)]
    first = well(node.audit(share=0.3))
    assert first.share == pytest.approx(0.3)
    assert first.since is None, "not all was read yet"
    assert "not everything was read yet" in said(first)
    reports = [well(node.audit(share=0.3)) for _ in range(5)]
    assert reports[-1].since
    read = sum(peer.read_size for peer in first.peers)
    most = max(part.size for entry in entries for part in entry.backup.parts)
    versions = 3 * (first.size - sum(entry.backup.size for entry in entries))
    assert read <= versions + 0.3 * 3 * first.size + most, "the journal, the share, and the object that goes beyond it"


def test_the_journal_is_always_read(node: AuditedNode) -> None:
    for _ in range(3):
        node.full()
    for _ in range(4):
        node.peer("carol").flip(node.named("journal")[0])
        report = well(node.audit(share=0.01))
        assert [repair.peer for repair in report.repairs] == ["carol"]


def test_days_without_an_audit_are_made_up_for(node: AuditedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    node.full()
    monkeypatch.setattr("pgkeep.audit.story.now", lambda: "2026-01-01T00:00:00.000000Z")
    node.audit(share=0.1)
    monkeypatch.setattr("pgkeep.audit.story.now", lambda: "2026-01-04T00:00:00.000000Z")
    assert node.audit(share=0.1).share == pytest.approx(0.3)
    monkeypatch.setattr("pgkeep.audit.story.now", lambda: "2025-01-01T00:00:00.000000Z")
    assert node.audit(share=0.1).share == 0.1, "a clock that jumped back"
    monkeypatch.setattr("pgkeep.audit.story.now", lambda: "2036-01-01T00:00:00.000000Z")
    assert node.audit(share=0.1).share == 1.0


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["flip", "lose", "unpin"])
def test_one_damaged_copy_is_repaired_and_read_back(node: AuditedNode, damage: str, name: str) -> None:
    cid = dump(node.full())
    getattr(node.peer(name), damage)(cid)
    report = well(node.audit())
    assert [(repair.cid, repair.peer) for repair in report.repairs] == [(cid, name)]
    assert f"REPAIRED dump of entry 1 ({cid}) at {name}" in said(report)
    assert "all is well again" in said(report)
    node.require_whole()
    assert not node.audit().repairs


def test_a_new_disk_gets_everything_back(node: AuditedNode) -> None:
    for _ in range(3):
        node.full()
    node.peer("bob").new_disk()
    report = well(node.audit())
    assert {repair.peer for repair in report.repairs} == {"bob"}
    assert len(report.repairs) == report.objects
    node.require_whole()


def test_two_of_three_copies_are_damaged(node: AuditedNode) -> None:
    cid = dump(node.full())
    node.peer("alice").flip(cid)
    node.peer("carol").lose(cid)
    assert {repair.peer for repair in well(node.audit()).repairs} == {"alice", "carol"}
    node.require_whole()


def test_damage_beyond_the_share_is_read_first_where_it_matters(node: AuditedNode) -> None:
    """Before a rotten block is thrown away, another copy has shown that it is whole, its turn or not."""
    for _ in range(6):
        node.full()
    node.audit()
    cid = dump(node.journals.head().journal.entry(1))
    node.peer("alice").flip(cid)
    assert [repair.cid for repair in well(node.audit(share=0.05)).repairs] == [cid]


@pytest.mark.parametrize("damage", ["flip", "lose"])
def test_what_is_whole_nowhere_is_named_after_all_else_was_mended(node: AuditedNode, damage: str) -> None:
    gone, other = dump(node.full()), dump(node.full())
    for peer in node.memory.peers:
        getattr(peer, damage)(gone)
    node.peer("bob").lose(other)
    report = node.audit()
    assert [repair.cid for repair in report.repairs] == [other]
    with pytest.raises(Corrupted) as caught:
        report.require_well()
    assert f"dump of entry 1 ({gone})" in str(caught.value)
    assert "no whole copy is left" in str(caught.value)
    assert lost(node) == [gone], "retention counts it no more"
    assert "alice" in str(caught.value)
    assert "Next: see docs/operating.md, 'What is lost'" in str(caught.value)


def test_rotten_copies_are_not_thrown_away_while_there_is_no_better_one(node: AuditedNode) -> None:
    lost, other = dump(node.full()), dump(node.full())
    for peer in node.memory.peers:
        peer.flip(lost)
    node.peer("bob").flip(other)
    assert len(node.audit().wrong) == 4
    assert all(lost in peer.objects for peer in node.memory.peers)


def test_a_disk_that_takes_nothing_is_named(node: AuditedNode) -> None:
    cid = dump(node.full())
    node.peer("carol").worn = True
    node.peer("carol").lose(cid)
    with pytest.raises(Corrupted, match=f"{cid}.: its copy at carol is damaged, and could not be repaired"):
        node.audit().require_well()


def test_one_bad_disk_is_read_once_however_much_is_rotten() -> None:
    scrubbed = list[str]()

    class Counting(MemoryVault):
        def scrub(self, at: Place) -> None:
            scrubbed.append(at.name)
            super().scrub(at)

    node = AuditedNode(memory=Counting())
    for _ in range(3):
        node.peer("bob").flip(dump(node.full()))
    assert len(well(node.audit()).repairs) == 3
    assert scrubbed == ["bob"]


def test_what_is_damaged_is_looked_at_again_next_time(node: AuditedNode) -> None:
    for _ in range(6):
        node.full()
    cid = dump(node.journals.head().journal.entry(4))
    node.peer("carol").worn = True
    node.peer("carol").lose(cid)
    for _ in range(3):
        assert [cid in problem.about for problem in node.audit(share=0.05 if _ else 1.0).wrong] == [True]
    node.peer("carol").worn = False
    assert well(node.audit(share=0.05)).repairs


def test_what_was_left_damaged_is_remembered_until_an_audit_finds_it_whole(node: AuditedNode) -> None:
    cid = dump(node.full())
    well(node.audit())
    assert remembered(node) is None
    node.peer("carol").worn = True
    for part in node.journals.head().journal.entry().backup.parts:
        node.peer("carol").lose(part.cid)
    assert node.audit(dry_run=True).wrong
    assert remembered(node) is None, "a dry run leaves nothing behind"
    for share in (1.0, 0.05):
        assert node.audit(share=share).wrong
        assert f"dump of entry 1 ({cid}): its copy at carol is damaged" in str(remembered(node))
        assert str(remembered(node)).endswith("; and 2 more")
    node.peer("carol").worn = False
    well(node.audit(share=0.05))
    assert remembered(node) is None


def test_a_peer_that_is_away_is_no_damage(node: AuditedNode) -> None:
    node.full()
    node.peer("carol").up = False
    assert node.audit().wrong
    assert remembered(node) is None


def test_what_cannot_be_repaired_does_not_keep_the_rest_from_being_read(node: AuditedNode) -> None:
    """A third of everything is lost for good; then another copy is lost."""
    entries = [node.full() for _ in range(6)]
    for entry in entries[:2]:
        for peer in node.memory.peers:
            for part in entry.backup.parts:
                peer.lose(part.cid)
    assert len({problem.cid for problem in node.audit().wrong}) == 6
    cid = dump(entries[4])
    node.peer("bob").lose(cid)
    reports = [node.audit(share=0.1) for _ in range(11)]
    assert [repair.cid for report in reports for repair in report.repairs] == [cid]
    assert all(len({problem.cid for problem in report.wrong}) == 6 for report in reports), (
        "all of it is named each time"
    )


PARTS, VERSIONS = 6, 3
wounds = st.dictionaries(
    st.tuples(st.integers(0, PARTS + VERSIONS - 1), st.sampled_from(NAMES)),
    st.sampled_from(["flip", "lose", "unpin"]),
    max_size=3 * (PARTS + VERSIONS),
)


@given(wounds, st.sampled_from([0.1, 1.0]))
def test_nothing_is_lost_and_whatever_can_be_mended_is(found: dict[tuple[int, str], str], share: float) -> None:
    node = AuditedNode()
    for _ in range(2):
        node.full()
    cids = [*node.named("full"), *node.named("journal")]
    (newest,) = node.named("journal/2")
    for (number, name), damage in found.items():
        if cids[number] != newest or name != "carol":  # without its newest version no journal is read at all
            getattr(node.peer(name), damage)(cids[number])
    before = {cid for cid in cids if any(peer.has_whole(cid) for peer in node.memory.peers)}
    reports = [node.audit(share=share) for _ in range(1 if share == 1.0 else 11)]
    for cid in before:
        assert any(peer.has_whole(cid) for peer in node.memory.peers), "what was whole somewhere still is"
    if len(before) == len(cids):
        well(node.audit())
        node.require_whole()
    else:
        assert any(report.wrong for report in reports)
        said_of = " ".join(problem.about for report in reports for problem in report.problems)
        assert all(cid in said_of for cid in cids if cid not in before)


@given(wounds, st.sampled_from(["bob", "carol"]), st.lists(st.booleans(), min_size=1, max_size=4))
def test_what_a_peer_has_that_is_away_is_never_called_lost(
    found: dict[tuple[int, str], str], who: str, answers: list[bool]
) -> None:
    """And what is lost stays so, and stays named, while somebody is away."""
    node = AuditedNode()
    for _ in range(2):
        node.full()
    cids = [*node.named("full"), *node.named("journal/0"), *node.named("journal/1")]
    for (number, name), damage in found.items():
        if number < len(cids):
            getattr(node.peer(name), damage)(cids[number])
    gone = {cid for cid in node.named("full") if not any(peer.has_whole(cid) for peer in node.memory.peers)}
    known = set[Cid]()
    for up in (*answers, True):
        node.peer(who).up = up
        node.audit()
        assert known <= set(lost(node)) <= gone
        known = set(lost(node))
        assert bool(remembered(node)) or not known
    assert known == gone


class Unasked(MemoryVault):
    """The cluster counts its peers; the Kubo of one of them cannot be asked from here."""

    unasked = ""

    def places(self) -> Sequence[Place]:
        return [place for place in super().places() if place.name != self.unasked]


class Blip(MemoryVault):
    """The network to all peers is gone while one object is read: so many times."""

    cid: Cid | None = None
    times = 0

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        if cid == self.cid and self.times:
            self.times -= 1
            raise Unavailable("no route to host", next_step="look at the network")
        yield from super().read(cid, at=at)


def test_what_could_not_be_read_for_a_minute_is_not_lost() -> None:
    vault = Blip()
    node = AuditedNode(memory=vault)
    vault.cid, vault.times = dump(node.full()), 3
    report = well(node.audit())
    assert (lost(node), remembered(node), vault.times) == ([], None, 0)
    assert {repair.cid for repair in report.repairs} <= {vault.cid}


@pytest.mark.parametrize("damage", ["flip", "lose"])
def test_a_peer_that_has_it_and_need_not_is_asked_before_it_is_called_lost(damage: str) -> None:
    node = AuditedNode(copies=2)
    cid = dump(node.full())
    holding = [peer for peer in node.memory.peers if cid in peer.objects]
    (third,) = (peer for peer in node.memory.peers if peer not in holding)
    third.objects[cid] = holding[0].objects[cid]
    for peer in holding:
        getattr(peer, damage)(cid)
    well(node.audit())
    assert lost(node) == []
    assert all(peer.has_whole(cid) for peer in holding)


def test_what_came_back_is_looked_at_at_once(node: AuditedNode) -> None:
    for _ in range(4):
        node.full()
    cid = dump(node.full())
    whole = {peer.name: peer.objects[cid] for peer in node.memory.peers}
    for peer in node.memory.peers:
        peer.lose(cid)
        peer.unpin(cid)
    assert node.audit().wrong
    assert lost(node) == [cid]
    for peer in node.memory.peers:
        peer.objects[cid] = whole[peer.name]
        peer.unpinned.discard(cid)
    well(node.audit(share=0.01))
    assert (lost(node), remembered(node)) == ([], None)


@pytest.mark.parametrize("how", ["away", "not asked"])
def test_the_last_rotten_copy_is_not_thrown_away_for_one_that_was_rotten_too(how: str) -> None:
    vault = Unasked()
    node = AuditedNode(memory=vault, copies=2)
    cid = dump(node.full())
    for peer in node.memory.peers:
        if cid in peer.objects:
            peer.flip(cid)
    assert node.audit().wrong
    assert lost(node) == [cid]
    first, second = (peer for peer in node.memory.peers if cid in peer.objects)
    if how == "away":
        second.up = False
    else:
        vault.unasked = second.name
    assert node.audit().wrong
    assert cid in first.objects, "a person may save something of it"
    assert lost(node) == [cid], "and it is not forgotten"


# --- copies that are missing ---------------------------------------------------------------------------------------


def test_a_peer_that_is_gone_is_replaced_by_another() -> None:
    node = AuditedNode(memory=MemoryVault(("alice", "bob", "carol", "dave")))
    cid = dump(node.full())
    node.peer("carol").up = False
    report = well(node.audit())
    assert {repair.peer for repair in report.repairs} == {"dave"}
    assert "replicated anew" in said(report)
    node.require_whole()
    assert node.peer("dave").has_whole(cid)


def test_too_few_peers_are_said_with_who_holds_what(node: AuditedNode) -> None:
    entry = node.full()
    node.peer("carol").up = False
    report = node.audit()
    with pytest.raises(NotReplicated) as caught:
        report.require_well()
    assert (caught.value.have, caught.value.want) == (2, 3)
    assert caught.value.holders["carol"] == "cluster_error"
    assert dump(entry) in str(caught.value)
    assert "bring the missing peers back" in str(caught.value)
    assert "everything but what carol has was read back" in said(report)
    assert f"carol: {report.objects} objects" in said(report), "by the cluster's word"
    assert any(problem.about == "peer carol" for problem in report.problems)
    node.peer("carol").up = True
    assert not well(node.audit()).repairs


def test_where_only_the_cluster_peer_is_silent_nothing_is_mended_and_copies_are_read_in_their_turn(
    node: AuditedNode,
) -> None:
    entries = [node.full() for _ in range(5)]
    well(node.audit())
    node.peer("carol").clustered = False
    report = node.audit(share=0.1)
    with pytest.raises(NotReplicated, match=r"2 of 3 copies.*carol: cluster_error.*start the cluster daemon of carol"):
        report.require_well()
    assert not report.repairs
    carol = next(peer for peer in report.peers if peer.name == "carol")
    assert carol.asked
    assert carol.objects == report.objects, "its Kubo gives them"
    assert carol.read < carol.objects, "in their turn, not all of them"
    node.peer("carol").flip(dump(entries[0]))
    assert {repair.peer for repair in node.audit(share=1.0).repairs} == {"carol"}
    node.peer("carol").clustered = True
    assert not well(node.audit()).repairs


def test_a_pin_that_the_cluster_has_lost_comes_back_under_its_name(node: AuditedNode) -> None:
    cid = dump(node.full())
    del node.memory.cluster[cid]
    well(node.audit())
    name, peers = node.memory.cluster[cid]
    assert name == part_name("shop", kind="full", number=1, part="dump")
    assert len(peers) == 3


def test_a_repair_keeps_the_proof_that_a_later_version_existed(node: AuditedNode) -> None:
    entry = node.full()
    node.full()
    label = recorded_name("shop", sequence=2, part="dump")
    for peer in node.memory.peers:
        peer.pins[dump(entry)] = label
    node.peer("bob").lose(dump(entry))
    assert well(node.audit()).repairs
    assert node.peer("bob").pins[dump(entry)] == label
    node.peer("bob").new_disk()
    node.peer("alice").unpin(dump(entry))
    assert well(node.audit()).repairs
    assert [peer.pins[dump(entry)] for peer in node.memory.peers] == [label] * 3


def test_a_version_of_the_journal_that_lost_its_pin_is_found_by_the_next(node: AuditedNode) -> None:
    node.full()
    node.full()
    cid = node.memory.listing(journal_name("shop", sequence=1)).names[journal_name("shop", sequence=1)]
    for one in cid:
        del node.memory.cluster[one]
        for peer in node.memory.peers:
            peer.pins.pop(one, None)
    assert len(well(node.audit()).repairs) == 3
    assert journal_name("shop", sequence=1) in node.memory.listing("pgkeep/").names


@pytest.mark.parametrize("how", ["unpinned", "lost", "rotten"])
def test_an_old_version_of_the_journal_that_is_lost_everywhere_fails_the_audit(node: AuditedNode, how: str) -> None:
    """No restore needs it; but what has taken it from every peer can take backups next."""
    for _ in range(3):
        node.full()
    (cid,) = node.named("journal/1")
    if how == "unpinned":
        node.memory.drop(cid)
    for peer in node.memory.peers if how != "unpinned" else ():
        (peer.lose if how == "lost" else peer.flip)(cid)
    report = node.audit()
    with pytest.raises(Corrupted, match=rf"version 1 of the journal \({cid}\): cannot be read any more") as caught:
        report.require_well()
    assert "find out what took it from every peer" in str(caught.value)
    assert [problem.cid for problem in report.wrong] == [cid]
    for _ in range(7):
        node.full()
    well(node.audit())


def test_an_old_version_that_a_silent_peer_may_have_is_not_called_lost() -> None:
    node = AuditedNode(copies=2)
    node.full()
    (cid,) = node.named("journal/0")
    node.memory.drop(cid)
    node.peer("carol").up = False
    (problem,) = [problem for problem in node.audit().problems if problem.cid == cid]
    assert problem.kind == "notice"


def test_an_old_version_that_a_writer_lets_go_of_meanwhile_is_not_missed() -> None:
    class Meanwhile(MemoryVault):
        """Right after the first look another backup is recorded, and the oldest version is let go of."""

        act: Callable[[], object] | None = None

        def listing(self, prefix: str) -> Listing:
            seen = super().listing(prefix)
            act, self.act = self.act, None
            if act:
                act()
            return seen

    memory = Meanwhile()
    node = AuditedNode(memory=memory)
    for _ in range(8):
        node.full()
    memory.act = node.full
    report = well(node.audit())
    assert not report.problems
    assert report.version == 9


def test_more_copies_are_made_when_more_are_wanted() -> None:
    node = AuditedNode(copies=2)
    node.full()
    node.journals = AuditedNode(memory=node.memory, copies=3).journals
    assert {repair.peer for repair in well(node.audit()).repairs} == {"carol"}
    node.require_whole(copies=3)


def test_a_peer_that_cannot_be_asked_is_claimed_only() -> None:
    class BobIsFar(MemoryVault):
        def places(self) -> Sequence[Place]:
            return [place for place in super().places() if place.name != "bob"]

    node = AuditedNode(memory=BobIsFar())
    node.full()
    report = well(node.audit())
    bob = next(peer for peer in report.peers if peer.name == "bob")
    assert (bob.asked, bob.objects, bob.read) == (False, report.objects, 0)
    assert "by the cluster's list" in said(report)


@pytest.mark.parametrize("questions", [1, 2, 3])
def test_what_was_read_is_told_and_kept_though_the_cluster_goes_silent_meanwhile(questions: int) -> None:
    """Its daemons are restarted while bytes are read: the Kubos go on answering."""

    class Silenced(MemoryVault):
        left = 1000

        def holders(self, cids: Collection[Cid]) -> Mapping[Cid, Sequence[Holder]]:
            self._count()
            return super().holders(cids)

        def pin(self, cid: Cid, *, name: str, copies: int) -> None:
            self._count()
            super().pin(cid, name=name, copies=copies)

        def _count(self) -> None:
            if self.left == 0:
                raise Unavailable("no cluster peer answers", next_step="start one")
            self.left -= 1

    vault = Silenced()
    node = AuditedNode(memory=vault)
    cid, other = dump(node.full()), dump(node.full())
    node.peer("bob").flip(cid)
    node.peer("carol").worn = True
    node.peer("carol").lose(other)
    del vault.cluster[node.named("journal")[0]]
    vault.left = questions
    report = node.audit()
    with pytest.raises(PgkeepError):
        report.require_well()
    assert {(repair.peer, repair.cid) for repair in report.repairs} >= {("bob", cid)}
    assert any(problem.cid == other and "carol is damaged" in problem.what for problem in report.problems)
    assert not any(problem.lost for problem in report.problems)
    assert ledger.known(node.journals.search, node.journals.search.listing()).number == report.number == 1


def test_nobody_answers(node: AuditedNode) -> None:
    for peer in node.memory.peers:
        peer.up = False
    with pytest.raises(Unavailable):
        node.audit()


# --- litter --------------------------------------------------------------------------------------------------------


def test_litter_is_swept_after_the_journal_has_gone_on(node: AuditedNode) -> None:
    node.full()
    litter = {part.cid for part in node.store().backup.parts}
    draft = node.memory.add([b"half a version"], name=draft_name("shop", sequence=2))
    first = well(node.audit())
    assert {found.cid for found in first.litter} == {*litter, draft}
    assert not first.swept
    assert not well(node.audit()).swept, "nothing was recorded meanwhile"
    node.full()
    second = well(node.audit())
    assert {found.cid for found in second.swept} == {*litter, draft}
    assert "swept: pgkeep/shop/draft/2" in said(second)
    assert not (litter | {draft}) & {cid for peer in node.memory.peers for cid in peer.objects}
    assert not node.audit().litter
    node.require_whole()


def test_litter_stays_for_the_grace_period(node: AuditedNode) -> None:
    node.full()
    node.store()
    for _ in range(5):
        node.full()
        assert not well(node.audit(grace=timedelta(days=7))).swept


def test_litter_stays_while_a_dump_runs(node: AuditedNode) -> None:
    node.full()
    node.store()
    node.audit()
    node.full()
    with node.source.snapshot():
        assert not well(node.audit()).swept
    assert well(node.audit()).swept


def test_a_source_that_is_away_keeps_litter_and_nothing_else(node: AuditedNode) -> None:
    cid = dump(node.full())
    node.store()
    node.audit()
    node.full()

    class Away(MemorySource):
        @contextmanager
        def at_rest(self) -> Iterator[bool]:
            if self.dumping == 0:
                raise Unavailable("the source does not answer", next_step="start it")
            yield False

    node.source = Away()
    node.peer("bob").lose(cid)
    report = well(node.audit())
    assert report.repairs
    assert not report.swept
    assert "the source does not answer" in said(report)


def test_a_run_that_goes_on_after_the_sweep_is_told(node: AuditedNode) -> None:
    node.full()
    waiting = node.replicated()
    node.audit()
    node.full()
    assert well(node.audit()).swept
    with pytest.raises(NotReplicated):
        backup.record(waiting, node.source, node.journals, node.vault)
    assert [entry.sequence for entry in node.journals.head().journal.entries] == [1, 2]
    node.require_whole()


def test_a_run_that_goes_on_before_the_sweep_keeps_its_parts(node: AuditedNode) -> None:
    waiting = node.replicated()
    node.audit()
    node.full()
    entry = backup.record(waiting, node.source, node.journals, node.vault)
    assert not well(node.audit()).litter
    assert node.peer("bob").has_whole(dump(entry))


def test_old_versions_are_litter_and_kept_ones_are_not(node: AuditedNode) -> None:
    node.full()
    (old,) = node.memory.listing(journal_name("shop", sequence=0)).names[journal_name("shop", sequence=0)]
    content = node.peer("alice").objects[old]
    for _ in range(9):
        node.full()
    assert node.memory.add([content], name=journal_name("shop", sequence=0)) == old
    assert [found.cid for found in well(node.audit()).litter] == [old]


def test_what_calls_itself_a_version_is_never_swept_but_said(node: AuditedNode) -> None:
    node.full()
    strange = node.memory.add([b"I am the journal"], name=journal_name("shop", sequence=1))
    for _ in range(3):
        node.full()
        report = well(node.audit())
        assert strange not in {found.cid for found in report.litter}
        assert "find out who pinned it" in said(report)


def test_a_version_that_a_former_key_of_the_node_opens_is_no_theft(
    node: AuditedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.full()
    node.full()
    head, opened = node.journals.head(), node.sealer.open

    def by_the_new_key(chunks: Iterable[bytes]) -> Iterator[bytes]:
        text = b"".join(chunks)
        if hashlib.sha256(text).hexdigest() != hashlib.sha256(node.peer("alice").objects[head.cid]).hexdigest():
            raise ConfigError("no private key opens this message", next_step="import it")
        yield from opened(iter([text]))

    monkeypatch.setattr(node.sealer, "open", by_the_new_key)
    report = well(node.audit())
    (unread, *older) = [problem for problem in report.problems if problem.kind == "notice"]
    assert "version 1 of the journal" in unread.about
    assert unread.next_step.startswith("nothing, if this node has a new key")
    assert "credentials" not in said(report)
    assert all("cannot be read" in problem.what and str(unread.cid) not in problem.about for problem in older)


def test_behind_a_version_that_is_lost_nobody_is_suspected(node: AuditedNode) -> None:
    for _ in range(3):
        node.full()
    (lost,) = node.named("journal/1")
    for peer in node.memory.peers:
        peer.lose(lost)
    for report in (node.audit(), node.audit()):
        assert "find out who pinned it" not in said(report)
        assert [problem.cid for problem in report.wrong] == [lost]
        (older,) = [problem for problem in report.problems if problem.kind == "notice"]
        assert older.about.startswith("pgkeep/shop/journal/0 ")
        assert "only the version would say that cannot be read" in older.what
        assert not report.swept


def test_what_a_peer_does_not_let_go_of_is_said_and_not_called_swept() -> None:
    class Stubborn(MemoryVault):
        def drop(self, cid: Cid) -> None:
            kept = self.peers[2].pins.get(cid)
            super().drop(cid)
            if kept:
                self.peers[2].pins[cid] = kept

    node = AuditedNode(memory=Stubborn())
    node.full()
    stuck = node.memory.add([b"stuck"], name="pgkeep/shop/full/2/dump")
    node.peer("carol").pins[stuck] = "pgkeep/shop/full/2/dump"
    loose = node.memory.add([b"loose"], name="pgkeep/shop/full/2/globals")
    node.audit()
    node.full()
    report = well(node.audit())
    assert {found.cid: found.swept for found in report.litter} == {stuck: False, loose: True}
    assert f"litter {stuck}: could not be let go of: still pinned at carol" in said(report)
    assert [found.cid for found in well(node.audit()).litter] == [stuck], "it waits anew, behind all other litter"
    node.full()
    assert "still pinned at carol" in said(node.audit())


def test_another_database_is_not_touched(node: AuditedNode) -> None:
    node.full()
    other = node.memory.add([b"another's"], name="pgkeep/shop2/full/1/dump")
    node.audit()
    node.full()
    assert not well(node.audit()).litter
    assert other in node.peer("alice").objects


def test_what_the_journal_gives_up_while_it_is_audited_is_not_missed() -> None:
    class Busy(MemoryVault):
        def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
            if meanwhile and "full" in self.cluster.get(cid, ("", ()))[0]:
                meanwhile.pop()()
            yield from super().read(cid, at=at)

    meanwhile = list[Callable[[], object]]()
    memory = Busy()
    node = AuditedNode(memory=memory)
    for _ in range(8):
        node.full()
    (oldest,) = node.named("journal/1")
    memory.peers[1].lose(oldest)
    meanwhile.append(node.full)
    report = node.audit()
    assert not meanwhile
    assert oldest not in memory.cluster, "a newer version has taken its place"
    assert not well(report).repairs
    assert not node.audit().litter


# --- what is remembered --------------------------------------------------------------------------------------------


def test_one_ledger_is_kept_at_every_peer(node: AuditedNode) -> None:
    node.full()
    for number in range(1, 4):
        assert well(node.audit()).number == number
        (cid,) = node.named("audit")
        assert sum(peer.has_whole(cid) for peer in node.memory.peers) == 3


def test_a_ledger_by_a_stranger_is_not_believed(node: AuditedNode) -> None:
    node.full()
    node.store()
    node.audit()
    node.full()
    node.sealer.trusted = frozenset()
    (cid,) = node.named("audit")
    node.sealer.trusted = frozenset({KeyFingerprint("A" * 40)})
    forged = node.peer("alice").objects[cid].replace(b'"by": "A', b'"by": "F')
    node.memory.drop(cid)
    node.memory.add([forged], name=audit_name("shop", number=7))
    report = well(node.audit())
    assert report.number == 1
    assert not report.swept, "litter is new again"


def test_an_older_ledger_in_the_newests_place_misleads_until_the_next_audit(node: AuditedNode) -> None:
    back, gone = dump(node.full()), dump(node.full())
    peers = node.memory.peers
    saved = {peer.name: peer.objects.pop(back) for peer in peers}
    node.audit()
    older = node.named("audit")[0]
    ledger_then = peers[0].objects[older]
    for peer in peers:
        peer.objects[back] = saved[peer.name]
        peer.lose(gone)
    node.audit()
    assert lost(node) == [gone]
    node.memory.drop(node.named("audit")[0])
    node.memory.add([ledger_then], name=audit_name("shop", number=1))
    assert lost(node) == [back], "it is believed: the node has signed it"
    assert confirmed(node.journals.head().journal, lost(node), node.vault) == (), "nothing is let go of for it"
    node.audit()
    assert lost(node) == [gone]


def test_a_lost_ledger_costs_time_only(node: AuditedNode) -> None:
    node.full()
    node.store()
    node.audit()
    node.memory.drop(node.named("audit")[0])
    node.full()
    assert not well(node.audit()).swept
    node.full()
    assert well(node.audit()).swept


def test_two_audits_at_once_make_one_ledger_in_the_end(node: AuditedNode) -> None:
    node.full()
    node.audit()
    (cid,) = node.named("audit")
    content = node.peer("alice").objects[cid]
    node.audit()
    node.memory.add([content], name=audit_name("shop", number=1))
    assert len(node.named("audit")) == 2
    assert well(node.audit()).number == 3
    assert len(node.named("audit")) == 1


def test_a_dry_run_reads_and_changes_nothing(node: AuditedNode) -> None:
    lost, gone = dump(node.full()), dump(node.full())
    node.store()
    node.peer("bob").flip(lost)
    node.peer("carol").unpin(gone)
    before = [(dict(peer.objects), dict(peer.pins)) for peer in node.memory.peers]
    report = node.audit(dry_run=True)
    assert [(dict(peer.objects), dict(peer.pins)) for peer in node.memory.peers] == before
    assert not node.named("audit")
    assert "its copy at bob is damaged" in said(report)
    assert {problem.kind for problem in report.wrong} == {"Corrupted", "NotReplicated"}
    assert len(report.litter) == 3
    with pytest.raises(Corrupted):
        report.require_well()


def test_while_it_would_be_the_only_copy_the_ledgers_before_stay(node: AuditedNode) -> None:
    node.full()
    node.audit()
    (before,) = node.named("audit")
    for name in ("bob", "carol"):
        node.peer(name).up = False
    node.audit()
    assert before in node.named("audit")
    for name in ("bob", "carol"):
        node.peer(name).up = True
    node.audit()
    assert len(node.named("audit")) == 1


def test_a_peer_that_is_away_is_found_out_once_and_not_for_every_object(node: AuditedNode) -> None:
    for _ in range(3):
        node.full()
    node.peer("carol").up = False
    report = node.audit()
    assert [problem.about for problem in report.wrong][3:] == ["10 more objects"]
    with pytest.raises(NotReplicated, match="has 2 of 3 copies"):
        report.require_well()
    node.peer("carol").up = True
    well(node.audit())


def test_peers_that_take_no_ledger_are_a_notice(node: AuditedNode) -> None:
    node.full()
    node.sealer.expired = frozenset({KeyFingerprint("A" * 40)})
    report = well(node.audit())
    assert "could not be written down" in said(report)


# --- keys, recipients, room ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    fatal: bool
    what: str = "the key expires"
    next_step: str = "extend it"


def test_a_key_that_expires_is_a_notice_and_one_that_has_is_wrong(node: AuditedNode) -> None:
    node.full()
    node.sealer.complaints = (Said(fatal=False),)
    assert "notice keys: the key expires. Next: extend it" in said(well(node.audit()))
    node.sealer.complaints = (Said(fatal=True),)
    with pytest.raises(ConfigError, match="the key expires"):
        node.audit().require_well()


def test_entries_that_others_can_read_are_said(node: AuditedNode) -> None:
    node.full()
    new, old = KeyFingerprint("D" * 40), node.sealer.recipients[1]
    node.sealer.recipients = (node.sealer.recipients[0], new)
    text = said(well(node.audit()))
    assert f"recipient {new} cannot read entry 1" in text
    assert f"recipient {old} can read entry 1" in text


def test_little_room_is_said(node: AuditedNode) -> None:
    node.full()
    node.peer("carol").room = 100
    assert "peer carol: has 100 bytes left" in said(well(node.audit()))
