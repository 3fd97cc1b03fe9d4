"""The audit as a step, over the doubles: what is said, what travels, what is tried again and what is not."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from in_airflow import steps
from in_airflow.steps import dump, run
from in_airflow.world import World
from pgkeep import records
from pgkeep.airflow import proving
from pgkeep.airflow.proving import AuditOperator
from pgkeep.audit import Report
from pgkeep.errors import NotReplicated, Unavailable


def audit(world: World) -> Report:
    step = AuditOperator(task_id="audit", database="shop", sites=world.site, share=1.0, patience=0.0)
    return records.decode(Report, run(step))


@pytest.fixture
def kept(world: World) -> World:
    steps.record(world, steps.replicated(world, dump(world)))
    return world


def test_what_was_repaired_travels_and_is_said(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cid = next(iter(kept.vault.cluster))
    kept.vault.peers[1].flip(cid)
    report = audit(kept)
    assert [(repair.cid, repair.peer) for repair in report.repairs] == [(cid, "bob")]
    assert "REPAIRED" in caplog.text
    assert "all is well again" in caplog.text


def test_too_few_copies_are_tried_again(kept: World) -> None:
    kept.vault.peers[2].up = False
    with pytest.raises(NotReplicated):
        audit(kept)
    kept.vault.peers[2].up = True
    assert not audit(kept).wrong


def test_a_lost_backup_fails_at_once_and_says_which(kept: World, caplog: pytest.LogCaptureFixture) -> None:
    (entry,) = kept.journals.head().journal.entries
    cid = entry.backup.parts[0].cid
    for peer in kept.vault.peers:
        peer.lose(cid)
    with pytest.raises(AirflowFailException, match=f"dump of entry 1 .{cid}.: no whole copy is left"):
        audit(kept)
    assert "alice: 5 objects" in caplog.text


def test_an_audit_is_not_repeated_for_what_could_not_be_remembered(
    kept: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_: object) -> None:
        raise Unavailable("carol is away", next_step="start her")

    monkeypatch.setattr(proving, "remember", away)
    assert not audit(kept).wrong
    assert "what can be restored now is not known: carol is away" in caplog.text


def test_the_share_is_the_setting_s_if_nothing_is_said(kept: World) -> None:
    step = AuditOperator(task_id="audit", database="shop", sites=kept.site, patience=0.0)
    assert records.decode(Report, run(step)).share == 0.1
