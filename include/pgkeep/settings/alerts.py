"""The section [alerts]: who is told when something is wrong, and over which ways."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgkeep.settings import values
from pgkeep.settings.table import setting, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """One of Airflow's notifiers, by the name of its class. Its secrets are in the connection that it names."""

    class_name: str = setting("dotted name of an Airflow notifier's class", values.dotted)
    arguments: Mapping[str, Any] | None = setting(
        "its keyword arguments; `{{ alert.subject }}` and `{{ alert.text }}` in those that are templates say "
        "what there is to say",
        values.arguments,
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Whom to tell. Nobody, where the section is missing: then a failure is a line in a log."""

    mail: tuple[str, ...] = setting("mail addresses of the operators", values.addresses, default=())
    sender: str | None = setting(
        "mail address it comes from; without one, the connection's `from_email`", values.address, default=None
    )
    smtp: str = setting("connection of the mail server", values.name, default="smtp_default")
    notifiers: tuple[Notifier, ...] = setting("further ways", values.untouched, default=())

    @property
    def ways(self) -> tuple[str, ...]:
        """What to call each of the ways over which people are told."""
        mail = ("mail",) if self.mail else ()
        return (*mail, *(f"{i}: {notifier.class_name}" for i, notifier in enumerate(self.notifiers, start=1)))


def alerts(own: Mapping[str, Any], problems: list[str]) -> Alerts | None:
    """The section [alerts], or None with what is wrong added to `problems`."""
    listed = own.get("notifiers", [])
    if not (isinstance(listed, list) and all(isinstance(notifier, Mapping) for notifier in listed)):
        problems.append("alerts.notifiers: is not a list of sections; write [[alerts.notifiers]] once for each")
        return None
    where = "alerts.notifiers[{}]"
    notifiers = [table(Notifier, one, where=where.format(i), problems=problems) for i, one in enumerate(listed)]
    return table(Alerts, {**own, "notifiers": tuple(filter(None, notifiers))}, where="alerts", problems=problems)
