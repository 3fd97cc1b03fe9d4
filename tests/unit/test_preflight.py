"""What a preflight finds, and how it ends: with the gravest kind of that."""

from dataclasses import replace

import pytest

from fix_memory_node import MemoryNode
from in_airflow.world import World
from pgkeep.adapters.postgres import PostgresSource, Server
from pgkeep.errors import ConfigError, Corrupted, PgkeepError, Unavailable
from pgkeep.preflight import Finding, database, require_all

FINE = Finding(about="keys", what="can be used")
WARNING = Finding(about="keys", what="expire soon", next_step="extend them")


def failed(kind: type[PgkeepError]) -> Finding:
    return Finding(about="journal", what="broken", next_step="look", fatal=True, kind=kind)


def test_warnings_do_not_fail() -> None:
    require_all([FINE, WARNING])
    assert str(WARNING) == "warning keys: expire soon. Next: extend them"


@pytest.mark.parametrize(
    ("kinds", "gravest"),
    [
        ([ConfigError], ConfigError),
        ([ConfigError, Unavailable], Unavailable),
        ([Corrupted, ConfigError, Unavailable], Corrupted),
    ],
)
def test_the_gravest_decides(kinds: list[type[PgkeepError]], gravest: type[PgkeepError]) -> None:
    with pytest.raises(gravest, match=f"{len(kinds)} checks failed") as caught:
        require_all([FINE, *map(failed, kinds)])
    assert type(caught.value) is gravest


def test_room_is_wanted_for_full_backups_though_the_last_one_holds_changes() -> None:
    node, world = MemoryNode(), World()
    largest = node.full().backup.size
    node.source.commit(10)
    assert 2 * node.hourly().backup.size < largest
    world.vault, world.journals = node.vault, node.journals
    away = PostgresSource(server=Server(host="127.0.0.1", port=1), dbname="shop")
    site = replace(world.site("shop"), source=away)
    for room, warned in ((2 * largest, []), (2 * largest - 1, ["bob"])):
        node.vault.peers[1].room = room
        found = [finding for finding in database(site) if "the last full backup took" in finding.what]
        assert [finding.what.split()[0] for finding in found] == warned
