"""The DAG of restores over real servers, run by Airflow in this process, which has nobody to ask."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from in_airflow.dags import Keep, connect, dag_of, entries, handed_on, run, states
from pgkeep import records
from pgkeep.approval import Approved, Person, Proposal, SwapNote, Wish
from pgkeep.errors import ConfigError
from pgkeep.meter import unwatched
from pgkeep.model import now
from pgkeep.plan import Point


def test_marked_as_a_success_is_not_approved(
    keep: Keep, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("asked_for")
    assert set(states(run(site, "full")).values()) == {"success"}
    with connect(sandbox, "asked_for") as connection:
        connection.execute("DELETE FROM document WHERE i > 100")
        connection.execute("ANALYZE document")
        asked = {"moment": "entry 1", "server": "production", "replace": True}
        ended = dag_of(site, "restore").test(logical_date=None, run_conf=asked, mark_success_pattern="approve")
        assert states(ended) == {"plan": "success", "approve": "success", "restore": "failed"}
        assert "nobody has approved this restore" in caplog.text
        assert connection.execute("SELECT count(*) FROM document").fetchone() == (100,)

    proposal = records.decode(Proposal, handed_on(ended, "plan"))
    assert (proposal.production, proposal.base, proposal.steps) == (True, 1, ())
    assert proposal.size == entries(site)[0].backup.size
    assert proposal.occupant
    assert (proposal.occupant.tables, proposal.occupant.rows, proposal.occupant.sessions) == (1, 100, 1)
    assert "1 table with about 100 rows; 1 connection open now, to be ended at that moment" in caplog.text


def test_a_try_that_was_killed_after_the_swap_is_not_repeated(keep: Keep, sandbox: Mapping[str, str]) -> None:
    """What the application has written into the restored database meanwhile stays in its place."""
    site, noted = keep("swapped"), list[str]()
    assert set(states(run(site, "full")).values()) == {"success"}
    change(sandbox, "DELETE FROM document")
    wish = Wish(point=Point(), where="production", dbname="swapped", replace=True, stale=False)
    proposal = site.propose(wish)
    yes = Approved(proposal=proposal, run="r", triggered_by="admin", by=Person(id="vera", name="vera"), time=now())
    note = SwapNote(recall=lambda: noted[-1] if noted else None, remember=noted.append)
    first = site.carry_out(yes, note=note, watch=unwatched)
    assert first
    change(sandbox, "INSERT INTO document VALUES (1000, 'since')")
    assert site.carry_out(yes, note=note, watch=unwatched) is None
    with pytest.raises(ConfigError, match="not what was shown for approval"):
        site.carry_out(yes, note=replace(note, recall=lambda: None), watch=unwatched)
    with connect(sandbox, "swapped") as connection:
        assert connection.execute("SELECT count(*), max(i) FROM document").fetchone() == (501, 1000)
        names = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^swapped_'").fetchall()
    assert names == [(first.replaced,)]


def change(sandbox: Mapping[str, str], statement: str) -> None:
    with connect(sandbox, "swapped") as connection:
        connection.execute(statement)
