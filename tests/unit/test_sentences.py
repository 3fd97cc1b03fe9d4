"""What the command line says: what is so now, and what to do next."""

import pytest

from pgkeep import sentences, settings


@pytest.mark.parametrize(("name", "section"), [("shop", "[databases.shop]"), ('a "b"', '[databases."a \\"b\\""]')])
def test_after_a_removal_the_section_that_stays_is_named(name: str, section: str) -> None:
    said = sentences.removed(name, "db:5432/shop", stands=f"{settings.section(name)} in pgkeep.toml")
    assert f"{section} in pgkeep.toml was left alone" in said
    assert "Next: delete that section" in said
