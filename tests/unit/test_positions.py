"""What a link's position leaves out on its way to the journal, and gets back there."""

from dataclasses import replace

import pytest

from pgkeep.model import Position
from pgkeep.positions import brief, whole
from pgkeep.testing.capture import sample_position

KNOWN = replace(sample_position("slot"), definitions={"1259/16385": "0a1b2c3d"})


def test_what_was_left_out_comes_from_the_cut_before() -> None:
    assert whole(replace(sample_position("slot"), definitions=None), then=KNOWN) == KNOWN


def test_what_is_said_anew_counts() -> None:
    then = replace(KNOWN, definitions={})
    assert whole(KNOWN, then=then) == KNOWN
    assert whole(KNOWN, then=None) == KNOWN


def test_nothing_is_made_up() -> None:
    with pytest.raises(AssertionError):
        whole(replace(KNOWN, definitions=None), then=None)


@pytest.mark.parametrize("position", [KNOWN, None])
def test_brief_and_whole_again(position: Position | None) -> None:
    assert whole(brief(position), then=KNOWN) == position
