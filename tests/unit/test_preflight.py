"""How a preflight ends: with the gravest kind of what it found."""

import pytest

from pgkeep.errors import ConfigError, Corrupted, PgkeepError, Unavailable
from pgkeep.preflight import Finding, require_all

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
