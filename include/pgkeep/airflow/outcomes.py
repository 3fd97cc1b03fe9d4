"""How pgkeep's errors become outcomes of an Airflow task: the one place that decides what is tried again.

transient (Unavailable and its kinds, NotReplicated)         raised as they are: Airflow tries again
permanent (ConfigError, Corrupted, NotRestorable, Overdue)  AirflowFailException: the task fails now
anything else                                               a bug of ours: raised as it is
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pgkeep.airflow import last_words
from pgkeep.errors import PgkeepError

log = logging.getLogger(__name__)


@contextmanager
def airflow_outcome(*, topics: Sequence[str] = ("failed",)) -> Iterator[None]:
    """Runs a step. What went wrong, and what to do next, is in the log before any traceback, and kept for the alerts.

    `topics`: what it is about, for those who were told of something else only.
    """
    try:
        yield
    except PgkeepError as error:
        last_words.keep(str(error), topics)
        if not error.transient:
            raise permanent(error) from error
        log.warning("%s (%s: tried again as long as this task has retries)", error, type(error).__name__)
        raise
    except AirflowSkipException:
        raise
    except AirflowFailException as error:
        last_words.keep(str(error), topics)
        raise
    except Exception as error:
        # Its text may hold anything, a row of the database too: that stays in the log.
        last_words.keep(f"{type(error).__name__}, which pgkeep did not expect. Next: read the task's log", topics)
        raise


def permanent(error: PgkeepError) -> AirflowFailException:
    """What to raise for an error that no further try will mend; it is logged here, for the person who has to act."""
    log.error("%s (%s: not tried again)", error, type(error).__name__)
    return AirflowFailException(str(error))
