"""The demo's operator: a shell with the `pgkeep` command, a connection to the server, and Airflow's REST API."""

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from psycopg import sql

from pgkeep.errors import Unavailable

from .airflow_client import Airflow, Run
from .demo_measure import connect
from .demo_screen import say

PATIENCE = 240.0
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A shell in the sandbox's folder, with its environment."""

    home: Path
    environ: Mapping[str, str]

    def pgkeep(self, *arguments: str, quiet: bool = False) -> str:
        """Runs the command as a user would; its own errors are on the screen already."""
        program = [str(Path(sys.executable).with_name("pgkeep")), *arguments]
        if not quiet:
            say(f"$ pgkeep {' '.join(arguments)}")
        done = subprocess.run(program, env=self.environ, cwd=self.home, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise Unavailable(f"pgkeep {arguments[0]} ended with {done.returncode}", next_step="read its words above")
        if not quiet:
            say(done.stdout.rstrip())
        return done.stdout


@dataclass(frozen=True, kw_only=True)
class Desk(Shell):
    """With Airflow's page open beside it. `name`: the database that is kept."""

    airflow: Airflow
    name: str

    def entries(self) -> list[dict[str, Any]]:
        """What the journal names, oldest first."""
        found: list[dict[str, Any]] = json.loads(self.pgkeep("list", self.name, "--json", quiet=True))["entries"]
        return found

    # --- Airflow -------------------------------------------------------------------------------------------------

    def follow(self, run: Run) -> None:
        """Shows a run's tasks as they end. Raises Unavailable unless all is well."""
        started = time.monotonic()
        say(f"   {run.dag}, run {run.id}")
        for task, state, seconds in self.airflow.follow(run, patience=PATIENCE):
            say(f"      {task:<18} {state:<8} {seconds:.1f} s")
        say(f"      green after {time.monotonic() - started:.1f} s")

    def collect(self) -> None:
        """The changes up to now, by the run that the operator starts in Airflow's page."""
        self.follow(self.airflow.trigger(f"pgkeep_{self.name}_changes", patience=PATIENCE))

    def backfill(self, begin: datetime, end: datetime) -> None:
        """The windows of that time that have no run: in Airflow's page, Trigger, Backfill, Missing Runs."""
        dag = f"pgkeep_{self.name}_changes"
        last = end - MINUTE  # a window goes by the moment at which it begins
        say(f"   the missing runs are asked for: backfill from {begin:%FT%TZ} to {last:%FT%TZ}")
        self.airflow.backfill(dag, begin, last)
        self.airflow.pause(dag, paused=False)
        runs = [run for run in self.airflow.runs(dag, run_type="backfill") if run.end and run.end > begin]
        if not runs:
            raise Unavailable("Airflow has made no run for the missed window", next_step="report this")
        for run in runs:
            self.follow(run)

    def prove(self) -> None:
        """A drill and an audit, by hand, and what they have found. Raises Unavailable unless all is well."""
        stories = ("drill", "audit")
        runs = [self.airflow.trigger(f"pgkeep_{self.name}_{story}", patience=PATIENCE) for story in stories]
        for story, run in zip(stories, runs, strict=True):
            self.follow(run)
            for line in self._told(run, story):
                say(f"   {line}")

    def restore_as_approved(self) -> None:
        """In Airflow's page: Trigger, the form, and the answer of somebody else under Required Actions."""
        asked = {"moment": "latest", "server": "production", "dbname": self.name}
        say(f"   {self.environ['PGKEEP_UI_USER']} triggers pgkeep_{self.name}_restore: {json.dumps(asked)}")
        run = self.airflow.trigger(f"pgkeep_{self.name}_restore", patience=PATIENCE, params=asked)
        question = self.airflow.question(run, "approve", patience=PATIENCE)
        say(f"   {question['subject']}")
        for line in question["body"].splitlines():
            if line.startswith("| ") and line != "| | |":
                say(f"      {' - '.join(cell.strip() for cell in line.strip('|').split('|', 1))}")
        Airflow(self.environ, second=True).answer(run, "approve", "Approve")
        say(f"   {self.environ['PGKEEP_UI_SECOND_USER']} answers: Approve")
        self.follow(run)
        for line in self._told(run, "restore"):
            say(f"   {line}")

    def _told(self, run: Run, task: str) -> list[str]:
        """What a task has said of this database, for people."""
        said = [line for event in self.airflow.said(run, task) for line in event.splitlines()]
        return [
            line
            for line in said
            if re.match(rf"{self.name}[:,] |[^ ]+/{self.name}: |[^ ]+: \d+ objects|all is well", line)
        ]

    # --- the servers ---------------------------------------------------------------------------------------------

    def lose_database(self) -> None:
        """All of it, and the slot that keeps its changes, as if the server had burned down."""
        with connect(self.environ, "postgres") as connection:
            query = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
            connection.execute(query, [self.name])
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)))
        if exists(self.environ, self.name):
            raise Unavailable("the database is still there", next_step="run the demo again")
        say(f"DROP DATABASE {self.name}: it is gone from the server, and its replication slot with it")

    def make_room(self, dbname: str) -> None:
        """A demo that is repeated has left a database on the scratch server."""
        with connect(self.environ, "postgres", server="SCRATCH") as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(dbname)))

    def show_copies(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Does not believe the journal: reads the bytes from each peer, which may not ask the others."""
        for part in parts:
            say(f"   {part['name']:<10} {part['cid']}")
            for suffix in ("", "_2", "_3"):
                say(f"      {self._copy(suffix, part)}")

    def _copy(self, suffix: str, part: Mapping[str, Any]) -> str:
        peer = json.loads(self.environ[f"AIRFLOW_CONN_PGKEEP_KUBO{suffix}"])
        url = f"http://{peer['host']}:{peer['port']}/api/v0/cat"
        with requests.Session() as session:
            session.trust_env = False  # a proxy set for the outside would be asked for 127.0.0.1, too
            answer = session.post(url, params={"arg": str(part["cid"]), "offline": "true"}, timeout=60)
        if hashlib.sha256(answer.content).hexdigest() != part["digest"]:
            raise Unavailable(f"peer {url} does not hold {part['cid']}", next_step="run the demo again")
        return f"held by the peer at port {peer['port']}: {len(answer.content)} bytes read there, digest right"


def exists(environ: Mapping[str, str], name: str) -> bool:
    """Whether the source has that database."""
    with connect(environ, "postgres") as connection:
        return connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None
