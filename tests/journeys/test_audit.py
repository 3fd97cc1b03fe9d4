"""`pgkeep audit` on a real node: what rots is repaired, what is lost is named, what a crash leaves is swept."""

import json

from fix_node import Node, wait_for
from pgkeep.records import KIND


def test_an_operator_audits(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    cid = node.dump_of(shop)
    assert "all is well" in node.pgkeep("audit", shop, "--share", "1").stdout

    node.flip(cid, peer=2)
    damaged = node.pgkeep("audit", shop, "--share", "1", "--dry-run", code=6)
    assert f"WRONG dump of entry 1 ({cid}): its copy at" in damaged.stdout
    assert "Next:" in damaged.stderr
    mended = node.pgkeep("audit", shop, "--share", "1")
    assert f"REPAIRED dump of entry 1 ({cid})" in mended.stdout
    report = json.loads(node.pgkeep("audit", shop, "--share", "1", "--json").stdout)
    assert report[KIND] == "Report"
    assert report["repairs"] == []
    assert all(peer["read"] == peer["objects"] for peer in report["peers"])
    assert report["since"]


def test_what_is_lost_everywhere_leads_nowhere_and_is_let_go_of(node: Node, kept: str) -> None:
    node.pgkeep("backup", kept, "--full")
    first, whole = node.entries(kept)[-1]["sequence"], node.dump_of(kept)
    node.pgkeep("backup", kept, "--full")
    lost, cid = node.entries(kept)[-1]["sequence"], node.dump_of(kept)
    for peer in (1, 2, 3):
        node.blocks(cid, peer=peer)[-1].unlink()
    failed = node.pgkeep("audit", kept, "--share", "1", code=6)
    assert f"dump of entry {lost} ({cid})" in failed.stderr
    assert "no whole copy is left" in failed.stderr
    assert [entry["sequence"] for entry in node.entries(kept) if entry["lost"]] == [lost]
    assert "LOST" in node.pgkeep("list", kept).stdout
    into = ("--into", node.target(kept))
    around = node.pgkeep("restore", kept, *into, "--dry-run")
    assert f"restore entry {first}:" in around.stdout
    assert f"no whole copy of entry {lost}: the way back goes around it" in around.stderr

    for peer in (1, 2, 3):
        node.blocks(whole, peer=peer)[-1].unlink()
    node.pgkeep("audit", kept, "--share", "1", code=6)
    node.psql("CREATE TABLE since (n int PRIMARY KEY); INSERT INTO since VALUES (1)", dbname=kept)
    node.pgkeep("backup", kept)
    assert node.entries(kept)[-1]["backup"]["kind"] == "full", "nothing whole leads on"
    assert f"entry {first}" in node.pgkeep("check", kept, code=6).stdout
    node.pgkeep("retire", kept, "--lost")
    node.pgkeep("check", kept)
    assert "all is well" in node.pgkeep("audit", kept, "--share", "1").stdout
    node.pgkeep("restore", kept, *into)
    assert node.measure(kept, server="SCRATCH") == node.measure(kept)


def test_a_peer_that_is_away_is_named(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    node.kill("cluster-3")
    node.kill("kubo-3")
    failed = node.pgkeep("audit", shop, "--wait", "1", code=5)
    assert "has 2 of 3 copies" in failed.stderr
    node.heal()
    wait_for(lambda: node.entries(shop)[-1]["copies_now"] == 3)
    assert "all is well" in node.pgkeep("audit", shop, "--share", "1").stdout


def test_the_litter_of_a_killed_run_waits_for_its_grace(node: Node, shop: str) -> None:
    node.pgkeep("backup", shop, "--full")
    node.rpc("add", data=b"litter", pin="true", pin_name=f"pgkeep/{shop}/full/2/dump", cid_version=1)
    for _ in range(2):
        said = node.pgkeep("audit", shop).stdout
        assert f"litter, waits: pgkeep/{shop}/full/2/dump" in said
        node.pgkeep("backup", shop, "--full")
    assert f"pgkeep/{shop}/full/2/dump" in node.pins()
