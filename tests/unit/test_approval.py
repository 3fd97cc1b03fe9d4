"""Restores with approval over the doubles: what is proposed, whose answer counts, and that only that is carried out."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fix_memory_node import MemoryNode
from pgkeep import approval, records
from pgkeep.approval import Approved, Person, Proposal, Rules, SwapNote, Wish
from pgkeep.errors import ConfigError, Corrupted, NotRestorable, Unavailable
from pgkeep.model import Cid, Digest, Instant
from pgkeep.plan import Point
from pgkeep.restore import Restored
from pgkeep.sentences import question
from pgkeep.testing import MemoryFresh, MemoryTarget, sample_inventory

APPROVED = Instant("2026-01-02T03:04:05.000000Z")
ADMIN, VERA = Person(id="admin", name="admin"), Person(id="7", name="vera")


class World(MemoryNode):
    """A node, a server to restore into, and what Airflow remembers of the task."""

    def __init__(self) -> None:
        super().__init__()
        self.target = MemoryTarget()
        self.noted: list[str] = []
        self.later = 1

    def propose(self, wanted: str = "latest", *, replace: bool = False) -> Proposal:
        point = approval.point(wanted)
        wish = Wish(point=point, where="production", dbname="shop", replace=replace, stale=False)
        return approval.propose(wish, self.journals, self.target, production=True)

    def carry_out(self, proposal: Proposal) -> Restored | None:
        note = SwapNote(recall=lambda: self.noted[-1] if self.noted else None, remember=self.noted.append)
        return approval.carry_out(
            approved(proposal),
            self.sealer,
            self.vault,
            self.journals,
            self.target,
            note=note,
            hours=24,
            now=datetime.fromisoformat(APPROVED) + timedelta(hours=self.later),
        )

    def rows(self) -> int | None:
        return self.target.database.totals.rows if self.target.database else None


def approved(proposal: Proposal, *, run: str = "dag/run") -> Approved:
    return Approved(proposal=proposal, run=run, triggered_by="admin", by=VERA, time=APPROVED)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kept(world: World) -> World:
    """A full backup and two hours; what stands at the target is something else."""
    world.full()
    for _ in range(2):
        world.source.commit(10)
        world.hourly()
    world.target.database = sample_inventory(rows=1)
    return world


def test_nobody_is_asked_for_what_the_target_would_refuse(kept: World) -> None:
    kept.target.major = 13
    with pytest.raises(ConfigError, match="is PostgreSQL 13"):
        kept.propose(replace=True)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("latest", Point()),
        (" entry 5 ", Point(entry=5)),
        ("xid 812", Point(xid=812)),
        ("2026-01-31T14:05:00Z", Point(time=Instant("2026-01-31T14:05:00.000000Z"))),
        ("2026-01-31 15:05+01:00", Point(time=Instant("2026-01-31T14:05:00.000000Z"))),
    ],
)
def test_moments(text: str, point: Point) -> None:
    assert approval.point(text) == point


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "entry", "entry -1", "2026-01-31T14:05:00", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-14:00"],
)
def test_what_is_no_moment_says_what_is(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no moment to restore\. Next: write latest, a time with its zone"):
        approval.point(text)


def test_a_proposal_touches_nothing_and_travels(kept: World) -> None:
    before = kept.journal
    proposal = kept.propose(replace=True)
    assert (kept.rows(), kept.target.made, kept.journal) == (1, 0, before)
    assert (proposal.base, proposal.steps, proposal.changes, proposal.transactions) == (2, (3, 4), 2, 2)
    assert records.from_bytes(Proposal, records.to_bytes(proposal)) == proposal


def test_what_is_not_to_be_replaced_is_refused_before_anybody_is_asked(kept: World) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        kept.propose()


def test_what_was_approved_is_carried_out_though_the_journal_has_moved_on(kept: World) -> None:
    proposal = kept.propose(replace=True)
    kept.source.commit(1000)
    kept.hourly()
    done = kept.carry_out(proposal)
    assert done
    assert (done.plan.last.sequence, done.replaced, kept.rows()) == (4, "shop_before", 23)


def test_it_is_done_once_though_it_is_killed_after_the_swap(kept: World) -> None:
    proposal = kept.propose(replace=True)
    assert kept.carry_out(proposal)
    written_since = kept.target.database = sample_inventory(rows=99)
    assert kept.carry_out(proposal) is None
    assert kept.target.database is written_since, "what the application wrote since is in its place"


def test_what_is_done_is_done_however_old_the_approval_is_by_then(kept: World) -> None:
    proposal = kept.propose(replace=True)
    assert kept.carry_out(proposal)
    kept.later = 25
    assert kept.carry_out(proposal) is None
    kept.noted.clear()
    with pytest.raises(ConfigError, match=r"more than 24 hours ago \(approval_hours\)"):
        kept.carry_out(proposal)


def test_what_was_restored_and_taken_back_is_not_restored_by_the_same_approval(kept: World) -> None:
    proposal = kept.propose(replace=True)
    assert kept.carry_out(proposal)
    kept.target.elsewhere.add(kept.target.standing)
    kept.target.standing = "first"  # the old one has its name again
    with pytest.raises(ConfigError, match=r"carried out before.*under another name"):
        kept.carry_out(proposal)
    assert kept.target.made == 1


def test_another_server_at_the_same_address_is_left_alone(kept: World) -> None:
    proposal = kept.propose(replace=True)
    kept.target.server = "the one after the failover"
    with pytest.raises(ConfigError, match="another server answers at memory/shop"):
        kept.carry_out(proposal)
    assert kept.target.made == 0


def test_killed_before_the_swap_it_is_done_again(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    proposal = kept.propose(replace=True)

    def dies(self: MemoryFresh, *, replace: bool) -> str | None:
        raise Unavailable("the worker is gone", next_step="again")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFresh, "take_place", dies)
        with pytest.raises(Unavailable):
            kept.carry_out(proposal)
    assert (kept.rows(), kept.target.leftovers, kept.noted) == (1, 0, ["made-1"])
    assert kept.carry_out(proposal)
    assert kept.rows() == 23


def test_another_database_than_the_one_that_was_shown_stays(kept: World) -> None:
    proposal = kept.propose(replace=True)
    kept.target.standing = "somebody's"
    with pytest.raises(ConfigError, match="not what was shown for approval"):
        kept.carry_out(proposal)
    assert (kept.rows(), kept.target.made) == (1, 0)


def test_what_was_to_be_replaced_and_is_gone_is_asked_for_again(kept: World) -> None:
    proposal = kept.propose(replace=True)
    kept.target.database = None
    with pytest.raises(ConfigError, match="shown for approval does not stand at memory/shop any more"):
        kept.carry_out(proposal)
    assert (kept.rows(), kept.target.made) == (None, 0)


def test_another_server_under_the_same_name_is_left_alone(kept: World) -> None:
    proposal = kept.propose(replace=True)
    kept.target.label = "elsewhere/shop"
    with pytest.raises(ConfigError, match="production is elsewhere/shop now, and was memory/shop"):
        kept.carry_out(proposal)
    assert (kept.rows(), kept.target.made) == (1, 0)


def test_one_that_came_while_it_was_restored_stays(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.target.database = None
    proposal = kept.propose(replace=True)

    def somebody_is_faster(self: MemoryFresh) -> None:
        self.target.database = sample_inventory(rows=7)

    monkeypatch.setattr(MemoryFresh, "settle", somebody_is_faster)
    with pytest.raises(ConfigError, match="nothing was there"):
        kept.carry_out(proposal)
    assert (kept.rows(), kept.noted) == (7, [])


def test_what_has_left_the_journal_is_named(kept: World) -> None:
    proposal = kept.propose(replace=True)
    with pytest.raises(NotRestorable, match=r"does not name entry 3 any more.*trigger a new run"):
        approval.approved_plan(
            proposal, replace(kept.journal, entries=tuple(e for e in kept.journal.entries if e.sequence != 3))
        )


def test_other_bytes_under_an_approved_number_are_refused(kept: World) -> None:
    proposal = kept.propose(replace=True)
    first, full, *others = kept.journal.entries
    (dump, *parts) = full.backup.parts
    another = replace(dump, cid=Cid("another"), plain_digest=Digest("another"))
    forged = replace(full, backup=replace(full.backup, parts=(another, *parts)))
    with pytest.raises(Corrupted, match="names other backups under the numbers that were approved"):
        approval.approved_plan(proposal, replace(kept.journal, entries=(first, forged, *others)))


def test_what_was_encrypted_anew_since_is_still_what_was_approved(kept: World) -> None:
    proposal = kept.propose(replace=True)
    first, full, *others = kept.journal.entries
    (dump, *parts) = full.backup.parts
    rekeyed = replace(full, backup=replace(full.backup, parts=(replace(dump, cid=Cid("anew")), *parts)))
    way = approval.approved_plan(proposal, replace(kept.journal, entries=(first, rekeyed, *others)))
    assert way.base == rekeyed


def test_an_approval_is_for_one_run_and_cannot_be_forged(kept: World) -> None:
    yes = approved(kept.propose(replace=True))
    text = approval.sealed(yes, kept.sealer)
    assert approval.unsealed(text, kept.sealer, run="dag/run") == yes
    with pytest.raises(Corrupted, match="was given to dag/run, not to dag/another"):
        approval.unsealed(text, kept.sealer, run="dag/another")
    stranger = replace(kept.sealer, signer=kept.sealer.recipients[0])
    with pytest.raises(Corrupted):
        approval.unsealed(approval.sealed(yes, stranger), kept.sealer, run="dag/run")


# --- whose answer counts ---------------------------------------------------------------------------------------------


def counts(rules: Rules, proposal: Proposal, *, by: Person | None, triggered_by: str | None = "admin") -> bool:
    return rules.objection(proposal, triggered_by=triggered_by, by=by) is None


def test_without_rules_whoever_may_answer_may_approve(kept: World) -> None:
    rules, proposal = Rules(another=False, approvers=()), kept.propose(replace=True)
    rules.require_askable(proposal, triggered_by=None)
    assert counts(rules, proposal, by=ADMIN)
    assert counts(rules, proposal, by=ADMIN, triggered_by=None)
    assert not counts(rules, proposal, by=None)


def test_into_production_somebody_else_has_to(kept: World) -> None:
    rules, proposal = Rules(another=True, approvers=()), kept.propose(replace=True)
    assert not counts(rules, proposal, by=ADMIN)
    assert not counts(rules, proposal, by=Person(id="admin", name="Admin of All")), "by id, too"
    assert not counts(rules, proposal, by=Person(id="1", name="admin"))
    assert counts(rules, proposal, by=VERA)
    assert not counts(rules, proposal, by=VERA, triggered_by=None)
    assert counts(rules, replace(proposal, production=False), by=ADMIN)
    with pytest.raises(ConfigError, match="does not know who triggered"):
        rules.require_askable(proposal, triggered_by=None)


def test_only_those_who_are_named_may(kept: World) -> None:
    rules, proposal = Rules(another=True, approvers=("admin", "7")), kept.propose(replace=True)
    assert rules.respondents(proposal, triggered_by="admin") == ("7",)
    assert rules.respondents(replace(proposal, production=False), triggered_by="admin") == ("admin", "7")
    assert counts(rules, proposal, by=VERA)
    assert not counts(rules, proposal, by=Person(id="8", name="paul"))
    alone = Rules(another=True, approvers=("admin",))
    with pytest.raises(ConfigError, match="only admin may approve"):
        alone.require_askable(proposal, triggered_by="admin")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_what_will_be_read_and_replaced(kept: World) -> None:
    proposal = kept.propose(replace=True)
    assert question.subject(proposal) == "Restore shop into PRODUCTION, as memory/shop?"
    page = question.body(proposal, triggered_by="admin")
    assert "entry 2, a full backup of 3 rows; then entries 3 to 4: 2 changes in 2 transactions" in page
    assert "a database of 8.2 kB, 1 table with about 1 row; 0 connections open now. It is not dropped" in page
    assert "no drill has tried it yet" in page
    assert "asked for by | admin" in page


def test_an_odd_name_stays_in_its_cell(kept: World) -> None:
    page = question.body(replace(kept.propose(replace=True), dbname="a|`b\nc"), triggered_by="x | y")
    assert "| asked for by | x \\| y |" in page
    assert "`a\\|b c_before_<time>`" in page


def test_the_digest_says_what_is_read_and_where_it_stops(kept: World) -> None:
    xid = kept.source.commit(10)
    kept.source.commit(10)
    kept.hourly()
    wanted = ("latest", f"xid {xid}", "entry 4")
    assert len({kept.propose(moment, replace=True).digest for moment in wanted}) == 3
