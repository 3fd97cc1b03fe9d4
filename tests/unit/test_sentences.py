"""What the command line says: what is so now, and what to do next."""

from dataclasses import replace

import pytest

from pgkeep import sentences, settings
from pgkeep.inventory import Inventory, LargeObjects
from pgkeep.plan import RecoveryPlan
from pgkeep.restore import Restored
from pgkeep.testing import sample_inventory
from unit.test_plan import entry


@pytest.mark.parametrize(("name", "section"), [("shop", "[databases.shop]"), ('a "b"', '[databases."a \\"b\\""]')])
def test_after_a_removal_the_section_that_stays_is_named(name: str, section: str) -> None:
    stands = f"{settings.section(name)} in pgkeep.toml"
    said = sentences.removed(name, "db:5432/shop", stands=stands, capture="logical")
    assert f"{section} in pgkeep.toml was left alone" in said
    assert "Next: delete that section" in said
    assert "puts everything back" in said
    others = [sentences.removed(name, "db:5432/shop", stands=stands, capture=way) for way in ("csvlog", "none")]
    assert not any("puts everything back" in other for other in others)


EMPTY = replace(sample_inventory(), tables=(), sequences=(), large_objects=LargeObjects(count=0, fingerprint=None))


@pytest.mark.parametrize(
    ("expected", "tables", "says"),
    [
        (sample_inventory(), 1, "and equal to its source in 3 rows of 1 table, 1 sequence and 0 large objects ("),
        (sample_inventory(), 3, "3 rows of 1 table (2 tables changed since last measured: not compared), 1 sequence"),
        (replace(EMPTY, sequences=sample_inventory().sequences), 2, "2 tables came back, of which none was measured"),
        (replace(EMPTY, sequences=sample_inventory().sequences), 2, "whole; equal to its source in 1 sequence and"),
        (EMPTY, 0, "NO TABLE WAS COMPARED: it has none (restored in"),
    ],
)
def test_what_was_not_compared_is_not_called_equal(expected: Inventory, tables: int, says: str) -> None:
    restored = Restored(
        plan=RecoveryPlan(base=entry(1, "full", 1), steps=()),
        expected=expected,
        tables=tables,
        replaced=None,
        restore_seconds=1.0,
        verify_seconds=1.0,
    )
    said = sentences.restored_line(restored, "db:5432/shop")
    assert says in said
    assert ("NO TABLE WAS COMPARED" in said) == (expected.tables == ())
