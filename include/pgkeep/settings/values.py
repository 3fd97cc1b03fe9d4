"""How single values of `pgkeep.toml` are read. Each raises ValueError with what to write instead."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pendulum

from pgkeep.model import KeyFingerprint

CRON_FIELD = r"[\d*/,A-Za-z#L?-]+"
CAPTURES = ("logical", "csvlog", "none")
"""The ways in which changes are kept; `none`: they are not."""
CRON = re.compile(rf"@(hourly|daily|weekly|monthly)|{CRON_FIELD}( +{CRON_FIELD}){{4}}")


def untouched(value: object) -> object:
    """A value that was read already."""
    return value


def text(value: object) -> str:
    """Any text but the empty one."""
    if not isinstance(value, str) or not value:
        raise ValueError("write a text")
    return value


def name(value: object) -> str:
    """An Airflow connection id: it has to fit into the name of an environment variable."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("write an Airflow connection id of letters, digits and _")
    return value


def server(value: object) -> str:
    """An Airflow connection id, or a libpq URL without a password and a database."""
    if not isinstance(value, str) or "://" not in value:
        return name(value)
    url = urlsplit(value)
    if url.scheme not in ("postgresql", "postgres") or url.password or "password=" in url.query:
        raise ValueError("write postgresql://user@host:port without a password: this file holds no secrets")
    return value


def count(value: object) -> int:
    """A whole number from 1 up."""
    if type(value) is not int or value < 1:
        raise ValueError("write a whole number from 1 up")
    return value


def number(value: object) -> int:
    """A whole number from 0 up."""
    if type(value) is not int or value < 0:
        raise ValueError("write a whole number from 0 up")
    return value


def flag(value: object) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise ValueError("write true or false, without quotes")
    return value


def users(value: object) -> tuple[str, ...]:
    """A list of user ids."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError('write a list of user ids as Airflow has them, for example ["vera"]')
    return tuple(value)


def capture(value: object) -> str:
    """A way in which changes are kept."""
    if value not in CAPTURES:
        raise ValueError(f"write {', '.join(map(json.dumps, CAPTURES[:-1]))} or {json.dumps(CAPTURES[-1])}")
    return str(value)


def moment(value: object) -> datetime:
    """A moment with its time zone."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("write a moment with its time zone, without quotes: 2026-01-31T14:05:00Z")
    return value


def hours(value: object) -> float:
    """A positive number of hours."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10_000:
        raise ValueError("write a number of hours above 0")
    return float(value)


def days(value: object) -> float:
    """A positive number of days."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10_000:
        raise ValueError("write a number of days above 0")
    return float(value)


def share(value: object) -> float:
    """A part of a whole."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("write a number above 0, up to 1: 0.1 is a tenth")
    return float(value)


def link(value: object) -> str:
    """An address to click on."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s@]+|mailto:[^\s@]+@[^\s@]+", value):
        raise ValueError("write an address as https://wiki.example/backups or mailto:operators@example.org")
    return value


def path(value: object) -> Path:
    """An absolute path: a relative one would mean something else in every process."""
    if not isinstance(value, str) or not Path(value).expanduser().is_absolute():
        raise ValueError("write an absolute path")
    return Path(value).expanduser()


def fingerprint(value: object) -> KeyFingerprint:
    """An OpenPGP fingerprint as gpg shows it, spaces allowed. Key ids are refused: they can be forged."""
    digits = value.replace(" ", "").upper() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", digits):
        raise ValueError("write the whole fingerprint, 40 hexadecimal digits (gpg --list-keys --with-fingerprint)")
    return KeyFingerprint(digits)


def fingerprints(value: object) -> tuple[KeyFingerprint, ...]:
    """A list of fingerprints."""
    if not isinstance(value, list):
        raise ValueError('write a list, ["..."]')
    return tuple(fingerprint(item) for item in value)


def cron(value: object) -> str:
    """A cron expression of five fields, or @hourly, @daily, @weekly, @monthly."""
    if not isinstance(value, str) or not CRON.fullmatch(value.strip()):
        raise ValueError('write five cron fields, for example "0 2 * * *", or "@daily"')
    return value.strip()


def timezone(value: object) -> str:
    """A time zone by its IANA name."""
    if not isinstance(value, str) or value not in pendulum.timezones():
        raise ValueError('write the name of a time zone, for example "Europe/Brussels"')
    return value


def address(value: object) -> str:
    """One mail address, with or without a name before it."""
    found = parseaddr(value)[1] if isinstance(value, str) else ""
    if not re.fullmatch(r"[^@\s,;]+@[^@\s,;]+", found) or re.search(r"[\r\n]", str(value)):
        raise ValueError('write a mail address, for example "operators@example.org"')
    return str(value)


def addresses(value: object) -> tuple[str, ...]:
    """A list of mail addresses."""
    if not isinstance(value, list):
        raise ValueError('write a list, ["operators@example.org"]')
    return tuple(address(item) for item in value)


def dotted(value: object) -> str:
    """The dotted name of a class."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", value):
        raise ValueError('write the dotted name of a class, as "package.module.Class"')
    return value


def arguments(value: object) -> Mapping[str, Any]:
    """Keyword arguments, as a TOML table."""
    if not isinstance(value, Mapping) or not all(key.isidentifier() for key in value):
        raise ValueError("write a table of keyword arguments, { name = .. }")
    return value


def tables(value: object) -> tuple[str, ...]:
    """A list of `schema.table`."""
    if not isinstance(value, list) or not all(isinstance(item, str) and "." in item for item in value):
        raise ValueError('write a list of schema.table, for example ["public.session"]')
    return tuple(value)
