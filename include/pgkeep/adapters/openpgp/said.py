"""What one run of gpg said on its status descriptor: keywords and numbers, never sentences.

Formats: GnuPG's doc/DETAILS ("Format of the --status-fd output") and libgpg-error's err-codes.h, err-sources.h.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MOST_LINES = 10_000
STATUS = "[GNUPG:]"

BAD_PASSPHRASE, NO_PIN_ENTRY, CANCELED, NO_PASSPHRASE, FULLY_CANCELED = 11, 85, 99, 177, 198
NO_AGENT, AGENT, END_OF_FILE = 77, 78, 16383
ASSUAN = range(257, 283)
SYSTEM = 0x8000
PINENTRY = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """A libgpg-error number: who failed (`source`), and at what (`code`)."""

    source: int
    code: int

    @property
    def wrong_passphrase(self) -> bool:
        return self.code == BAD_PASSPHRASE

    @property
    def nobody_to_ask(self) -> bool:
        """A passphrase is needed, and nobody typed it."""
        asked = {NO_PIN_ENTRY, CANCELED, NO_PASSPHRASE, FULLY_CANCELED}
        return self.source == PINENTRY or self.code in asked

    @property
    def agent_is_gone(self) -> bool:
        """The agent, which keeps the private keys, does not answer."""
        gone = self.code in {NO_AGENT, AGENT, END_OF_FILE} or self.code in ASSUAN or bool(self.code & SYSTEM)
        return gone and not self.nobody_to_ask


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature that gpg looked at. `primary`: of the key that made it, if it is good; `made`: epoch seconds.

    `claimed`: the fingerprint that it gives itself, else its key id: nothing proves it.
    """

    words: frozenset[str]
    primary: str
    made: int
    key_id: str
    claimed: str


class Said:
    """The result object of one run; python-gnupg fills it in (it stands in for python-gnupg's own `Crypt`)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, tuple[str, ...]]] = []
        self.data = b""
        self.stderr = ""
        self.returncode: int | None = None
        self.on_data_failure: Exception | None = None
        self.interrupted: Exception | None = None

    def handle_status(self, key: str, value: str) -> None:
        """One status line. Called by python-gnupg, in a thread of its own."""
        if len(self.lines) < MOST_LINES:
            self.lines.append((key, tuple(value.split())))

    def all(self, *keywords: str) -> Iterator[tuple[str, ...]]:
        """The arguments of every line with one of these keywords, in order."""
        return (arguments for keyword, arguments in tuple(self.lines) if keyword in keywords)

    def has(self, *keywords: str) -> bool:
        return any(True for _ in self.all(*keywords))

    def once(self, keyword: str) -> bool:
        return len(list(self.all(keyword))) == 1

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What gpg reported with FAILURE and ERROR lines."""
        numbers = [arguments[1] for arguments in self.all("FAILURE", "ERROR") if len(arguments) > 1]
        return tuple(Failure(int(n) >> 24 & 0x7F, int(n) & 0xFFFF) for n in numbers if n.isdigit())

    @property
    def killed(self) -> bool:
        """A signal ended it, or nobody saw it end."""
        return self.returncode is None or self.returncode < 0

    @property
    def signatures(self) -> tuple[Signature, ...]:
        return tuple(_signature(lines) for lines in self._signature_lines())

    def _signature_lines(self) -> list[list[tuple[str, tuple[str, ...]]]]:
        groups: list[list[tuple[str, tuple[str, ...]]]] = []
        for keyword, arguments in tuple(self.lines):
            if keyword == "NEWSIG":
                groups.append([])
            elif groups:
                groups[-1].append((keyword, arguments))
        return groups

    @property
    def own_words(self) -> str:
        """The last lines gpg wrote for people: to show, never to decide on."""
        lines = [line.strip() for line in self.stderr.splitlines() if not line.startswith(STATUS)]
        words = [str(self.interrupted)] if self.interrupted else []
        return f"exit code {self.returncode}" + "".join(f"; {line}" for line in [*words, *lines[-3:]])[:400]


def _signature(lines: list[tuple[str, tuple[str, ...]]]) -> Signature:
    verdicts = {"GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "ERRSIG"}
    valid = next((arguments for keyword, arguments in lines if keyword == "VALIDSIG" and len(arguments) > 9), None)
    key_id = next((arguments[0] for keyword, arguments in lines if keyword in verdicts and arguments), "")
    unchecked = next((arguments for keyword, arguments in lines if keyword == "ERRSIG" and len(arguments) > 6), None)
    return Signature(
        words=frozenset(keyword for keyword, _ in lines if keyword in verdicts | {"VALIDSIG", "NO_PUBKEY"}),
        primary=valid[9] if valid else "",
        made=int(valid[2]) if valid and valid[2].isdigit() else 0,
        key_id=key_id,
        claimed=unchecked[6] if unchecked and unchecked[6] != "-" else key_id,
    )
