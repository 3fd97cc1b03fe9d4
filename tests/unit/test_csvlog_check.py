"""What `pgkeep check` says of a server that logs this or that."""

from dataclasses import replace

import pytest

from pgkeep.adapters.postgres.csvlog.log_settings import LogSettings, Override
from pgkeep.adapters.postgres.csvlog.report import LackingRight, LogReport
from pgkeep.preflight.csvlog import csvlog

GOOD = {
    "logging_collector": "on",
    "log_destination": "stderr,csvlog",
    "log_statement": "all",
    "log_duration": "on",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "-1",
    "log_min_messages": "warning",
    "lc_messages": "en_US.UTF-8",
    "standard_conforming_strings": "on",
    "track_counts": "on",
    "log_filename": "postgresql-%Y-%m-%d_%H%M%S.log",
}
SETTINGS = LogSettings(values=GOOD, own=(), overrides=(), superusers=("boss",), setters=())
REPORT = LogReport(settings=SETTINGS, by_sql=True, lacking=(), files=3, size=5_000_000)


def logging(**changed: str) -> LogReport:
    return replace(REPORT, settings=replace(SETTINGS, values={**GOOD, **changed}))


def said(report: LogReport) -> list[str]:
    return [str(finding) for finding in csvlog(report, "database it")]


def test_a_server_that_is_well() -> None:
    lines = said(REPORT)
    assert all(line.startswith("ok      database it: ") for line in lines)
    assert any("every file of the server's data directory" in line for line in lines)
    assert any("boss" in line for line in lines)
    assert any("no log shows what functions, triggers and COPY .. FROM STDIN write" in line for line in lines)
    assert not any("data directory" in line for line in said(replace(REPORT, by_sql=False)))


@pytest.mark.parametrize(
    ("name", "value", "mark", "step"),
    [
        ("logging_collector", "off", "FAILED", "restart the server"),
        ("log_destination", "stderr", "FAILED", "ALTER SYSTEM SET log_destination = 'stderr, csvlog';"),
        ("log_destination", "", "FAILED", "ALTER SYSTEM SET log_destination = 'csvlog';"),
        ("log_min_messages", "panic", "FAILED", "ALTER SYSTEM SET log_min_messages = 'warning';"),
        ("log_statement", "none", "FAILED", "ALTER SYSTEM SET log_statement = 'all';"),
        ("log_statement", "mod", "warning", "ALTER SYSTEM SET log_statement = 'all';"),
        ("log_duration", "off", "warning", "ALTER SYSTEM SET log_duration = 'on';"),
        ("lc_messages", "cs_CZ.UTF-8", "FAILED", "ALTER SYSTEM SET lc_messages = 'C';"),
        ("lc_messages", "", "warning", "ALTER SYSTEM SET lc_messages = 'C';"),
        ("log_parameter_max_length", "100", "warning", "ALTER SYSTEM SET log_parameter_max_length = '-1';"),
        ("standard_conforming_strings", "off", "warning", "standard_conforming_strings = 'on';"),
        ("track_counts", "off", "FAILED", "ALTER SYSTEM SET track_counts = 'on';"),
        ("log_filename", "postgresql-%a.log", "warning", "more often than names come again"),
    ],
)
def test_each_setting_that_is_not(name: str, value: str, mark: str, step: str) -> None:
    bad = [line for line in said(logging(**{name: value})) if not line.startswith("ok")]
    assert [line for line in bad if line.startswith(mark) and step in line], bad
    assert SETTINGS.digest != logging(**{name: value}).settings.digest


@pytest.mark.parametrize(
    ("changed", "follows"),
    [
        (
            {"log_statement": "none", "log_min_duration_statement": "0"},
            "a run that meets a write makes a full backup",
        ),
        ({"log_statement": "mod"}, "only single statements of the simple protocol"),
        ({"log_duration": "off"}, "where its session has gone meanwhile"),
    ],
)
def test_each_mode_says_what_follows(changed: dict[str, str], follows: str) -> None:
    (line,) = [line for line in said(logging(**changed)) if follows in line]
    assert line.startswith("warning")
    assert "log_duration = 'on'; ALTER SYSTEM SET log_min_duration_statement = '-1'" in line


@pytest.mark.parametrize(("language", "known"), [("C", True), ("C.UTF-8", True), ("ca_ES", False), ("", None)])
def test_languages(language: str, known: bool | None) -> None:
    assert logging(lc_messages=language).settings.english is known


def test_who_is_logged_otherwise() -> None:
    of_role = Override(role="app", name="log_statement", value="none")
    of_all = Override(role="", name="log_duration", value="off")
    settings = replace(SETTINGS, overrides=(of_all, of_role), own=("log_duration",), setters=("dev",))
    lines = said(replace(REPORT, settings=settings))
    assert sum(line.startswith("warning") for line in lines) == 3
    for text in ("log_statement = none for role app", "log_duration = off for this database", "dev", "own sessions"):
        assert any(text in line for line in lines)


def test_rights_that_are_lacking() -> None:
    lack = LackingRight(why="it may not look", grant="GRANT pg_monitor TO keeper;")
    values = {name: value for name, value in GOOD.items() if name != "log_filename"}  # he may not see it
    lines = said(replace(REPORT, lacking=(lack,), settings=replace(SETTINGS, values=values), files=None, size=None))
    step = "Next: as a superuser, in this database: GRANT pg_monitor TO keeper;"
    assert [line for line in lines if not line.startswith("ok")] == [
        f"FAILED  database it: the role lacks a right: it may not look. {step}"
    ]
