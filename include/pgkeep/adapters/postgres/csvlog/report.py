"""What there is to know about how a database's changes are logged. Reads only, and changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from pgkeep.adapters.postgres.gate import Session, quoted

from .log_settings import LogSettings, Mode, log_settings

FUNCTIONS = {
    "pg_current_logfile(text)": "which log file is written now",
    "pg_read_binary_file(text, bigint, bigint, boolean)": "what is in them (who may, reads the whole data directory)",
}
"""Beside what pg_monitor may (pg_ls_logdir, settings, sessions)."""
ASKED = "pg_current_logfile(text)"
"""What is asked by SQL even where the files are read from a directory."""
MONITORS = "SELECT pg_has_role('pg_monitor', 'USAGE')"
MAY_CALL = "SELECT has_function_privilege(%s, 'EXECUTE')"
OCCUPIED = "SELECT count(*), coalesce(sum(size), 0)::int8 FROM pg_ls_logdir() WHERE right(name, 4) = '.csv'"

SHOWS: dict[Mode, str] = {
    "all": "every statement of a client when it begins, BEGIN and COMMIT included; of a statement outside of a "
    "transaction not when it ended: where its session has gone meanwhile, a run makes a full backup (unless "
    "log_disconnections is on)",
    "all with durations": "every statement of a client when it begins, and that it ended",
    "mod": "INSERT, UPDATE, DELETE, TRUNCATE, COPY and DDL when they begin; neither COMMIT nor ROLLBACK, and nothing "
    "of what SELECT, WITH, DO and CALL write: only single statements of the simple protocol are carried",
    "after success": "every statement of a client that succeeded, when it ended; not where savepoints were: a run "
    "that meets a write makes a full backup",
    "nothing useful": "not what clients did",
}
"""What a log shows in each mode, and what follows from what it does not show."""
NEVER_SHOWN = (
    "no log shows what functions, triggers and COPY .. FROM STDIN write, nor the values of sequences, now() and other "
    "computed defaults: each run that meets them makes a full backup"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LackingRight:
    """What the role may not do, and the SQL that lets it, to be run in the very database by a superuser."""

    why: str
    grant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """One look. `by_sql`: the files are read over SQL, else from a directory. `files`, `size`: how many CSV logs there
    are, and their bytes; None: the role may not see.
    """

    settings: LogSettings
    by_sql: bool
    lacking: tuple[LackingRight, ...]
    files: int | None
    size: int | None

    @property
    def shows(self) -> str:
        return SHOWS[self.settings.mode]


def report(connection: Session, *, by_sql: bool = True) -> LogReport:
    """Looks at the server and the database of the connection. Raises psycopg.Error."""
    files, size = _occupied(connection)
    return LogReport(
        settings=log_settings(connection),
        by_sql=by_sql,
        lacking=tuple(_lacking(connection, by_sql=by_sql)),
        files=files,
        size=size,
    )


def _lacking(connection: Session, *, by_sql: bool) -> Iterator[LackingRight]:
    role = quoted(connection.info.user)
    if _one(connection, MONITORS) != (True,):
        why = "it may not see all sessions, settings and log files"
        yield LackingRight(why=why, grant=f"GRANT pg_monitor TO {role};")
    for function, what in FUNCTIONS.items():
        if (by_sql or function == ASKED) and not _may_call(connection, function):
            yield LackingRight(why=f"it may not ask {what}", grant=f"GRANT EXECUTE ON FUNCTION {function} TO {role};")


def _may_call(connection: Session, function: str) -> bool:
    return _one(connection, MAY_CALL, function) == (True,)


def _occupied(connection: Session) -> tuple[int | None, int | None]:
    if not _may_call(connection, "pg_ls_logdir()"):
        return None, None
    if _one(connection, "SELECT current_setting('logging_collector')") == ("off",):
        return 0, 0  # then the directory need not be there
    count, size = _one(connection, OCCUPIED)
    return int(str(count)), int(str(size))


def _one(connection: Session, query: str, *values: object) -> tuple[object, ...]:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row
