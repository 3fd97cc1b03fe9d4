"""The DAG of restores over real servers, run by Airflow in this process, which has nobody to ask."""

from collections.abc import Mapping

import pytest

from in_airflow.dags import Keep, connect, dag_of, entries, handed_on, run, states
from pgkeep import records
from pgkeep.approval import Proposal


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
