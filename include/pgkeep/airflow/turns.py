"""One process of this host after the other."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def alone(what: str, *, wait: bool = True) -> Iterator[bool]:
    """Whether no other process of this host is at it; those that do not `wait` leave it to that one.

    Where that cannot be known, as if it were so.
    """
    home = Path(os.environ.get("AIRFLOW_HOME") or Path.home() / "airflow")
    try:
        lock = os.open(home / f"pgkeep-{what}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        log.warning("what two do here at once (%s) may be done twice, or be lost: %s", what, error)
        yield True
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
