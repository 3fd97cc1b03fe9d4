"""Which error is tried again, and what its reader sees first."""

import logging
from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import AirflowFailException

from pgkeep.airflow.outcomes import airflow_outcome
from pgkeep.errors import (
    ConfigError,
    Corrupted,
    Disturbed,
    JournalMovedOn,
    LogUnavailable,
    NotReplicated,
    NotRestorable,
    Overdue,
    PgkeepError,
    Unavailable,
)

FAILS_NOW = {
    ConfigError: True,
    Unavailable: False,
    Disturbed: False,
    JournalMovedOn: False,
    LogUnavailable: False,
    NotReplicated: False,
    Corrupted: True,
    NotRestorable: True,
    Overdue: True,
}


def every_class(root: type[PgkeepError]) -> Iterator[type[PgkeepError]]:
    for cls in root.__subclasses__():
        yield cls
        yield from every_class(cls)


def example(cls: type[PgkeepError]) -> PgkeepError:
    if cls is NotReplicated:
        return NotReplicated("too few", next_step="wait", have=1, want=3, holders={"bob": "cluster_error"})
    return cls("something happened", next_step="do something")


def test_every_error_has_a_verdict() -> None:
    assert set(every_class(PgkeepError)) == set(FAILS_NOW)


@pytest.mark.parametrize("cls", FAILS_NOW, ids=lambda cls: cls.__name__)
def test_the_verdict(cls: type[PgkeepError], caplog: pytest.LogCaptureFixture) -> None:
    error = example(cls)
    with caplog.at_level(logging.INFO), pytest.raises(Exception) as caught, airflow_outcome():
        raise error
    assert isinstance(caught.value, AirflowFailException) == FAILS_NOW[cls]
    assert str(caught.value) == str(error)
    assert caplog.messages[0].startswith(str(error))
    assert cls.__name__ in caplog.messages[0]


def test_a_bug_is_not_translated() -> None:
    with pytest.raises(KeyError), airflow_outcome():
        raise KeyError("bug")


def test_nothing_happens_on_a_good_day(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), airflow_outcome():
        pass
    assert not caplog.messages
