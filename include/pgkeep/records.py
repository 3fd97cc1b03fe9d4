"""Records as JSON, and back: strict, with a kind tag, so that the wrong record is refused wherever it arrives.

A record is a frozen dataclass of strings, numbers, booleans, records, `X | None`, `tuple[X, ...]` and
`Mapping[str, X]`, or one of several records. Its JSON is an object with the class's name under `"record"`.
"""

import dataclasses
import functools
import json
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pgkeep.errors import Corrupted

R = TypeVar("R")

KIND = "record"


def encode(record: object) -> dict[str, Any]:
    """The record as plain JSON values (what travels between tasks, and what a journal is made of)."""
    fields = {f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(cast(Any, record))}
    return {KIND: type(record).__name__, **fields}


def decode(cls: type[R], data: object) -> R:
    """The record of class `cls` in `data`. Raises Corrupted: another kind, a missing, unknown or ill-typed field."""
    return cast(R, _value(cls, data, cls.__name__))


def to_bytes(record: object) -> bytes:
    """One canonical text per record: the same record always gives the same bytes, so it can be hashed."""
    return json.dumps(encode(record), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def from_bytes(cls: type[R], text: bytes) -> R:
    """The inverse of `to_bytes`. Raises Corrupted."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _wrong(cls.__name__, f"is not JSON ({error})") from error
    return decode(cls, data)


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value):
        return encode(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _value(expected: Any, data: object, where: str) -> object:
    expected = getattr(expected, "__supertype__", expected)  # a NewType travels as what it is made of
    origin = get_origin(expected)
    if dataclasses.is_dataclass(expected):
        return _record(cast(type[object], expected), data, where)
    if origin is tuple:
        return _items(get_args(expected)[0], data, where)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(get_args(expected)[1], data, where)
    if origin in (Union, types.UnionType):
        return _one_of(expected, data, where)
    if origin is Literal:
        if data not in get_args(expected):
            raise _wrong(where, f"is {data!r}, not one of {', '.join(map(repr, get_args(expected)))}")
        return data
    if type(data) is not expected:  # exactly: True is no number, 1 no boolean
        raise _wrong(where, f"is {type(data).__name__}, not {expected.__name__}")
    return data


def _record(cls: type[object], data: object, where: str) -> object:
    if not isinstance(data, dict) or data.get(KIND) != cls.__name__:
        found = data.get(KIND) if isinstance(data, dict) else type(data).__name__
        raise _wrong(where, f"is a {found}, not a {cls.__name__}")
    hints = _hints(cast(Any, cls))
    names = hints.keys()
    if names != data.keys() - {KIND}:
        raise _wrong(where, f"has other fields than a {cls.__name__}: {sorted(names ^ (data.keys() - {KIND}))}")
    return cls(**{name: _value(hints[name], data[name], f"{where}.{name}") for name in names})


@functools.cache
def _hints(cls: Any) -> Mapping[str, Any]:
    """The type of each field."""
    found = get_type_hints(cls)
    return {f.name: found[f.name] for f in dataclasses.fields(cls)}


def _items(item: Any, data: object, where: str) -> tuple[object, ...]:
    if not isinstance(data, list):
        raise _wrong(where, "is not a list")
    return tuple(_value(item, value, f"{where}[{i}]") for i, value in enumerate(data))


def _mapping(item: Any, data: object, where: str) -> dict[str, object]:
    if not isinstance(data, dict):
        raise _wrong(where, "is not an object")
    return {str(key): _value(item, value, f"{where}[{key!r}]") for key, value in data.items()}


def _one_of(expected: Any, data: object, where: str) -> object:
    """Which record it is, its kind says."""
    if data is None and types.NoneType in get_args(expected):
        return None
    some = [arg for arg in get_args(expected) if arg is not types.NoneType]
    kind = data.get(KIND) if isinstance(data, dict) else None
    return _value(next((arg for arg in some if arg.__name__ == kind), some[0]), data, where)


def _wrong(where: str, why: str) -> Corrupted:
    return Corrupted(f"record {where} {why}", next_step="compare the pgkeep versions that wrote and read it")
