"""What the stories ask of the private cluster."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pgkeep.model import Cid, PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an object can be read. `local`: only what that very peer holds; else it may fetch from the others."""

    peer: PeerId
    name: str
    local: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What the cluster says about one peer and one object. `wanted`: allocated there; `holds`: and pinned; `unsaid`:
    its cluster peer does not answer, so nobody says whether it is.
    """

    peer: PeerId
    name: str
    wanted: bool
    holds: bool
    unsaid: bool
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All pins found under a prefix, by name; a name may stand for several objects.

    `where`: by object, the peers that named it, in their Kubo or in the pinset as they know it. `silent`: peers that
    did not answer, with the reason. An empty listing is not evidence of an empty vault.
    """

    names: Mapping[str, frozenset[Cid]]
    where: Mapping[Cid, frozenset[str]]
    silent: Mapping[str, str]
    asked: int


class Holdings(Protocol):
    """What can be read, where, and who says that he has it: all that a restore asks of the vault."""

    def places(self) -> Sequence[Place]:
        """Where objects can be read, best first: every reachable peer for itself, then one of them through all.

        Raises Unavailable when no peer answers.
        """

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        """The object's bytes as that place gives them; may end early without an error: compare the digest.

        Raises Unavailable: the place does not answer, or does not have it.
        """

    def holders(self, cids: Collection[Cid]) -> Mapping[Cid, Sequence[Holder]]:
        """By object, what the cluster says of each peer it counts, one line per distinct Kubo identity.

        Ask for many at once: a peer that stands still is waited for each time. Raises Unavailable, ConfigError.
        """


class Vault(Holdings, Protocol):
    """The private cluster, seen from this node's own peer."""

    def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
        """Streams an object into the own peer and pins it there under `name`.

        `chunks` is closed in every case. What it raises comes out unchanged, and then nothing is pinned. Raises
        Unavailable.
        """

    def own(self) -> Place:
        """The own peer, and only what it holds itself. Raises Unavailable."""

    def pin(self, cid: Cid, *, name: str, copies: int) -> None:
        """Asks the cluster for `copies` copies, the own peer's among them, under `name`. Safe to repeat.

        Copies beyond these, of an earlier pin, stay.

        Raises Unavailable (nobody answers, or too few peers for so many copies at the moment).
        """

    def label(self, cid: Cid, *, name: str) -> None:
        """Gives a pinned object that name in the Kubos themselves, wherever it is held and can be asked.

        So it is found by name even when the cluster's pinset is lost. Raises Unavailable when the own peer is silent.
        """

    def listing(self, prefix: str) -> Listing:
        """What is pinned under `prefix`: all cluster peers' pinsets and all reachable Kubos' pin names together.

        Raises Unavailable when nobody answers.
        """

    def drop(self, cid: Cid) -> None:
        """Lets go of an object everywhere. Unknown objects are no error.

        Raises Unavailable, also when only the own peer is silent: then it may still hold it; repeat it later.
        """

    def fetch(self, cid: Cid, *, name: str, at: Place) -> None:
        """Lets that very peer fetch from the others what it lacks of an object, and pin it under `name`.

        A block that is there and rotten is no lack: see `scrub`. When this fails, a pin that there was is still there.
        Raises Unavailable: not that peer, not all of it to be had, or no progress.
        """

    def scrub(self, at: Place) -> None:
        """Lets that very peer read every block it holds; rotten ones are thrown away, and fetched from the others.

        It takes as long as reading that disk. Raises Unavailable: not that peer, or a block is not to be had.
        """

    def room(self) -> Mapping[str, int]:
        """Bytes that the cluster may still give to each peer that said so lately, by its name."""
