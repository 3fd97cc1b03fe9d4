"""Watching, mailing and measuring over real servers, run by Airflow in this process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

from fix_mail import MailSink, attachments, mail_sink, text
from in_airflow.dags import Keep, entries, run, states, tries
from pgkeep.site import Site

Say = Callable[..., None]
GREEN = dict.fromkeys(("dump_database", "check_encryption", "replicate", "record", "release"), "success")


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as sink:
        yield sink


@pytest.fixture
def watched(
    keep: Keep, sandbox: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: MailSink
) -> tuple[Site, Say]:
    """A database, and a way to say what stands in its section; somebody is told of everything."""
    site = keep("watched_" + tmp_path.name.strip("0").rpartition("_")[2][:20].replace("-", "_"))
    path = tmp_path / "pgkeep.toml"
    own = Path(sandbox["PGKEEP_CONFIG"]).read_text(encoding="utf-8")
    monkeypatch.setenv("PGKEEP_CONFIG", str(path))
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", sink.connection)

    def say(*lines: str) -> None:
        section = f"[databases.{site.database.name}]"
        told = own.replace(section, "\n".join([section, *lines]))
        path.write_text(f'{told}\n[alerts]\nmail = ["ops@example.org"]\n', encoding="utf-8")

    say()
    return site, say


class Gauges(NoStatsLogger):
    """A server of metrics, as Airflow's clients see one."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.tags: dict[str, Any] = {}

    def gauge(self, stat: str, value: float, **more: Any) -> None:  # type: ignore[override]
        self.values[stat] = value
        self.tags[stat] = more.get("tags")


@contextmanager
def gauges() -> Iterator[Gauges]:
    """Airflow's metrics go there meanwhile."""
    found = Gauges()
    stats.initialize(factory=lambda: found, export_legacy_names=False)
    try:
        yield found
    finally:
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


def test_a_database_is_watched_and_its_journal_leaves_by_mail(watched: tuple[Site, Say], sink: MailSink) -> None:
    site, say = watched
    with gauges() as measured:
        assert states(run(site, "full")) == GREEN
        assert states(run(site, "journal")) == {"mail_journal": "success"}
        assert states(run(site, "watch")) == {"watch": "success"}
    (entry,) = entries(site)
    assert measured.values["pgkeep.full_bytes"] == measured.values[f"pgkeep.full_bytes.{site.database.slug}"]
    assert measured.values["pgkeep.full_bytes"] == entry.backup.size
    assert measured.tags["pgkeep.full_bytes"] == {"database": site.database.slug}
    assert (measured.values["pgkeep.journal_version"], measured.values["pgkeep.copies_missing"]) == (1, 0)
    assert 0 < measured.values["pgkeep.newest_moment_age_seconds"] < 3600

    (mail,) = sink.mails
    assert str(mail["subject"]) == f"pgkeep: journal of {site.database.name}, version 1"
    head = site.journals.head()
    sealed = b"".join(site.vault.read(head.cid, at=site.vault.own()))
    assert attachments(mail) == {f"{site.database.slug}-journal-1.gpg": sealed}, "byte for byte"
    assert "its 1 entries (the last full backup: 1)" in text(mail)
    sink.mails.clear()

    say("newest_hours = 0.0000001")
    for _ in range(2):
        ended = run(site, "watch")
        assert states(ended) == {"watch": "failed"}
        assert tries(ended, "watch") == 1, "waiting does not make it younger"
    say("newest_hours = 0.0000001", "key_days = 3650")
    assert states(run(site, "watch")) == {"watch": "failed"}
    say()
    assert states(run(site, "watch")) == {"watch": "success"}

    name = f"pgkeep_{site.database.slug}_watch"
    assert sink.subjects == [f"pgkeep: {name} FAILED", f"pgkeep: {name} FAILED", f"pgkeep: {name} is well again"]
    late, keys, well = map(text, sink.mails)
    assert f"the newest moment that can be restored is {entry.backup.cut.time} (entry 1)" in late
    assert "Next: see why the runs that make its backups fail, or do not begin; then: pgkeep backup" in late
    assert "expires on" in keys
    assert f"can be restored as it was at {entry.backup.cut.time}: entry 1" in well


def test_bad_days(
    watched: tuple[Site, Say], sink: MailSink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The mail server is down while a backup is made; then somebody rolls the journal back."""
    site, _ = watched
    name, first = site.database.name, site.journals.head()
    monkeypatch.setattr("pgkeep.airflow.declaration.TRIED_AGAIN", {"owner": "pgkeep", "retries": 0})
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", sink.connection.replace(str(sink.port), "9"))
    assert states(run(site, "full")) == GREEN
    assert states(run(site, "journal")) == {"mail_journal": "failed"}
    assert f"version 1 of the journal of {name} was not mailed" in caplog.text

    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", sink.connection)
    assert states(run(site, "watch")) == {"watch": "success"}
    assert sink.subjects == [f"pgkeep: pgkeep_{site.database.slug}_journal FAILED"], "the next occasion has said it"
    assert f"version 1 of the journal of {name} was not mailed" in text(sink.mails[0])

    roll_back(site)
    assert site.journals.head() == first, "pgkeep itself could not know"
    assert states(run(site, "watch")) == {"watch": "failed"}
    said = text(sink.mails[-1])
    assert f"its journal is at version 0 ({first.cid}), but what was seen before is version 1" in said
    assert f"(Airflow's Variable pgkeep_seen__{site.database.slug})" in said
    assert f"(the newest event of Airflow's asset pgkeep/{name}/full)" in said


def roll_back(site: Site) -> None:
    """Whoever has access to the cluster removes all versions after the first, and all that could tell of them."""
    mine = f"pgkeep/{site.database.name}/"
    for name, cids in site.vault.listing(mine).names.items():
        for cid in cids if name != f"{mine}journal/0" else ():
            site.vault.drop(cid)
