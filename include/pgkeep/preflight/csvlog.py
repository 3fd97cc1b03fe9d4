"""Whether the server's CSV log shows the changes of a database, and what that takes."""

from collections.abc import Iterator

from pgkeep.adapters.postgres.csvlog.log_settings import SILENT, LogSettings
from pgkeep.adapters.postgres.csvlog.report import NEVER_SHOWN, LogReport
from pgkeep.progress import human_size

from .finding import Finding

NAMED = 5
TELLS_THE_DAY = ("%Y", "%y", "%F", "%D", "%c", "%x", "%s", "%G", "%+")
"""What makes the name of a log file one that never comes again (of those that strftime knows)."""
FULL = "each run that meets it makes a full backup"


def csvlog(report: LogReport, about: str) -> Iterator[Finding]:
    """The findings for a database whose changes are taken from the CSV log."""
    yield from _collected(report.settings, about)
    if report.settings.collected:
        yield from _statements(report, about)
    yield from _rights(report, about)
    yield from _exceptions(report.settings, about)
    yield from _files(report, about)


def _collected(settings: LogSettings, about: str) -> Iterator[Finding]:
    values = settings.values
    if values["logging_collector"] != "on":
        step = "ALTER SYSTEM SET logging_collector = on; and restart the server"
        yield Finding(about=about, what="the server collects no log", next_step=step, fatal=True)
    if "csvlog" not in values["log_destination"]:
        step = _set(log_destination=", ".join(filter(None, [values["log_destination"], "csvlog"])))
        yield Finding(about=about, what="the server writes no CSV log", next_step=step, fatal=True)
    if values["log_min_messages"] in SILENT:
        what = f"log_min_messages is {values['log_min_messages']}: which statements failed is not logged"
        yield Finding(about=about, what=what, next_step=_set(log_min_messages="warning"), fatal=True)
    if not settings.english:
        language = values["lc_messages"] or "what the server's environment says"
        what = f"lc_messages is {language}: what the server writes in another language than English is not understood"
        yield Finding(about=about, what=what, next_step=_set(lc_messages="C"), fatal=settings.english is False)


def _statements(report: LogReport, about: str) -> Iterator[Finding]:
    mode = report.settings.mode
    what = f"the log shows {report.shows}"
    step = _set(log_statement="all", log_duration="on", log_min_duration_statement="-1")
    if mode == "nothing useful":
        what += ": no changes can be kept"
    if mode == "all with durations":
        yield Finding(about=about, what=what)
    else:
        yield Finding(about=about, what=what, next_step=step, fatal=mode == "nothing useful")
    if mode != "nothing useful":
        yield Finding(about=about, what=NEVER_SHOWN)
    yield from _texts(report.settings, about)


def _texts(settings: LogSettings, about: str) -> Iterator[Finding]:
    values = settings.values
    if values["log_parameter_max_length"] != "-1":
        what = f"parameters are logged up to {values['log_parameter_max_length']} bytes: {FULL}"
        yield Finding(about=about, what=what, next_step=_set(log_parameter_max_length="-1"))
    if values["standard_conforming_strings"] != "on":
        what = f"standard_conforming_strings is off, so a statement's text has more than one meaning: {FULL}"
        yield Finding(about=about, what=what, next_step=_set(standard_conforming_strings="on"))
    if values["track_counts"] != "on":
        what = "track_counts is off: changes that the log does not show cannot be noticed"
        yield Finding(about=about, what=what, next_step=_set(track_counts="on"), fatal=True)


def _rights(report: LogReport, about: str) -> Iterator[Finding]:
    for lack in report.lacking:
        step = f"as a superuser, in this database: {lack.grant}"
        yield Finding(about=about, what=f"the role lacks a right: {lack.why}", next_step=step, fatal=True)
    if report.by_sql and not report.lacking:
        what = "its role may read all log files, and with that right every file of the server's data directory"
        yield Finding(about=about, what=what)


def _exceptions(settings: LogSettings, about: str) -> Iterator[Finding]:
    if settings.own:
        what = f"pgkeep's own sessions have other log settings than the server's: {', '.join(settings.own)}"
        step = "ALTER ROLE .. RESET them, and take them out of the connection's options"
        yield Finding(about=about, what=what, next_step=step)
    if settings.of_roles:
        named = "; ".join(map(str, settings.of_roles[:NAMED])) + "; .." * (len(settings.of_roles) > NAMED)
        what = f"not everybody's sessions are logged alike ({named}): {FULL}"
        yield Finding(about=about, what=what, next_step="ALTER ROLE .. RESET them")
    if of_all := [override for override in settings.overrides if not override.role]:
        what = f"has log settings of its own, which ALTER SYSTEM does not change: {'; '.join(map(str, of_all))}"
        yield Finding(about=about, what=what)
    if settings.superusers:
        what = f"superusers could switch the log off in their sessions unseen: {', '.join(settings.superusers[:NAMED])}"
        yield Finding(about=about, what=what)
    if settings.setters:
        what = f"may switch the log off in their sessions, without being superusers: {', '.join(settings.setters)}"
        yield Finding(about=about, what=what, next_step="REVOKE SET ON PARAMETER .. FROM them")


def _files(report: LogReport, about: str) -> Iterator[Finding]:
    if report.files is not None and report.size is not None:
        what = f"its server has {report.files} CSV log files of {human_size(report.size)}, in plain text"
        yield Finding(about=about, what=what)
    name = report.settings.values.get("log_filename")
    if name is not None and not any(part in name for part in TELLS_THE_DAY):
        what = f"log_filename ({name}) names no date: files that are written anew before they were read are a gap"
        step = "collect more often than names come again, or: " + _set(log_filename="postgresql-%Y-%m-%d_%H%M%S.log")
        yield Finding(about=about, what=what, next_step=step)


def _set(**settings: str) -> str:
    changes = " ".join(f"ALTER SYSTEM SET {name} = '{value}';" for name, value in settings.items())
    return f"as a superuser: {changes} SELECT pg_reload_conf()"
