"""The DAGs of drills and of retention over real servers, run by Airflow in this process."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from fix_postgres import no_database, server
from in_airflow.dags import Keep, configure, connect, entries, handed_on, run, states
from pgkeep import records
from pgkeep import restore as restore_story
from pgkeep.airflow.hooks import SiteHook
from pgkeep.drill import Drill
from pgkeep.errors import Corrupted
from pgkeep.meter import unwatched
from pgkeep.model import Entry, Origin, Part, Stored, Verdict
from pgkeep.plan import Point, plan
from pgkeep.ports import Place
from pgkeep.restore import restore
from pgkeep.sandbox import peer_servers
from pgkeep.site import Site

BY_TEST = Origin(host="h", by="test")
LITTLE = """\
scratch = "pgkeep_scratch"
keep_last = 1
keep_hourly = 0
keep_daily = 0
keep_weekly = 0
keep_monthly = 0
keep_yearly = 0
min_full = 1
"""


def change(sandbox: Mapping[str, str], name: str, *statements: str) -> None:
    with connect(sandbox, name) as connection:
        for statement in statements:
            connection.execute(statement)


def objects(*found: Entry) -> set[str]:
    return {part.cid for entry in found for part in entry.backup.parts}


def scratch_databases(sandbox: Mapping[str, str]) -> list[object]:
    source = {"PGKEEP_SOURCE_URL": sandbox["PGKEEP_SCRATCH_URL"]}
    with connect(source, "postgres") as connection:
        return [name for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname ~ '_pgkeep_'")]


def filled(site: Site, sandbox: Mapping[str, str]) -> None:
    """Two full backups, and changes of rows and of definitions between them."""
    name = site.database.name
    assert set(states(run(site, "changes")).values()) == {"success"}
    change(sandbox, name, "INSERT INTO document SELECT i, 'x' FROM generate_series(1001, 1100) i")
    change(sandbox, name, "ALTER TABLE document ADD COLUMN more text DEFAULT 'm'", "UPDATE document SET more = text")
    assert set(states(run(site, "changes")).values()) == {"success"}
    change(sandbox, name, "CREATE INDEX ON document (more)", "DELETE FROM document WHERE i % 7 = 0")
    assert set(states(run(site, "full")).values()) == {"success"}
    assert [entry.backup.kind for entry in entries(site)] == ["gap", "full", "changes", "changes", "full"]


def test_what_is_proven_stays_and_the_rest_goes(
    keep: Keep, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    site = keep("proven", changes=True)
    configure(sandbox, "proven", LITTLE)
    filled(site, sandbox)

    unproven = run(site, "retire")
    assert states(unproven) == {"retire": "success"}
    assert len(entries(site)) == 5
    assert "only 0 of 1 full backups are proven" in caplog.text

    drilled = run(site, "drill")
    assert states(drilled) == {"drill": "success"}
    verdict = records.decode(Verdict, handed_on(drilled, "drill"))
    journal = site.journals.head().journal
    assert journal.verdicts == (verdict,)
    full = entries(site)[-1]
    assert [(way.base, way.last, way.failure) for way in verdict.ways] == [
        (full.sequence, full.sequence, None),
        (entries(site)[1].sequence, entries(site)[3].sequence, None),
    ]
    assert verdict.previous == entries(site)[1].sequence
    assert all(way.seconds > 0 for way in verdict.ways)
    assert verdict.origin.by == f"airflow:{drilled.dag_id}/{drilled.run_id}/1"
    assert scratch_databases(sandbox) == []

    before = entries(site)
    assert states(run(site, "retire")) == {"retire": "success"}
    assert [entry.backup.kind for entry in entries(site)] == ["changes", "full"]
    gone = objects(*before) - objects(*entries(site))
    listing = site.vault.listing("pgkeep/proven/")
    assert not gone & {cid for cids in listing.names.values() for cid in cids}
    assert set(site.journals.head().journal.leaving) == gone
    version = site.journals.head().journal.sequence
    assert states(run(site, "retire")) == {"retire": "success"}
    assert site.journals.head().journal.sequence == version, "nothing more is to do"
    assert "no rule keeps it" in caplog.text

    change(sandbox, "proven", "INSERT INTO document VALUES (5000, 'after')")
    hourly(site)
    with no_database(server(sandbox, "scratch")) as place:
        restore(plan(site.journals.head().journal, Point()), site.sealer, site.vault, place.target())
        assert place.ask("SELECT text FROM document WHERE i = 5000") == [("after",)]


def hourly(site: Site) -> None:
    """Another hour, by hand."""
    again = site.run(origin=BY_TEST, patience=60.0, watch=unwatched)
    done = again.hourly()
    assert isinstance(done, Stored)
    assert again.finish(done).backup.kind == "changes"


def test_one_damaged_copy_is_found_by_the_drill_that_reads_it(
    keep: Keep, sandbox: Mapping[str, str], sandbox_home: Path
) -> None:
    site = keep("damaged")
    configure(sandbox, "damaged", 'scratch = "pgkeep_scratch"\n')
    assert set(states(run(site, "full")).values()) == {"success"}
    (entry,) = entries(site)
    flip(sandbox_home, 2, restore_story.part_of(entry, "dump"), site)
    own, other, third = (place for place in site.vault.places() if place.local)
    assert drilled(own).proven
    with pytest.raises(Corrupted, match="no whole copy of dump"):
        drilled(other)
    assert not site.journals.head().journal.is_proven(entry)
    assert drilled(third).proven
    verdicts = site.journals.head().journal.verdicts
    assert [(verdict.peer, verdict.failure is None) for verdict in verdicts] == [
        (own.peer, True),
        (other.peer, False),
        (third.peer, True),
    ]
    assert scratch_databases(sandbox) == []


def drilled(place: Place) -> Verdict:
    """A drill that reads from that peer."""
    site = SiteHook().site("damaged")
    assert site.scratch
    return Drill(
        source=site.source,
        sealer=site.sealer,
        vault=site.vault,
        target=site.scratch(),
        journals=site.journals,
        origin=BY_TEST,
        choose=lambda _: place,
    ).run()


def flip(home: Path, index: int, part: Part, site: Site) -> None:
    """One bit of the object's block in that peer's store."""
    content = b"".join(site.vault.read(part.cid, at=site.vault.own()))
    blocks = (peer_servers.homes(home)[index - 1].ipfs / "blocks").glob("*/*.data")
    (file,) = [path for path in blocks if path.stat().st_size == len(content) and path.read_bytes() == content]
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
