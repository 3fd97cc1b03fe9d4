"""The file of a window's changes, as far as a restore must read it: where one transaction ends and the next begins.

    -- pgkeep changes 1 <nonce>                                     the first line
    -- pgkeep <nonce> transaction <xid> <commit LSN> <time>         before the changes of each transaction
    -- pgkeep <nonce> cut                                           before the sequences' values at the window's end
    -- pgkeep <nonce> tables                                        before the tables that are carried whole

All else is SQL for psql. A marker is a line of its own; the nonce (32 hexadecimal digits, drawn for each file) keeps
values and function bodies from looking like one.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pgkeep.errors import Corrupted, NotRestorable
from pgkeep.model import Instant

FIRST = re.compile(rb"-- pgkeep changes 1 ([0-9a-f]{32})\n")
LONGEST_MARKER = 200
EPOCH = 1 << 32
CLOSING = b";\nCOMMIT;\n"
"""Ends the statement and the transaction that are open at a marker within a group of merged transactions."""


@dataclass(frozen=True, slots=True)
class Section:
    """What stands between two markers. `words`: those of the marker before it, without the nonce."""

    words: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.words[0]


def header(nonce: str) -> bytes:
    """The first line."""
    return f"-- pgkeep changes 1 {nonce}\n".encode()


def marker(nonce: str, *words: object) -> bytes:
    """A line that begins a section."""
    return f"-- pgkeep {nonce} {' '.join(map(str, words))}\n".encode()


def until(changes: Iterable[bytes], *, time: Instant | None, xid: int | None) -> Iterator[bytes]:
    """The file up to a stop: before the first transaction committed at or after `time`, or behind transaction `xid`.

    Of the window's end only the sequences' values stay: they may only be too high. Raises Corrupted: not such a file;
    NotRestorable: the transaction is not in it.
    """
    found, stopped = False, False
    current: Section | None = None
    for section, chunk in sections(changes):
        if section is not current and section.kind == "transaction" and not stopped:
            stopped = found or (time is not None and section.words[3] >= time)
            found = found or (xid is not None and int(section.words[1]) == xid % EPOCH)
            if stopped:
                yield CLOSING
        current = section
        if section.kind == "cut" or (section.kind != "tables" and not stopped):
            yield chunk
    if xid is not None and not found:
        raise NotRestorable(
            f"transaction {xid} changed nothing that is kept, was rolled back, or the server's log had no number of it",
            next_step="choose a time instead",
        )


def sections(changes: Iterable[bytes]) -> Iterator[tuple[Section, bytes]]:
    """The file in pieces, each with the section it belongs to; markers are left out. Raises Corrupted."""
    chunks = iter(changes)
    first = next(chunks, b"")
    while len(first) < LONGEST_MARKER and (more := next(chunks, None)) is not None:
        first += more
    head = FIRST.match(first)
    if head is None:
        raise Corrupted("this is not a file of changes", next_step="compare the pgkeep versions that wrote and read it")
    # A marker's own line feed stays in front of what follows it: so whatever follows begins with one.
    line = re.compile(rb"\n-- pgkeep " + head[1] + rb" ([ -~]+)(?=\n)")
    section, rest = Section(("head",)), first[head.end() - 1 :]
    for chunk in itertools.chain([b""], chunks):
        rest += chunk
        while found := line.search(rest):
            yield section, rest[: found.start() + 1]
            section, rest = Section(tuple(found[1].decode().split(" "))), rest[found.end() :]
        undecided = rest.rfind(b"\n", max(0, len(rest) - LONGEST_MARKER))
        if undecided >= 0:
            yield section, rest[:undecided]
            rest = rest[undecided:]
        else:
            yield section, rest
            rest = b""
    yield section, rest
