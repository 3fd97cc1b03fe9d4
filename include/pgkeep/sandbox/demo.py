"""The whole promise on one screen: `make demo`.

    a database  ->  Airflow backs it up  ->  it is dropped  ->  it comes back  ->  it is the same, table by table

Everything is done as a user would do it: with the `pgkeep` command, psql's protocol, and Airflow's REST API. The
comparison at the end does not use pgkeep's own fingerprints: it hashes every row of every table by itself.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import requests
from psycopg import sql

from pgkeep import sandbox
from pgkeep.errors import PgkeepError, Unavailable
from pgkeep.sandbox.airflow_client import Airflow

NAME = "shop"
DAG = f"pgkeep_{NAME}_full"
DEADLINE = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One table as found by the demo itself: rows, and a hash over all of them in order."""

    rows: int
    digest: str


def main() -> int:
    """Runs the demo; 0 only if everything it shows is true."""
    parser = argparse.ArgumentParser(description="back a database up by Airflow, destroy it, bring it back")
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards; may be repeated")
    parser.add_argument("--size", default="20MB", help="of the sample database (default: 20MB)")
    chosen = parser.parse_args()
    try:
        with _home(keep=chosen.keep) as home:
            _play(home, size=chosen.size)
    except PgkeepError as error:
        _say(f"the demo failed: {error}")
        return error.exit_code
    return 0


def _play(home: Path, *, size: str) -> None:
    started = time.monotonic()
    _title("1. Real servers: PostgreSQL, three Kubo and three IPFS Cluster peers, Airflow")
    sandbox.up(home, airflow=True, isolated=False, report=_say)
    environ = sandbox.environment(home)
    _title("2. A database of legal officers' cases, documents and sessions")
    _provide_database(home, environ, size=size)
    before = measure(environ, NAME)
    _show_tables(before)
    airflow = Airflow(environ)
    again = airflow.has_run(DAG)
    _pgkeep(home, environ, "init", NAME)
    _title("3. Airflow backs it up: encrypted, replicated, recorded")
    seconds = _backup(airflow, again=again)
    _show_backup(home, environ, seconds)
    _title("4. The database is destroyed")
    _drop(environ)
    _title("5. It comes back, from the peers alone")
    _pgkeep(home, environ, "restore", NAME, "--into", f"{environ['PGKEEP_SOURCE_URL']}/{NAME}")
    _title("6. Is it the same? Every row of every table, hashed again by the demo itself")
    _require_same(before, measure(environ, NAME))
    _say(f"the whole demo took {time.monotonic() - started:.0f} s")


@contextmanager
def _home(*, keep: bool) -> Iterator[Path]:
    if keep:
        home = sandbox.default_home()
        yield home
        environ = sandbox.environment(home)
        _say(f"left running: {environ['PGKEEP_UI_URL']} user {environ['PGKEEP_UI_USER']}")
        _say(f"its password is in {environ['PGKEEP_UI_PASSWORD_FILE']}")
        _say(f"the environment of the commands: . {home / 'env'}; stop it all: pgkeep sandbox down")
        return
    with tempfile.TemporaryDirectory(prefix="pgkeep-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            yield home
        finally:
            sandbox.down(home, report=_say)
            sandbox.remove(home, report=_say)


def _provide_database(home: Path, environ: Mapping[str, str], *, size: str) -> None:
    with _connect(environ, "postgres", server="SOURCE") as connection:
        there = connection.execute("SELECT FROM pg_database WHERE datname = %s", [NAME]).fetchone() is not None
    if there and measure(environ, NAME):
        _say(f"{NAME} is there already: it is taken as it is")
    else:
        _pgkeep(home, environ, "sandbox", "sample", NAME, "--home", str(home), "--size", size)


def _backup(airflow: Airflow, *, again: bool) -> float:
    """A new DAG is started by the scheduler at once; one that has run already waits for its next day."""
    started = time.monotonic()
    run = (airflow.trigger if again else airflow.first_run)(DAG, patience=DEADLINE)
    for task, state, seconds in airflow.follow(run, patience=DEADLINE):
        _say(f"   {task:<18} {state:<8} {seconds:.1f} s")
    return time.monotonic() - started


def _show_backup(home: Path, environ: Mapping[str, str], seconds: float) -> None:
    answer = _pgkeep(home, environ, "list", NAME, "--json", quiet=True)
    entry = json.loads(answer)["entries"][-1]
    backup = entry["backup"]
    _say(
        f"entry {entry['sequence']}: {backup['totals']['rows']} rows in {backup['totals']['tables']} tables, "
        f"{sum(part['plain_size'] for part in backup['parts'])} bytes, "
        f"{sum(part['size'] for part in backup['parts'])} encrypted; Airflow took {seconds:.1f} s"
    )
    for part in backup["parts"]:
        _say(f"   {part['name']:<10} {part['cid']}")
        for peer in ("", "_2", "_3"):
            _say(f"      {_ask_peer(environ, peer, part)}")


def _ask_peer(environ: Mapping[str, str], suffix: str, part: Mapping[str, object]) -> str:
    """Does not believe the journal: reads the bytes from that very peer, which may not ask the others."""
    peer = json.loads(environ[f"AIRFLOW_CONN_PGKEEP_KUBO{suffix.upper()}"])
    url = f"http://{peer['host']}:{peer['port']}/api/v0/cat"
    with requests.Session() as session:
        session.trust_env = False  # a proxy set for the outside would be asked for 127.0.0.1, too
        answer = session.post(url, params={"arg": str(part["cid"]), "offline": "true"}, timeout=60)
    if hashlib.sha256(answer.content).hexdigest() != part["digest"]:
        raise Unavailable(f"peer {url} does not hold {part['cid']}", next_step="run the demo again")
    return f"held by the peer at port {peer['port']}: {len(answer.content)} bytes read there, digest right"


def _drop(environ: Mapping[str, str]) -> None:
    with _connect(environ, "postgres", server="SOURCE") as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(NAME)))
        gone = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [NAME]).fetchone()
    if gone != (0,):
        raise Unavailable("the database is still there", next_step="run the demo again")
    _say(f"DROP DATABASE {NAME}: it is gone from the server")


def measure(environ: Mapping[str, str], dbname: str, *, server: str = "SOURCE") -> dict[str, Measured]:
    """Every table of the database: its rows, and SHA-256 over their texts in order. Nothing of pgkeep is used."""
    tables = (
        "SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') "
        "ORDER BY 1, 2"
    )
    with _connect(environ, dbname, server=server) as connection:
        names = connection.execute(tables).fetchall()
        return {f"{schema}.{name}": _measure_table(connection, schema, name, kind) for schema, name, kind in names}


def _measure_table(connection: "psycopg.Connection[tuple[Any, ...]]", schema: str, name: str, kind: str) -> Measured:
    digest, rows = hashlib.sha256(), 0
    # A sequence also counts how many numbers it has reserved, which says nothing about where it stands.
    row = sql.SQL("(t.last_value, t.is_called)::text" if kind == "S" else "t::text")
    query = sql.SQL('SELECT line FROM (SELECT {} AS line FROM {} t) s ORDER BY line COLLATE "C"')
    with connection.transaction(), connection.cursor(name="demo") as cursor:
        for (line,) in cursor.execute(query.format(row, sql.Identifier(schema, name))):
            digest.update(line.encode() + b"\0")
            rows += 1
    return Measured(rows=rows, digest=digest.hexdigest())


def _connect(environ: Mapping[str, str], dbname: str, *, server: str) -> "psycopg.Connection[tuple[Any, ...]]":
    url = f"{environ[f'PGKEEP_{server}_URL']}/{quote(dbname)}"
    return psycopg.connect(url, passfile=environ["PGPASSFILE"], autocommit=True)


def _require_same(before: Mapping[str, Measured], after: Mapping[str, Measured]) -> None:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None or old != new:
            raise Unavailable(f"{name} is not what it was: {old} before, {new} after", next_step="report this")
        _say(f"   {name:<32} {new.rows:>8} rows  {new.digest[:16]}  same as before")
    _say(f"all {len(after)} tables and sequences are identical")


def _show_tables(tables: Mapping[str, Measured]) -> None:
    for name, table in tables.items():
        _say(f"   {name:<32} {table.rows:>8} rows  {table.digest[:16]}")


def _pgkeep(home: Path, environ: Mapping[str, str], *arguments: str, quiet: bool = False) -> str:
    """Runs the command as a user would; its own errors are on the screen already."""
    program = [str(Path(sys.executable).with_name("pgkeep")), *arguments]
    if not quiet:
        _say(f"$ pgkeep {' '.join(arguments)}")
    done = subprocess.run(program, env=environ, cwd=home, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unavailable(f"pgkeep {arguments[0]} ended with {done.returncode}", next_step="read its words above")
    if not quiet:
        _say(done.stdout.rstrip())
    return done.stdout


def _title(text: str) -> None:
    _say(f"\n{text}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
