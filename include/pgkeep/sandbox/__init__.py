"""A sandbox: everything that pgkeep needs, as real servers on loopback, without a container engine.

The functions load what they need when they are called: importing this package costs next to nothing, and its modules
can be run by `python -m`.
"""

from collections.abc import Sequence
from pathlib import Path

from .place import Report, default_home
from .processes import ServerStatus

__all__ = ["Report", "ServerStatus", "default_home", "down", "environment", "remove", "status", "up"]


def up(home: Path, *, airflow: bool, isolated: bool, report: Report) -> None:
    """Starts what does not run yet, and returns when everything is ready; data and addresses stay as they were.

    `isolated`: in a world with nothing but loopback; a warning is reported, and the host's loopback used, where the
    system forbids that. May be repeated at any time and after any accident. Raises ConfigError or Unavailable.
    """
    from . import isolated_sandbox as story

    story.up(home.absolute(), airflow=airflow, isolated=isolated, report=report)


def status(home: Path) -> Sequence[ServerStatus]:
    """What runs, server by server; empty if there is no sandbox in `home`."""
    from . import isolated_sandbox as story

    return story.status(home.absolute())


def environment(home: Path) -> dict[str, str]:
    """The variables that `home/env` exports. Raises ConfigError if there is no sandbox in `home`."""
    from . import lifecycle

    return lifecycle.environment(home.absolute())


def down(home: Path, *, report: Report) -> None:
    """Ends every process of the sandbox and keeps its data. May be repeated."""
    from . import isolated_sandbox as story

    story.down(home.absolute(), report=report)


def remove(home: Path, *, report: Report) -> None:
    """Ends the sandbox and deletes all its data, also what lies outside `home` because another user owns it."""
    from . import isolated_sandbox as story

    story.remove(home.absolute(), report=report)
