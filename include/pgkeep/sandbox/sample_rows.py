"""The rows of the sample database: the same ones for the same seed and size, made one at a time."""

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from ipaddress import ip_address
from random import Random
from typing import Any

from psycopg.types.json import Jsonb

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
OFFICERS = 12
LARGE_OBJECTS_FROM = 600_001
SHARE_OF_DOCUMENTS = 0.9
"""Of the wanted size; the rest is events."""
WORDS = (
    "acte",
    "propriété",
    "œuvre",
    "licence",
    "témoin",
    "Größe",
    "合同",
    "deed",
    "transfer",
    "annex",
    "copy",
    "draft",
)
# An enum's value travels in a binary COPY as its label.
TYPES: Mapping[str, Sequence[str]] = {
    "legal_officer": ("text", "text", "text", "text", "jsonb", "text[]", "numeric"),
    "protection_request": ("int4", "text", "text", "text", "timestamptz", "jsonb", "text"),
    "loc": ("uuid", "int8", "text", "int4", "text", "text", "text", "timestamptz", "date"),
    "loc_file": ("uuid", "int4", "text", "text", "bytea", "bytea"),
    "loc_event": ("int8", "uuid", "timestamptz", "jsonb"),
    "session": ("uuid", "text", "inet", "timestamptz", "bytea"),
}
Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample of about `size` bytes of documents and events. Not slotted: the cases are remembered."""

    size: int
    seed: int

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of one of the tables in `TYPES`, in their insertion order."""
        match table:
            case "legal_officer":
                return self._officers()
            case "protection_request":
                return self._requests()
            case "loc":
                return self._cases()
            case "loc_file":
                return self._files()
            case "loc_event":
                return self._events()
        return self._sessions()

    def seals(self) -> Iterator[tuple[uuid.UUID, int, bytes]]:
        """(case, number of the large object, its content)."""
        random = self._random("seal")
        for number, case in enumerate(self.cases[:3]):
            yield case, LARGE_OBJECTS_FROM + number, _document(random, 40_000)

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.seed} {self.size} {purpose}")

    @cached_property
    def cases(self) -> list[uuid.UUID]:
        random = self._random("cases")
        return [_uuid(random) for _ in range(5 + self.size // 400_000)]

    @cached_property
    def officers(self) -> list[str]:
        random = self._random("officers")
        return [_address(random) for _ in range(OFFICERS)]

    def _officers(self) -> Iterator[Row]:
        random = self._random("officer rows")
        for number, address in enumerate(self.officers):
            place = {"city": random.choice(["Liège", "Zürich", "Łódź"]), "line1": _words(random, 2), "po_box": None}
            fee = Decimal(random.randrange(5_000, 50_000)) / 100
            name, mail = f"O'Name-{number}", f"o{number}@example.org"
            yield address, f"First{number}", name, mail, Jsonb(place), ["fr", "en"], fee

    def _requests(self) -> Iterator[Row]:
        random = self._random("requests")
        for number in range(1, len(self.cases) + 1):
            status = random.choice(["PENDING", "ACCEPTED", "REJECTED", "ACTIVATED"])
            identity = {
                "name": _words(random, 2),
                "phone": f"+32{random.randrange(10**8):08}",
                "checked": number % 2 == 0,
            }
            comment = _words(random, 9) if random.random() < 0.5 else None
            officer = random.choice(self.officers)
            yield number, _address(random), officer, status, _moment(random), Jsonb(identity), comment

    def _cases(self) -> Iterator[Row]:
        random = self._random("case rows")
        for number, case in enumerate(self.cases):
            created = _moment(random)
            status = random.choice(["DRAFT", "OPEN", "CLOSED", "VOID"])
            closed = (created + timedelta(days=30)).date() if status == "CLOSED" else None
            kind = random.choice(["Transaction", "Collection", "Identity"])
            request = number + 1 if random.random() < 0.7 else None
            officer = random.choice(self.officers)
            yield case, 1000 + 7 * number, officer, request, kind, status, _words(random, 12), created, closed

    def _files(self) -> Iterator[Row]:
        """Documents of 2 kB to 8 MB, until there are enough bytes of them."""
        random = self._random("files")
        left = int(self.size * SHARE_OF_DOCUMENTS)
        index = 0
        while left > 0:
            content = _document(random, min(int(random.lognormvariate(11.3, 1.2)) + 2_000, 8_000_000, left + 2_000))
            left -= len(content)
            name = f"{_words(random, 2)} {index}.pdf"
            case = self.cases[index % len(self.cases)]
            yield case, index, name, "application/pdf", hashlib.sha256(content).digest(), content
            index += 1

    def _events(self) -> Iterator[Row]:
        random = self._random("events")
        for number in range(1, 20 + int(self.size * (1 - SHARE_OF_DOCUMENTS) / 400)):
            case = self.cases[random.randrange(len(self.cases))]
            payload = {
                "type": random.choice(["opened", "added", "acknowledged", "closed"]),
                "by": _address(random),
                "items": [{"name": _words(random, 2), "hash": random.randbytes(32).hex()} for _ in range(number % 3)],
                "note": _words(random, 6),
            }
            yield number, case, _moment(random), Jsonb(payload)

    def _sessions(self) -> Iterator[Row]:
        random = self._random("sessions")
        for number in range(10 + self.size // 50_000):
            client = f"2001:db8::{number % 65_536:x}" if number % 2 else f"192.0.2.{number % 256}"
            yield _uuid(random), _address(random), ip_address(client), _moment(random), random.randbytes(64)


def _document(random: Random, length: int) -> bytes:
    """Compressible by about a quarter, as a PDF is: mostly deflated streams, between them plain structure."""
    structure = b"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 4 0 R >> >> >>\nendobj\n"
    parts = [b"%PDF-1.7\n"]
    have = len(parts[0])
    while have < length:
        parts += [structure * 20, random.randbytes(4 * len(structure) * 15)]
        have += len(parts[-1]) + len(parts[-2])
    return b"".join(parts)[:length]


def _uuid(random: Random) -> uuid.UUID:
    return uuid.UUID(bytes=random.randbytes(16), version=4)


def _address(random: Random) -> str:
    return "5" + "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789", k=47))


def _words(random: Random, count: int) -> str:
    return " ".join(random.choices(WORDS, k=count))


def _moment(random: Random) -> datetime:
    return BEGIN + timedelta(seconds=random.randrange(60_000_000), microseconds=random.randrange(1_000_000))
