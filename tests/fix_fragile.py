"""A vault whose caller is killed at any touch of it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pgkeep.model import Cid
from pgkeep.ports import Holder, Listing, Place
from pgkeep.testing import MemoryVault

When = Literal["before", "after"]


class Killed(BaseException):
    """SIGKILL, as far as the code after it can tell: nothing of ours catches it."""


class FragileVault:
    """A vault whose caller is killed at the n-th call, before or after it took effect."""

    def __init__(self, inner: MemoryVault) -> None:
        self.inner = inner
        self.fatal: tuple[int, When] | None = None
        self.calls = 0

    def _touch(self, act: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.fatal == (self.calls, "before"):
            raise Killed
        call = self.calls
        try:
            return act()
        finally:
            if self.fatal == (call, "after"):
                raise Killed

    def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
        return Cid(self._touch(lambda: self.inner.add(chunks, name=name)))

    def own(self) -> Place:
        return self.inner.own()

    def places(self) -> Sequence[Place]:
        return self.inner.places()

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        yield from self._touch(lambda: list(self.inner.read(cid, at=at)))

    def pin(self, cid: Cid, *, name: str, copies: int) -> None:
        self._touch(lambda: self.inner.pin(cid, name=name, copies=copies))

    def label(self, cid: Cid, *, name: str) -> None:
        self._touch(lambda: self.inner.label(cid, name=name))

    def holders(self, cids: Collection[Cid]) -> Mapping[Cid, Sequence[Holder]]:
        return dict(self._touch(lambda: self.inner.holders(cids)))

    def listing(self, prefix: str) -> Listing:
        found: Listing = self._touch(lambda: self.inner.listing(prefix))
        return found

    def fetch(self, cid: Cid, *, name: str, at: Place) -> None:
        self._touch(lambda: self.inner.fetch(cid, name=name, at=at))

    def scrub(self, at: Place) -> None:
        self._touch(lambda: self.inner.scrub(at))

    def room(self) -> Mapping[str, int]:
        return self.inner.room()

    def drop(self, cid: Cid) -> None:
        # A killed process lets go of nothing any more.
        if self.fatal is None or self.calls < self.fatal[0]:
            self._touch(lambda: self.inner.drop(cid))
