"""Taking apart what a daemon answers: strictly where something is built on it, leniently where it is only shown."""

import json
import textwrap
from typing import Any, TypeVar

T = TypeVar("T")


class Misunderstood(ValueError):
    """An answer that this kind of daemon does not give: most likely it is another one."""


def pick(answer: object, key: str, of: type[T]) -> T:
    """`answer[key]`, which must be there and of that very type. Raises Misunderstood."""
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, of) or (isinstance(value, bool) and of is not bool):
        raise Misunderstood(f"no {of.__name__} {key!r} in it")
    return value


def text_in(answer: object, *path: str) -> str:
    """The text at `path`, or "" if there is none: Go leaves empty fields out."""
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer if isinstance(answer, str) else ""


def names_in(answer: object, key: str) -> tuple[str, ...]:
    """The list of texts in `answer[key]`; Go writes an empty list as null. Raises Misunderstood."""
    value = answer.get(key, ()) if isinstance(answer, dict) else None
    return tuple(str(item) for item in value or ())


def lines(text: bytes) -> list[Any]:
    """The values of newline-delimited JSON. Raises Misunderstood."""
    try:
        return [json.loads(line) for line in text.split(b"\n") if line.strip()]
    except ValueError as error:
        raise Misunderstood("not lines of JSON") from error


def failure_text(body: bytes) -> str:
    """What a daemon says about its failure, in one short line: shown to people, never decided upon."""
    try:
        said = json.loads(body)
        text = str(said.get("Message") or said.get("message") or "")
    except (ValueError, AttributeError):
        text = body.decode(errors="replace")
    return one_line(text) or "no reason given"


def one_line(text: str) -> str:
    """What a daemon says, short enough to stand inside a sentence."""
    return textwrap.shorten(text, 300)
