"""The DAG of the audit over real servers, run by Airflow in this process."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from fix_node import Node
from in_airflow.dags import Keep, configure, entries, handed_on, run, states
from pgkeep import records
from pgkeep.audit import Report


def test_damage_is_found_repaired_and_said_by_airflow(
    keep: Keep, sandbox: Mapping[str, str], sandbox_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("audited")
    run(site, "full")
    (entry,) = entries(site)
    cid = entry.backup.parts[0].cid
    node = Node(home=sandbox_home, environ=sandbox)
    node.flip(cid, peer=2)
    repaired = list[str]()
    for _ in range(10):  # each reads a tenth
        ended = run(site, "audit")
        assert states(ended) == {"audit": "success"}
        repaired += [repair.cid for repair in records.decode(Report, handed_on(ended, "audit")).repairs]
    assert repaired == [cid]
    assert f"REPAIRED dump of entry 1 ({cid})" in caplog.text

    configure(sandbox, "audited", "audit_share = 1.0\n")
    node.blocks(cid, peer=3)[-1].unlink()
    node.replace_disk(2)
    ended = run(site, "audit")
    assert states(ended) == {"audit": "success"}
    report = records.decode(Report, handed_on(ended, "audit"))
    assert (cid, "pgkeep_cluster_3") in {(repair.cid, repair.peer) for repair in report.repairs}
    assert [peer.read for peer in report.peers] == [report.objects] * 3, "also what the new disk has to hold"
