"""What PostgreSQL's programs say of a restore, and how much of it is shown. Every value is called hunter2."""

import pytest

from pgkeep.adapters.postgres.complaints import Complaints, of_pg_restore, of_psql, of_restoring

UNTOLD = "the server refuses it, in words that may hold data: they are in its log"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            'ERROR:  23505: duplicate key value violates unique constraint "t_pkey"',
            'duplicate key value violates unique constraint "t_pkey" (23505)',
        ),
        (
            'ERROR:  22P02: invalid input syntax for type integer: "hunter2"',
            "invalid input syntax for type integer: ... (22P02)",
        ),
        ("FEHLER:  42601: Syntaxfehler bei »hunter2«", "syntax error (42601)"),
        ("FEHLER:  22P02: ungültige Eingabesyntax für Typ integer: »hunter2«", "invalid text representation (22P02)"),
        ("FEHLER:  42704: Rolle »alice« existiert nicht", "Rolle »alice« existiert nicht (42704)"),
        ('ERROR:  42601: syntax error at or near "hunter2', "syntax error at or near ... (42601)"),
        ('ERROR:  42703: column "hunter2" does not exist', "undefined column (42703)"),
        ("ERROR:  P0001: no hunter2 here", "a function or trigger raised P0001"),
        ("ERROR:  23514: no hunter2 here", "check violation (23514)"),
        ("ERROR:  42501: hunter2 may not see it", "insufficient privilege (42501)"),
        ("ERROR:  ZZ999: no hunter2 here", "the server refuses it (ZZ999)"),
        ("error: invalid command \\hunter2", "psql does not understand it"),
        ("error: connection to server was lost", "connection to server was lost"),
        (
            "FATAL:  57P01: terminating connection due to administrator command",
            "terminating connection due to administrator command (57P01)",
        ),
    ],
)
def test_a_failure_is_told_without_its_values(line: str, kept: str) -> None:
    heard = Complaints(of_psql)
    heard.hear(f"psql:<stdin>:3: {line}")
    assert (heard.count, heard.said) == (1, [f"line 3: {kept}"])


@pytest.mark.parametrize(
    "reason",
    [
        'relation "t" does not exist',
        'column "c" of relation "t" does not exist',
        'role "alice" does not exist',
        'schema "s" already exists',
        'type "public.geometry" does not exist',
        "function public.st_area(public.geometry, integer) does not exist",
        'operator class "gist_trgm_ops" does not exist for access method "gist"',
        'collation "de_DE" for encoding "UTF8" does not exist',
        'text search configuration "public.mine" does not exist',
        'extension "postgis" is not available',
        'could not open extension control file "/usr/share/extension/x.control": No such file or directory',
        'could not access file "$libdir/postgis-3": No such file or directory',
        'unrecognized configuration parameter "x.y"',
        "permission denied for schema public",
        'permission denied to create extension "postgis"',
        "must be owner of table t",
        'must be able to SET ROLE "alice"',
        "must be superuser to create subscriptions",
        'insert or update on table "t" violates foreign key constraint "t_id_fkey"',
        'new row for relation "t" violates check constraint "t_check"',
        'null value in column "c" of relation "t" violates not-null constraint',
        'could not create unique index "t_pkey"',
        'could not extend file "base/16384/16390": No space left on device',
        "canceling statement due to statement timeout",
        "out of shared memory",
        "extra data after last expected column",
        "value too long for type character varying(10)",
    ],
)
def test_what_is_missing_or_forbidden_is_named(reason: str) -> None:
    assert of_restoring(f"pg_restore: error: could not execute query: ERROR:  {reason}") == reason
    assert of_psql(f"psql:<stdin>:3: ERROR:  XX000: {reason}") == f"line 3: {reason} (XX000)"


@pytest.mark.parametrize(
    "line",
    [
        "psql:<stdin>:3: NOTICE:  00000: hunter2",
        "psql:<stdin>:3: WARNING:  01000: hunter2",
        "DETAIL:  Key (id)=(hunter2) already exists.",
        "HINT:  hunter2",
        "LINE 1: INSERT INTO t VALUES ('hunter2')",
        "hunter2",
    ],
)
def test_what_is_no_failure_is_not_kept(line: str) -> None:
    heard = Complaints(of_psql)
    heard.hear(line)
    assert (heard.count, heard.said) == (0, [])


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            'pg_restore: error: could not execute query: ERROR:  role "alice" does not exist',
            'role "alice" does not exist',
        ),
        (
            'pg_restore: error: COPY failed for table "t": ERROR:  invalid input syntax for type integer: "hunter2"',
            'COPY failed for table "t": invalid input syntax for type integer: ...',
        ),
        ('pg_restore: error: COPY failed for table "t": ERROR:  no hunter2', f'COPY failed for table "t": {UNTOLD}'),
        ('pg_restore: error: could not execute query: ERROR:  "hunter2 does not exist"', UNTOLD),
        ('pg_restore: error: could not execute query: ERROR:  customer "hunter2" does not exist', UNTOLD),
        ("pg_restore: error: could not execute query: ERROR:  no hunter2 here", UNTOLD),
        ("pg_restore: error: could not execute query: FEHLER:  Rolle »hunter2« existiert nicht", UNTOLD),
        (
            "pg_restore: error: could not read from input file: end of file",
            "could not read from input file: end of file",
        ),
        (
            "pg_restore: error: could not execute query: server closed the connection unexpectedly",
            "server closed the connection unexpectedly",
        ),
        (
            'pg_restore: error: connection to server at "db", port 1 failed: FATAL:  no pg_hba.conf entry for host "x"',
            'connection to server at "db", port 1 failed: FATAL:  no pg_hba.conf entry for host "x"',
        ),
        ('psql:<stdin>:7: ERROR:  42704: role "alice" does not exist', 'line 7: role "alice" does not exist (42704)'),
    ],
)
def test_an_error_of_pg_restore_is_told_without_values(line: str, kept: str) -> None:
    heard = Complaints(of_pg_restore)
    heard.hear(line)
    assert (heard.count, heard.said) == (1, [kept])


@pytest.mark.parametrize(
    "line",
    [
        "pg_restore: warning: errors ignored on restore: 3",
        "pg_restore: from TOC entry 215; 1259 16386 TABLE hunter2 postgres",
        "pg_restore: WARNING:  hunter2",
        'pg_restore: error: could not execute query: ERROR:  unrecognized parameter "transaction_timeout"',
        "psql:<stdin>:7: NOTICE:  00000: hunter2",
        "CONTEXT:  COPY t, line 1: hunter2",
    ],
)
def test_what_is_no_error_of_pg_restore_is_not_kept(line: str) -> None:
    heard = Complaints(of_pg_restore)
    heard.hear(line)
    assert (heard.count, heard.said) == (0, [])


def test_of_a_restore_that_stops_the_entry_is_told() -> None:
    entry = "from TOC entry 215; 1259 16386 TABLE document postgres"
    assert of_restoring(f"pg_restore: {entry}") == entry
