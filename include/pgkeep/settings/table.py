"""A TOML table as a record: each field says what it means and how its value is read, in one place."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")


def setting(meaning: str, read: Callable[[object], object], *, default: Any = dataclasses.MISSING) -> Any:
    """A field of a settings record. `read` makes its value of the TOML one, or raises ValueError: what to write."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "read": read})


def settings_of(cls: type) -> Mapping[str, dataclasses.Field[Any]]:
    """The fields of a settings record that an operator may write, by key."""
    return {f.name: f for f in dataclasses.fields(cls) if "read" in f.metadata}


def table(
    cls: type[T],
    values: Mapping[str, Any],
    *,
    where: str,
    problems: list[str],
    given: Mapping[str, Any] | None = None,
) -> T | None:
    """The record in `values`, or None with what is wrong added to `problems`. `given`: fields that are no settings."""
    known, before = settings_of(cls), len(problems)
    problems += [_unknown(key, known, where) for key in values if key not in known]
    fields = {key: _read(f, values[key], f"{where}.{key}", problems) for key, f in known.items() if key in values}
    for key, f in known.items():
        if key not in values and f.default is dataclasses.MISSING:
            problems.append(f"{where}.{key}: is missing; write the {f.metadata['meaning']}")
    return cast(Callable[..., T], cls)(**fields, **(given or {})) if len(problems) == before else None


def _unknown(key: str, known: Mapping[str, object], where: str) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"{where}.{key}: no such key; " + (f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}")


def _read(f: dataclasses.Field[Any], value: object, where: str, problems: list[str]) -> object:
    try:
        return f.metadata["read"](value)
    except ValueError as error:
        problems.append(f"{where}: is {_shown(value)}; {error}")
        return None


def _shown(value: object) -> str:
    """The value for a message, without the password that may have been written there by mistake."""
    return re.sub(r"(?<=://)([^/@\s]*):[^/@\s]*@", r"\1:***@", repr(value))
