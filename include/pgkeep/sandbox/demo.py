"""The whole promise on one screen: `make demo`.

    a database  ->  a full backup  ->  hours of changes  ->  proof  ->  it is lost  ->  it comes back, as approved

Everything is done as a user would do it: with the `pgkeep` command, psql's protocol, and Airflow's REST API. The
comparisons do not use pgkeep's own fingerprints: the demo hashes every row of every table by itself.
"""

import argparse
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgkeep import sandbox, settings
from pgkeep.errors import PgkeepError, Unavailable

from .airflow_client import Airflow
from .demo_desk import MINUTE, PATIENCE, Desk, Shell, exists
from .demo_measure import Measured, measure, require_same, show, without_sequences
from .demo_screen import say, title
from .demo_work import MORNING, NIGHT, NOON, RELEASE, this_moment, undo_release, work, work_until

__all__ = ["Measured", "main", "measure"]

NAME, ASIDE = "shop", "shop_before_noon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What the demo itself has measured at a moment."""

    moment: str
    measured: Mapping[str, Measured]


def main() -> int:
    """Runs the demo; 0 only if everything it shows is true."""
    parser = argparse.ArgumentParser(description="keep a database by Airflow, lose it, bring any moment of it back")
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards; may be repeated")
    parser.add_argument("--size", default="20MB", help="of the sample database (default: 20MB)")
    chosen = parser.parse_args()
    try:
        with _home(keep=chosen.keep) as home:
            _play(home, size=chosen.size)
    except PgkeepError as error:
        say(f"the demo failed: {error}")
        return error.exit_code
    return 0


def _play(home: Path, *, size: str) -> None:
    started = time.monotonic()
    title("1. Real servers: PostgreSQL, three Kubo and three IPFS Cluster peers")
    sandbox.up(home, airflow=False, isolated=False, report=say)
    title("2. A database of legal officers' cases, documents and sessions; pgkeep is to keep it")
    again = _provide_database(home, size=size)
    title("3. Airflow starts, and makes the first full backup: encrypted, replicated, recorded")
    sandbox.up(home, airflow=True, isolated=False, report=say)
    environ = sandbox.environment(home)
    desk = Desk(home=home, environ=environ, airflow=Airflow(environ), name=NAME)
    known = _full_backup(desk, again=again)
    title("4. The morning's work, and an accident at noon")
    before_noon = _morning(desk)
    title("5. Airflow collects the changes")
    desk.collect()
    title("6. A new release changes the schema; Airflow collects that, too")
    work(environ, NAME, RELEASE)
    desk.collect()
    title("7. Airflow stands still while the application works on; the missed window is backfilled")
    _missed_window(desk)
    title("8. What the journal says")
    _show_journal(desk, known=known)
    title("9. Proof, before anybody needs it: a drill restores it, an audit has every peer show its bytes")
    desk.prove()
    title("10. The database is lost")
    last = _noted(desk)
    show(last.measured)
    say(f"the last transaction was committed before {last.moment}")
    desk.lose_database()
    title("11. It comes back, from the peers alone, to the last transaction: by Airflow, when a person has approved it")
    desk.restore_as_approved()
    say("is it the same? Every row of every table, hashed again by the demo itself:")
    require_same(last.measured, measure(environ, NAME))
    title("12. And as it was before the accident, beside it")
    _before_the_accident(desk, before_noon)
    say(f"\nnothing was lost, nothing invented. The whole demo took {time.monotonic() - started:.0f} s")


@contextmanager
def _home(*, keep: bool) -> Iterator[Path]:
    if keep:
        home = sandbox.default_home()
        yield home
        environ = sandbox.environment(home)
        say(f"left running: {environ['PGKEEP_UI_URL']} user {environ['PGKEEP_UI_USER']}")
        say(f"its password is in {environ['PGKEEP_UI_PASSWORD_FILE']}")
        say(f"pgkeep_{NAME}_changes is paused there: unpaused, it goes on with a full backup of the new database")
        say(f"the environment of the commands: . {home / 'env'}; stop it all: pgkeep sandbox down")
        return
    with tempfile.TemporaryDirectory(prefix="pgkeep-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            yield home
        finally:
            sandbox.down(home, report=say)
            sandbox.remove(home, report=say)


# --- the steps ---------------------------------------------------------------------------------------------------


def _provide_database(home: Path, *, size: str) -> bool:
    """Whether it was there already, from an earlier demo."""
    environ = sandbox.environment(home)
    shell = Shell(home=home, environ=environ)
    again = exists(environ, NAME)
    if again:
        say(f"{NAME} is there already: it is taken as it is")
        undo_release(environ, NAME)
    else:
        shell.pgkeep("sandbox", "sample", NAME, "--home", str(home), "--size", size)
    show(measure(environ, NAME))
    _every_minute(Path(environ[settings.VARIABLE]))
    shell.pgkeep("init", NAME)
    return again


def _full_backup(desk: Desk, *, again: bool) -> int:
    """The number of the newest entry afterwards."""
    if again:
        desk.airflow.pause(f"pgkeep_{NAME}_changes", paused=False)  # as the last demo has left it
    # A new DAG is started by the scheduler at once; one that has run already waits for its next day.
    start = desk.airflow.trigger if again else desk.airflow.first_run
    desk.follow(start(f"pgkeep_{NAME}_full", patience=PATIENCE))
    entries = desk.entries()
    full = next(entry for entry in reversed(entries) if entry["backup"]["kind"] == "full")
    say(_line(full))
    desk.show_copies(full["backup"]["parts"])
    return int(entries[-1]["sequence"])


def _every_minute(path: Path) -> None:
    """A window for each minute from now on; what an earlier demo wrote is replaced."""
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"\n\[databases\.{NAME}\]\n(?:[^\[\n].*\n)*", "", text), encoding="utf-8")
    begins = (datetime.now(UTC) + MINUTE).replace(microsecond=0)  # the first minutes are the demo's own
    settings.add_database(path, NAME, {"changes_schedule": "* * * * *", "begins": begins, "approval_by_another": True})
    say('   in pgkeep.toml: changes_schedule = "* * * * *", for an hour would be long for a demo')
    say("   and approval_by_another = true: who asks for a restore into production does not approve it")


def _morning(desk: Desk) -> Noted:
    work(desk.environ, NAME, MORNING)
    noted = _noted(desk)
    say(f"   {noted.moment} is the moment to remember")
    work(desk.environ, NAME, NOON)
    return noted


def _missed_window(desk: Desk) -> None:
    """Backfilled when it is over. No window of the future can be filled: it ends with the minute."""
    dag = f"pgkeep_{NAME}_changes"
    desk.airflow.pause(dag, paused=True)
    begin = datetime.now(UTC).replace(second=0, microsecond=0)
    end = begin + MINUTE
    say(f"   {dag} is paused; its window ends at {end:%H:%M:%S}")
    work(desk.environ, NAME, NIGHT)
    work_until(desk.environ, NAME, end)
    desk.backfill(begin, end)
    desk.airflow.pause(dag, paused=True)
    desk.airflow.wait_until_idle(dag, patience=PATIENCE)


def _show_journal(desk: Desk, *, known: int) -> None:
    """Raises Unavailable unless each new entry begins exactly where the one before it ended, without a gap."""
    links = [entry for entry in desk.entries() if entry["backup"]["link"]]
    for before, entry in itertools.pairwise(links):
        if entry["sequence"] <= known:
            continue
        say(_line(entry))
        link = entry["backup"]["link"]
        if link["gap"] or link["since"] != before["backup"]["cut"]:
            raise Unavailable(f"entry {entry['sequence']} does not carry the changes on", next_step="report this")
    say("every entry begins at the very cut at which the one before it ended")


def _noted(desk: Desk) -> Noted:
    return Noted(measured=measure(desk.environ, NAME), moment=this_moment(desk.environ, NAME))


def _before_the_accident(desk: Desk, noted: Noted) -> None:
    desk.make_room(ASIDE)
    into = f"{desk.environ['PGKEEP_SCRATCH_URL']}/{ASIDE}"
    desk.pgkeep("restore", NAME, "--at", noted.moment, "--into", into)
    require_same(without_sequences(noted.measured), without_sequences(measure(desk.environ, ASIDE, server="SCRATCH")))


def _line(entry: Mapping[str, Any]) -> str:
    backup, link = entry["backup"], entry["backup"]["link"]
    size = sum(part["size"] for part in backup["parts"])
    if link:
        held = link["gap"] or f"{link['changes']} changes in {link['transactions']} transactions"
    else:
        held = f"{backup['totals']['rows']} rows in {backup['totals']['tables']} tables"
    return f"entry {entry['sequence']}: {backup['kind']}, as of {backup['cut']['time']}, {held}, {size} bytes encrypted"


if __name__ == "__main__":
    sys.exit(main())
