"""What is said when a run fails, whatever Airflow tells about it: in the log, by mail, and over other notifiers."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import BaseNotifier, Context

from fix_mail import MailSink, mail_sink, text
from in_airflow.supervised import supervised
from pgkeep.airflow import delivery, incident_memory, journal_memory, variables
from pgkeep.airflow.alerts import restore_waits, run_failed, run_hangs, run_succeeded
from pgkeep.airflow.incidents import LastWords, Letter, nothing
from pgkeep.airflow.journal_memory import JournalMemory
from pgkeep.errors import Unavailable
from pgkeep.freshness import Seen
from pgkeep.model import Cid, Instant

RUN = SimpleNamespace(dag_id="pgkeep_shop_full", run_id="manual__1")
TI = SimpleNamespace(task_id="record", try_number=2, log_url="http://ui.example/dags/pgkeep_shop_full/1/record")
FAILED = {"dag_run": RUN, "ti": TI, "reason": "task_failure"}
NOT_AT_HOME = 9  # the port of "discard", where nobody listens
told = list[tuple[str, str]]()


class Notebook(BaseNotifier):
    """A notifier of one's own, as anybody may have one."""

    template_fields = ("title", "text")

    def __init__(self, *, title: str, text: str) -> None:
        super().__init__()
        self.title = title
        self.text = text

    def notify(self, context: Context) -> None:
        told.append((self.title, self.text))


class Locked(Notebook):
    """One that is out of order."""

    def notify(self, context: Context) -> None:
        raise OSError("https://hooks.example/the-secret-of-the-webhook")


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as sink:
        yield sink


@pytest.fixture
def alerts(
    configure: Callable[..., Path], airflow_database: None, sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Writes the section [alerts]; nothing is known of any incident yet, nor afterwards."""
    told.clear()
    forget_all()
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", sink.connection)

    def write(*lines: str) -> None:
        path = configure("shop")
        path.write_text(path.read_text(encoding="utf-8") + "\n".join(["", "[alerts]", *lines]), encoding="utf-8")

    yield write
    forget_all()


def forget_all() -> None:
    store = variables.store()
    for key in (
        *store.keys(incident_memory.INCIDENT),
        *store.keys(incident_memory.SAID),
        *store.keys(journal_memory.SEEN),
    ):
        store.delete(key)


def fail(context: dict[str, Any] | None = None) -> None:
    run_failed(cast(Context, FAILED if context is None else context))


def end_well() -> None:
    run_succeeded(cast(Context, FAILED | {"reason": "success"}))


MAIL = 'mail = ["ops@example.org", "Night <night@example.org>"]'
NOTEBOOK = f"""
[[alerts.notifiers]]
class_name = "{__name__}.Notebook"
arguments = {{ title = "{{{{ alert.subject }}}}", text = "{{{{ alert.text }}}}" }}
"""


@pytest.mark.parametrize(
    ("context", "says"),
    [
        (FAILED, "run manual__1 of pgkeep_shop_full in task record (task_failure)"),
        ({"dag_run": RUN, "reason": "timed_out"}, "run manual__1 of pgkeep_shop_full (timed_out)"),
        (
            {"dag": SimpleNamespace(dag_id="pgkeep_shop_full"), "run_id": "manual__1", "reason": "task_failure"},
            "run manual__1 of pgkeep_shop_full (task_failure)",
        ),
        ({}, "of a DAG of pgkeep (no reason given)"),
    ],
)
def test_without_alerts_it_is_one_line_with_the_next_step(
    configure: Callable[..., Path], context: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    configure("shop")
    fail(context)
    (line,) = caplog.messages
    assert says in line
    assert "Next:" in line


def test_one_mail_for_an_incident_and_one_when_it_is_over(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(MAIL)
    for _ in range(3):
        fail()
    end_well()
    end_well()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED", "pgkeep: pgkeep_shop_full is well again"]
    assert {str(mail["to"]) for mail in sink.mails} == {"ops@example.org, Night <night@example.org>"}
    assert str(sink.mails[0]["from"]) == "pgkeep@node-1.example"
    assert not variables.store().keys(incident_memory.INCIDENT), "nothing is kept of what is over"
    fail()
    assert len(sink.mails) == 3


def test_each_restore_that_fails_is_told_and_none_is_well_again(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(MAIL)
    for number in (1, 2):
        run = SimpleNamespace(dag_id="pgkeep_shop_restore", run_id=f"manual__{number}")
        fail(FAILED | {"dag_run": run})
        run_succeeded(cast(Context, {"dag_run": SimpleNamespace(dag_id=run.dag_id, run_id="manual__rejected")}))
    asyncio.run(run_hangs({"dag_run": {"dag_id": run.dag_id, "dag_run_id": "manual__3"}, "deadline": {}}))
    assert sink.subjects == [*["pgkeep: pgkeep_shop_restore FAILED"] * 2, "pgkeep: pgkeep_shop_restore HANGS"]
    run_succeeded(cast(Context, {"dag_run": run}))
    assert len(sink.mails) == 3
    assert ["manual__1" in text(mail) for mail in sink.mails] == [True, False, False]
    assert not variables.store().keys(incident_memory.INCIDENT)


def test_callbacks_at_the_same_moment_tell_it_once(
    alerts: Callable[..., None], sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a mail server was down, letters wait, and several runs end at once."""
    alerts(MAIL)
    away = json.loads(sink.connection) | {"port": NOT_AT_HOME}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(away))
    fail()
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", sink.connection)
    with ThreadPoolExecutor() as pool:
        for dag in ("pgkeep_shop_watch", "pgkeep_shop_audit", "pgkeep_shop_retire"):
            run = SimpleNamespace(dag_id=dag, run_id="scheduled__1")
            pool.submit(run_succeeded, cast(Context, {"dag_run": run}))
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED"]


def test_what_fails_while_a_letter_is_on_its_way_is_told_too(
    alerts: Callable[..., None], sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes meanwhile does not wait for a slow mail server: callbacks have a time limit."""
    alerts(MAIL)
    send, other = delivery.send, FAILED | {"dag_run": SimpleNamespace(dag_id="pgkeep_shop_audit", run_id="x")}

    def slowly(letter: Letter, *args: Any, **more: Any) -> frozenset[str]:
        with ThreadPoolExecutor() as pool:
            if "full" in letter.subject:
                pool.submit(fail, other).result(timeout=60)
        return send(letter, *args, **more)

    monkeypatch.setattr(delivery, "send", slowly)
    fail()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED", "pgkeep: pgkeep_shop_audit FAILED"]
    assert not any(incident.outbox for incident in incident_memory.recall_all())


def test_a_mail_says_why_what_can_be_restored_and_where_to_look(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(MAIL, 'sender = "backups@example.org"')
    seen = Seen(sequence=15, cid=Cid("c"), moment=Instant("2026-01-31T14:05:00.000000Z"), entry=14)
    JournalMemory("shop").keep(seen)
    words = "no room left on peer bob. Next: give that peer more room"
    incident_memory.keep_words(
        RUN.dag_id, LastWords(run=RUN.run_id, task="record", attempt=2, what=words, topics=("failed",))
    )
    fail()
    said = text(sink.mails[0])
    assert "Run manual__1 of pgkeep_shop_full failed in task record." in said
    assert f"Why: {words}" in said
    assert "shop can be restored as it was at 2026-01-31T14:05:00.000000Z: entry 14, as of version 15" in said
    assert TI.log_url in said
    assert str(sink.mails[0]["from"]) == "backups@example.org"


def test_the_words_of_an_earlier_try_are_not_those_of_one_that_was_killed(
    alerts: Callable[..., None], sink: MailSink
) -> None:
    alerts(MAIL)
    incident_memory.keep_words(
        RUN.dag_id, LastWords(run=RUN.run_id, task="record", attempt=1, what="old", topics=("failed",))
    )
    fail()
    assert "it may have been killed" in text(sink.mails[0])


def test_a_mail_server_that_is_down_loses_nothing_and_stops_nothing(
    alerts: Callable[..., None], monkeypatch: pytest.MonkeyPatch, sink: MailSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The next occasion, of whatever DAG, says it. Another way that works is not told twice meanwhile."""
    alerts(MAIL, NOTEBOOK)
    away = json.loads(sink.connection) | {"port": NOT_AT_HOME}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(away))
    fail()
    fail()
    assert not sink.mails
    assert [title for title, _ in told] == ["pgkeep: pgkeep_shop_full FAILED"]
    assert "the next occasion tries again" in caplog.text
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", sink.connection)
    run_succeeded(cast(Context, {"dag_run": SimpleNamespace(dag_id="pgkeep_shop_watch", run_id="scheduled__2")}))
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED"]
    end_well()
    assert len(sink.mails) == len(told) == 2


def test_a_notifier_that_fails_shows_no_secret_and_stops_no_other(
    alerts: Callable[..., None], sink: MailSink, caplog: pytest.LogCaptureFixture
) -> None:
    alerts(MAIL, NOTEBOOK.replace("Notebook", "Locked"), NOTEBOOK)
    with caplog.at_level(logging.WARNING, logger="pgkeep"):
        fail()
    assert len(sink.mails) == len(told) == 1
    assert "is not told over 1: " in caplog.text
    assert "secret" not in caplog.text


def test_a_run_that_hangs_is_told_and_its_end_too(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(MAIL)
    asyncio.run(run_hangs({"dag_run": {"dag_id": RUN.dag_id, "dag_run_id": RUN.run_id}, "deadline": {}}))
    end_well()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full HANGS", "pgkeep: pgkeep_shop_full is well again"]
    assert "/dags/pgkeep_shop_full/runs/manual__1" in text(sink.mails[0])


def test_a_run_that_is_over_or_waits_for_its_turn_does_not_hang(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(MAIL)
    waits = {"dag_id": RUN.dag_id, "dag_run_id": RUN.run_id, "run_type": "backfill", "start_date": None}
    asyncio.run(run_hangs({"dag_run": waits, "deadline": {}}))
    assert sink.subjects == []
    runs = waits | {"start_date": "2026-01-02T03:04:05Z", "state": "running"}
    for state in ("failed", "success"):  # Airflow keeps the deadlines of those, too
        asyncio.run(run_hangs({"dag_run": runs | {"state": state}, "deadline": {}}))
    assert sink.subjects == []
    asyncio.run(run_hangs({"dag_run": runs, "deadline": {}}))
    assert sink.subjects == ["pgkeep: pgkeep_shop_full HANGS"]


def test_a_way_that_the_settings_have_no_more_waits_no_longer(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(NOTEBOOK.replace("Notebook", "Locked"))
    fail()
    assert incident_memory.recall(RUN.dag_id).outbox
    alerts(MAIL)
    end_well()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full is well again"]
    assert not variables.store().keys(incident_memory.INCIDENT)


def test_what_is_remembered_of_a_journal_never_goes_back(alerts: Callable[..., None]) -> None:
    alerts(MAIL)
    for sequence in (3, 7, 5):
        JournalMemory("shop").keep(Seen(sequence=sequence, cid=None, moment=None, entry=None))
    (found,) = JournalMemory("shop").recall()
    assert found.seen.sequence == 7
    assert "pgkeep_seen__shop" in found.forget


def test_of_two_that_remember_a_journal_at_once_the_higher_stays(
    alerts: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch has seen version 11, and meanwhile version 12 is recorded."""
    seen, write = Seen(sequence=11, cid=None, moment=None, entry=None), variables.write
    with ThreadPoolExecutor() as pool:

        def write_slowly(key: str, record: Any, about: str) -> None:
            if record == seen:
                wait([pool.submit(JournalMemory("shop").keep, replace(seen, sequence=12))], timeout=0.5)
            write(key, record, about)

        monkeypatch.setattr(variables, "write", write_slowly)
        JournalMemory("shop").keep(seen)
    (found,) = JournalMemory("shop").recall()
    assert found.seen.sequence == 12


def test_what_is_remembered_and_cannot_be_read_is_not_nothing(alerts: Callable[..., None]) -> None:
    alerts(MAIL)
    known = JournalMemory("shop")
    assert known.recall() == ()
    variables.store().set(known.key, "{", "somebody's hand was in it")
    with pytest.raises(Unavailable, match="pgkeep_seen__shop cannot be read"):
        known.recall()


def test_a_letter_that_cannot_be_remembered_goes_at_once(
    alerts: Callable[..., None], sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's database has no room left, and can be read."""

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    alerts(MAIL)
    with monkeypatch.context() as patched:
        patched.setattr(variables, "write", full)
        fail()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED"]
    assert incident_memory.recall(RUN.dag_id).since is None


def test_what_a_task_says_while_a_letter_is_written_loses_no_letter(
    alerts: Callable[..., None], sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They write at the same time, in processes that have no lock in common."""
    alerts(MAIL)
    words = LastWords(run="manual__2", task="record", attempt=1, what="no room left", topics=("failed",))
    keep = incident_memory.keep

    def keep_while_somebody_speaks(found: Any) -> bool:
        kept = keep(found)
        incident_memory.keep_words(RUN.dag_id, words)
        return kept

    with monkeypatch.context() as patched:
        patched.setattr(incident_memory, "keep", keep_while_somebody_speaks)
        fail()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED"]
    assert incident_memory.recall(RUN.dag_id).since is not None
    assert incident_memory.said(RUN.dag_id).of(run="manual__2", task="record", attempt=1) == words
    end_well()
    assert incident_memory.said(RUN.dag_id).words[:1] == (words,), (
        "another run's, of which somebody is still to be told"
    )
    incident_memory.forget_words(RUN.dag_id, run="manual__2")
    assert incident_memory.said(RUN.dag_id).words == ()


def test_a_restore_that_waits_for_an_answer_is_told(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(MAIL)
    waits = Letter(subject="another DAG's", text="", ways=("mail",))
    incident_memory.keep(replace(nothing("pgkeep_shop_full"), outbox=(waits,)))
    restore_waits("pgkeep_shop_restore", "manual__1", "Restore shop into PRODUCTION, as memory/shop?")
    assert sink.subjects == ["pgkeep: pgkeep_shop_restore waits for an answer"]
    said = text(sink.mails[0])
    assert "Restore shop into PRODUCTION, as memory/shop?" in said
    assert "Unanswered within 24 hours" in said
    assert "/dags/pgkeep_shop_restore/runs/manual__1" in said
    assert incident_memory.recall("pgkeep_shop_restore").forgettable
    assert incident_memory.recall("pgkeep_shop_full").outbox == (waits,), "a callback of its own host sends it"


@pytest.fixture(params=["the api-server does not answer", "its database does not answer"])
def away(request: pytest.FixtureRequest) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Makes Airflow lose sight of its Variables, as a task sees it: this test is one."""
    with supervised() as supervisor:
        yield {
            "the api-server does not answer": supervisor.without_api_server,
            "its database does not answer": supervisor.without_database,
        }[request.param]


Away = Callable[[], AbstractContextManager[None]]


def test_a_journal_that_cannot_be_read_for_a_while_is_not_forgotten(alerts: Callable[..., None], away: Away) -> None:
    known, seen = JournalMemory("shop"), Seen(sequence=12, cid=None, moment=None, entry=None)
    assert known.recall() == ()
    known.keep(seen)
    with away():
        with pytest.raises(Unavailable, match="pgkeep_seen__shop cannot be read"):
            known.recall()
        known.keep(replace(seen, sequence=3))
    (found,) = known.recall()
    assert found.seen == seen


def test_an_incident_that_cannot_be_read_is_told_and_not_written_over(
    alerts: Callable[..., None], away: Away, sink: MailSink
) -> None:
    alerts(MAIL)
    waits = Letter(subject="waits", text="", ways=("gone",))
    known = replace(nothing(RUN.dag_id), since=Instant("2026-01-31T14:05:00.000000Z"), topics=("x",), outbox=(waits,))
    incident_memory.keep(known)
    words = LastWords(run="manual__2", task="record", attempt=1, what="no room left", topics=("failed",))
    incident_memory.keep_words(RUN.dag_id, words)
    with away():
        incident_memory.keep_words(RUN.dag_id, replace(words, run="manual__3"))
        fail()
        end_well()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED"]
    assert incident_memory.recall(RUN.dag_id) == known
    assert incident_memory.said(RUN.dag_id).words == (words,)


def test_an_incident_in_which_somebodys_hand_was_is_begun_anew(alerts: Callable[..., None], sink: MailSink) -> None:
    alerts(MAIL)
    variables.store().set(f"{incident_memory.INCIDENT}{RUN.dag_id}", "{", "somebody's hand was in it")
    fail()
    fail()
    assert sink.subjects == ["pgkeep: pgkeep_shop_full FAILED"]
