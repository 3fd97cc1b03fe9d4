"""What counts as different between a source and its restored copy."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.inventory import Inventory, LargeObjects, SequenceState, Table, differences
from pgkeep.testing import sample_inventory


@given(st.from_type(Inventory))
def test_nothing_differs_from_itself(inventory: Inventory) -> None:
    assert differences(source=inventory, restored=inventory) == ()


def test_each_difference_is_one_line_that_names_it() -> None:
    source = replace(
        sample_inventory(),
        tables=(
            Table(schema="public", name="a", rows=2, fingerprint="5"),
            Table(schema="public", name="b", rows=1, fingerprint="1"),
            Table(schema="public", name="c", rows=1, fingerprint="1"),
        ),
        large_objects=LargeObjects(count=2, fingerprint="7"),
    )
    restored = replace(
        source,
        tables=(source.tables[0], Table(schema="public", name="b", rows=1, fingerprint="2")),
        sequences=(SequenceState(schema="public", name="s", last_value=1, is_called=False),),
        large_objects=LargeObjects(count=2, fingerprint="8"),
    )
    assert differences(source=source, restored=restored) == (
        "table public.b: source 1 rows, fingerprint 1; restored 1 rows, fingerprint 2",
        "table public.c: source 1 rows, fingerprint 1; restored has none",
        "sequence public.document_id_seq: source 3 (used); restored has none",
        "sequence public.s: source has none; restored 1 (not used yet)",
        "large objects: their contents differ",
    )


def test_large_objects_are_only_counted_where_a_side_may_not_read_them() -> None:
    source = replace(sample_inventory(), large_objects=LargeObjects(count=2, fingerprint="7"))
    restored = replace(source, large_objects=LargeObjects(count=2, fingerprint=None))
    assert differences(source=source, restored=restored) == ()
    assert differences(
        source=source, restored=replace(source, large_objects=LargeObjects(count=1, fingerprint=None))
    ) == ("large objects: source 2; restored 1",)


@given(st.from_type(Inventory), st.from_type(Inventory))
def test_totals_tell_inventories_apart(one: Inventory, other: Inventory) -> None:
    same = (one.tables, one.sequences, one.large_objects) == (other.tables, other.sequences, other.large_objects)
    assert (one.totals.fingerprint == other.totals.fingerprint) == same
