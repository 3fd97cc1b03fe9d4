"""Records survive the way through JSON, and no other record passes for them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep import records
from pgkeep.errors import Corrupted
from pgkeep.inventory import Inventory
from pgkeep.journal import Journal
from pgkeep.model import (
    Backup,
    Copy,
    Cut,
    Entry,
    Link,
    LogPosition,
    Part,
    Replicated,
    Sealed,
    SlotPosition,
    Stored,
    Verdict,
)

# Text as PostgreSQL and JSON can carry it: no surrogates.
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PIECES = (Cut, Part, Copy, SlotPosition, LogPosition, Link, Backup, Verdict, Inventory)
MADE_OF_THEM = (Stored, Sealed, Replicated, Entry, Journal)


st.register_type_strategy(str, TEXT)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


@pytest.mark.parametrize("cls", [*PIECES, *MADE_OF_THEM])
def test_every_record_round_trips(cls: type[object]) -> None:
    @settings(max_examples=100 if cls in PIECES else 20)
    @given(st.from_type(cls))
    def round_trip(record: object) -> None:
        assert records.decode(cls, json.loads(json.dumps(records.encode(record)))) == record
        assert records.from_bytes(cls, records.to_bytes(record)) == record

    round_trip()


@given(st.from_type(Copy))
def test_the_same_record_always_gives_the_same_bytes(record: Copy) -> None:
    assert records.to_bytes(record) == records.to_bytes(records.decode(Copy, records.encode(record)))


COPY = {"record": "Copy", "peer": "p", "name": "alice", "read_back": True}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({**COPY, "record": "Cut"}, "is a Cut, not a Copy"),
        ([], "is a list, not a Copy"),
        (None, "is a NoneType, not a Copy"),
        ({key: COPY[key] for key in ("record", "peer", "name")}, "has other fields than a Copy: \\['read_back'\\]"),
        ({**COPY, "more": 1}, "has other fields than a Copy: \\['more'\\]"),
        ({**COPY, "name": 5}, "Copy.name is int, not str"),
        ({**COPY, "read_back": 1}, "Copy.read_back is int, not bool"),
    ],
)
def test_a_wrong_record_is_refused_by_name(data: object, why: str) -> None:
    with pytest.raises(Corrupted, match=why):
        records.decode(Copy, data)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[1]"])
def test_other_bytes_are_refused(text: bytes) -> None:
    with pytest.raises(Corrupted):
        records.from_bytes(Copy, text)


def test_deeply_nested_mistakes_are_named_by_their_place() -> None:
    @given(st.from_type(Stored).filter(lambda stored: bool(stored.backup.parts)))
    def refuse(stored: Stored) -> None:
        data = records.encode(stored)
        data["backup"]["parts"][0]["size"] = "many"
        with pytest.raises(Corrupted, match=r"Stored\.backup\.parts\[0\]\.size is str, not int"):
            records.decode(Stored, data)

    refuse()
