"""How a letter reaches people: by mail, and over any of Airflow's notifiers. Imported when there is one to send."""

import html
import logging
import tempfile
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow.providers.smtp.hooks.smtp import SmtpHook

from pgkeep.airflow.incidents import Letter
from pgkeep.errors import ConfigError
from pgkeep.settings import Alerts, Notifier

MAIL = "mail"

log = logging.getLogger(__name__)


def send(letter: Letter, alerts: Alerts, *, but: Collection[str]) -> frozenset[str]:
    """Tries each way that is left, but those; gives the ones that have taken the letter.

    A way that the settings do not have any more counts as one of them.
    """
    return frozenset(way for way in letter.ways if way not in but and _taken(letter, way, alerts))


def _taken(letter: Letter, way: str, alerts: Alerts) -> bool:
    try:
        if way == MAIL and alerts.mail:
            mail(alerts, subject=letter.subject, text=letter.text)
        elif way in alerts.ways:
            _notify(alerts.notifiers[alerts.ways.index(way) - len(alerts.ways)], letter)
    except Exception as error:
        # A notifier's error is not shown: the address of a webhook is often its password.
        why = f"{type(error).__name__}: {error}" if way == MAIL else type(error).__name__
        log.warning("%r is not told over %s (%s): the next occasion tries again", letter.subject, way, why)
        return False
    return True


def mail(alerts: Alerts, *, subject: str, text: str, attachments: Mapping[str, bytes] | None = None) -> None:
    """Sends a mail to all operators. `attachments`: by file name. Raises what the mail server's client raises."""
    with tempfile.TemporaryDirectory(prefix="pgkeep-mail-") as directory, SmtpHook(alerts.smtp) as server:
        files = [Path(directory) / name for name in attachments or {}]
        for file in files:
            file.write_bytes((attachments or {})[file.name])
        server.send_email_smtp(
            to=list(alerts.mail),
            from_email=alerts.sender,
            subject=subject,
            html_content=f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>',
            files=[str(file) for file in files],
        )


def require_notifiers(alerts: Alerts) -> None:
    """Raises ConfigError unless each of them can be made: before there is something to tell."""
    for notifier in alerts.notifiers:
        _made(notifier)


def _notify(notifier: Notifier, letter: Letter) -> None:
    """As Airflow calls a notifier, but for what it does with an error: it logs its text."""
    made = _made(notifier)
    context = {name: getattr(made, name) for name in made.template_fields}
    context |= {"alert": {"subject": letter.subject, "text": letter.text}}
    made.render_template_fields(context)
    made.notify(context)


def _made(notifier: Notifier) -> Any:
    module, _, name = notifier.class_name.rpartition(".")
    try:
        return getattr(import_module(module), name)(**(notifier.arguments or {}))
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"the notifier {notifier.class_name} cannot be made: {error}",
            next_step="install its provider, or correct [[alerts.notifiers]] in pgkeep.toml",
        ) from error
