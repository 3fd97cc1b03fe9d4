"""Whose turn it is to be read, what audits remember together, and how long litter is known."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgkeep import records
from pgkeep.audit.ledger import FORMAT, Ledger, Sight, blank, following, merged
from pgkeep.audit.litter import is_ripe
from pgkeep.audit.standing import Held, Kept
from pgkeep.audit.turns import due, todays
from pgkeep.copies import Ciphertext
from pgkeep.model import Cid, Digest, Instant, PeerId, instant
from pgkeep.ports import Place

NOW = Instant("2026-01-31T00:00:00.000000Z")
START = datetime.fromisoformat(NOW)
PEERS = tuple(PeerId(name) for name in ("alice", "bob", "carol"))

shares = st.floats(0.01, 1.0)
sizes = st.lists(st.integers(1, 10**12), min_size=1, max_size=30)
moments = st.timedeltas(timedelta(days=-800), timedelta(days=800)).map(lambda passed: instant(START + passed))
sights = st.builds(Sight, version=st.integers(0, 1000), cut=moments, recorded=moments)
names = st.sampled_from([f"bafy{number}" for number in range(6)])
ledgers = st.builds(
    Ledger,
    format=st.just(FORMAT),
    database=st.just("shop"),
    number=st.integers(0, 50),
    audits=st.dictionaries(st.integers(1, 50).map(str), moments, max_size=5),
    read=st.dictionaries(names, st.dictionaries(st.sampled_from(PEERS), st.integers(-50, 50), max_size=3), max_size=6),
    litter=st.dictionaries(names, sights, max_size=6),
    damage=st.dictionaries(st.sampled_from(["bafy1", "bafy2"]), st.sampled_from(["it is lost", "it is rotten"])),
    versions=st.dictionaries(st.sampled_from(["bafy3"]), st.sampled_from(["version 3 is lost", "or rotten"])),
    lost=st.sets(names.map(Cid)).map(lambda found: tuple(sorted(found))),
)


def held(number: int, size: int, *, read_back: bool = False, always: bool = False) -> Held:
    wanted = Ciphertext(name=f"object {number}", cid=Cid(f"bafy{number}"), size=size, digest=Digest("0" * 64))
    peer = PEERS[number % 3]
    kept = Kept(
        wanted=wanted, pin="", label="", always=always, read_back=frozenset({peer} if read_back else frozenset())
    )
    return Held(kept=kept, place=Place(peer=peer, name=peer, local=True))


def audited(ledger: Ledger, copies: Sequence[Held], share: float) -> tuple[Ledger, set[Held]]:
    chosen = set(due(copies, ledger, share=share))
    read = {
        str(one.kept.cid): {
            str(one.place.peer): ledger.number + 1
            if one in chosen
            else ledger.last_read(one.kept.cid, one.place.peer) or (ledger.number if one.kept.read_back else 0)
        }
        for one in copies
    }
    return following(ledger, read=read, litter={}, damage={}, versions={}, lost=(), ended=NOW), chosen


@given(sizes, shares)
def test_everything_is_read_within_the_promised_number_of_audits(volume: list[int], share: float) -> None:
    copies = [held(number, size) for number, size in enumerate(volume)]
    ledger, unread = blank("shop"), set(copies)
    for _ in range(math.ceil(1 / share) + 1):
        ledger, chosen = audited(ledger, copies, share)
        unread -= chosen
    assert not unread


@given(sizes, shares, st.integers(0, 5))
def test_it_stays_so_ever_after(volume: list[int], share: float, warm: int) -> None:
    copies = [held(number, size) for number, size in enumerate(volume)]
    ledger = blank("shop")
    for _ in range(warm):
        ledger, _ = audited(ledger, copies, share)
    unread = set(copies)
    for _ in range(math.ceil(1 / share) + 1):
        ledger, chosen = audited(ledger, copies, share)
        unread -= chosen
    assert not unread


@given(sizes, shares)
def test_no_more_is_read_than_the_share_and_one_object(volume: list[int], share: float) -> None:
    copies = [held(number, size) for number, size in enumerate(volume)]
    chosen = due(copies, blank("shop"), share=share)
    assert chosen
    read = [one.kept.size for one in chosen]
    assert sum(read) - read[-1] < share * sum(volume) + 1


@given(sizes)
def test_all_is_all(volume: list[int]) -> None:
    copies = [held(number, size) for number, size in enumerate(volume)]
    assert set(due(copies, blank("shop"), share=1.0)) == set(copies)


def test_new_backups_do_not_keep_old_ones_from_their_turn() -> None:
    """A day's full backup was read back when it was recorded."""
    copies = [held(number, 1000) for number in range(20)]
    ledger, unread, day = blank("shop"), set(copies), 0
    while unread:
        day += 1
        copies = [*copies, held(100 + day, 1000, read_back=True)]
        ledger, chosen = audited(ledger, copies, 0.1)
        unread -= chosen
        assert day <= 11


def test_what_is_always_read_takes_nobodys_turn() -> None:
    journal, other = held(0, 10**9, always=True), held(1, 10)
    assert due([journal, other], blank("shop"), share=0.01) == (journal, other)
    assert due([], blank("shop"), share=0.5) == ()


@given(shares, moments)
def test_no_clock_makes_an_audit_read_less_than_the_share(share: float, moment: Instant) -> None:
    ledger = following(blank("shop"), read={}, litter={}, damage={}, versions={}, lost=(), ended=moment)
    assert share <= todays(share, ledger, now=NOW) <= 1.0
    assert todays(share, blank("shop"), now=NOW) == share


# --- the ledger ----------------------------------------------------------------------------------------------------


@given(ledgers)
def test_a_ledger_travels(ledger: Ledger) -> None:
    assert records.from_bytes(Ledger, records.to_bytes(ledger)) == ledger


@given(st.lists(ledgers, max_size=4))
def test_the_order_of_ledgers_does_not_matter_nor_a_second_look(found: list[Ledger]) -> None:
    together = merged(found, "shop")
    again = merged([*reversed(found), together], "shop")
    assert replace(again, audits={}, litter={}) == replace(together, audits={}, litter={})
    assert {cid: seen.version for cid, seen in again.litter.items()} == {
        cid: seen.version for cid, seen in together.litter.items()
    }


@given(st.lists(ledgers, min_size=1, max_size=4))
def test_together_they_know_the_last_reading_and_the_first_sight(found: list[Ledger]) -> None:
    together = merged(found, "shop")
    for ledger in found:
        assert together.number >= ledger.number
        for cid, peers in ledger.read.items():
            for peer, number in peers.items():
                last = together.last_read(Cid(cid), PeerId(peer))
                assert last is not None
                assert abs(last) >= abs(number)
                assert last <= number or abs(last) > abs(number), "nobody has read it since: it is damaged still"
        for cid, seen in ledger.litter.items():
            assert together.litter[cid].version <= seen.version


@given(st.lists(ledgers.filter(lambda ledger: ledger.number > 0), min_size=1, max_size=4))
def test_of_what_is_damaged_the_newest_audit_has_the_word(found: list[Ledger]) -> None:
    last = max(ledger.number for ledger in found)
    newest = [ledger for ledger in found if ledger.number == last]
    together = merged(found, "shop")
    assert together.damage.items() <= {pair for ledger in newest for pair in ledger.damage.items()}
    assert together.damage.keys() == {cid for ledger in newest for cid in ledger.damage}
    assert together.versions.keys() == {cid for ledger in newest for cid in ledger.versions}
    assert set(together.lost) == {cid for ledger in newest for cid in ledger.lost}


def ledger_saying(number: int) -> Ledger:
    """After that audit, which was the last that read a copy; below zero: and got other bytes."""
    return replace(blank("shop"), number=abs(number), read={"bafy1": {"bob": number}})


@given(st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_damage_is_forgotten_only_when_a_later_audit_has_read_the_very_bytes(
    whole: int, damaged: int, first: bool
) -> None:
    found = [ledger_saying(whole), ledger_saying(-damaged)]
    together = merged(found if first else reversed(found), "shop")
    copy = held(1, 10)
    others = [held(2, 1), held(3, 1)]  # never read: they come first
    assert (copy in due([copy, *others], together, share=0.01)) == (damaged >= whole)


@given(ledgers)
def test_only_moments_of_interest_are_kept(ledger: Ledger) -> None:
    after = following(ledger, read={"bafy1": {"alice": 3}}, litter={}, damage={}, versions={}, lost=(), ended=NOW)
    assert after.audits.keys() <= {"3", str(ledger.number + 1)}
    assert after.ended == NOW


# --- litter --------------------------------------------------------------------------------------------------------

GRACE = timedelta(days=7)


def seen(days: float, *, recorded: float | None = None, version: int = 0) -> Sight:
    cut, other = (START + timedelta(days=passed) for passed in (days, days if recorded is None else recorded))
    return Sight(version=version, cut=instant(cut), recorded=instant(other))


def test_litter_is_ripe_when_both_clocks_have_gone_on() -> None:
    assert is_ripe(seen(0), seen(7, version=168), GRACE)
    assert not is_ripe(seen(0), seen(6.9, version=168), GRACE)


def test_one_clock_that_jumps_a_year_either_way_sweeps_nothing() -> None:
    for jump in (365, -365):
        assert not is_ripe(seen(0), seen(jump, recorded=1, version=24), GRACE)
        assert not is_ripe(seen(0), seen(1, recorded=jump, version=24), GRACE)
        assert not is_ripe(seen(jump, recorded=0), seen(1, version=24), GRACE)


@given(sights, sights)
def test_nothing_is_ripe_unless_the_journal_has_gone_on(first: Sight, now: Sight) -> None:
    if is_ripe(first, now, GRACE):
        assert now.version > first.version
        assert now.cut > first.cut
        assert now.recorded > first.recorded
    assert not is_ripe(first, first, GRACE)
