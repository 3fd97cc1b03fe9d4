"""A Kubo daemon's RPC interface (docs.ipfs.tech/reference/kubo/rpc), as far as a vault needs it."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from pgkeep.errors import Unavailable
from pgkeep.model import Cid, PeerId

from .answers import lines, names_in, pick
from .door import STALL_SECONDS, Door, Endpoint
from .upload import Interrupted, Upload

API = "/api/v0/"
PIECE = 1024 * 1024
"""Bytes per read: the size of the blocks that objects are cut into."""
CHUNKER = f"size-{PIECE}"
ROOM = (
    "see that this daemon runs, that no `ipfs repo gc` holds it up, and that its disk has room (`ipfs repo gc` frees "
    "what a broken upload left behind); then run it again"
)


class Kubo:
    """One Kubo daemon. `name`: what people know it by, for messages; `stall`: seconds without progress allowed.

    All methods raise Unavailable and ConfigError.
    """

    def __init__(self, endpoint: Endpoint, *, name: str | None = None, stall: float = STALL_SECONDS) -> None:
        self._door = Door(endpoint, kind="Kubo RPC", name=name, stall=stall)

    def __str__(self) -> str:
        return str(self._door)

    def id(self) -> PeerId:
        """Its identity in the swarm."""
        with self._door.ask("POST", API + "id") as response:
            return PeerId(pick(response.json(), "ID", str))

    def version(self) -> str:
        """As Kubo counts: `0.43.0`."""
        with self._door.ask("POST", API + "version") as response:
            return pick(response.json(), "Version", str)

    def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
        """Stores a stream and pins it under `name`. What `chunks` raises comes out unchanged; then nothing is pinned.

        `chunks` is closed in every case.
        """
        with closing(Upload(chunks)) as upload:
            self.version()  # a wrong address or login shows before the first byte is captured
            try:
                cid = self._send(upload, name)
            except Interrupted as interrupted:
                failure = interrupted.failure
            except Unavailable as error:
                raise Unavailable(error.what, next_step=ROOM) from error
            else:
                self._require_pinned(cid)
                return cid
            raise failure  # out here its own cause and context stay what they were

    def cat(self, cid: Cid, *, offline: bool) -> Iterator[bytes]:
        """An object's bytes. `offline`: only what this very daemon holds; else it fetches from its neighbours.

        What fails after the first byte may look like an early end: compare the digest.
        """
        with self._door.ask("POST", API + "cat", {"arg": cid, "offline": str(offline).lower()}) as response:
            while piece := response.raw.read(PIECE):
                yield piece

    def pins(self) -> Mapping[Cid, str]:
        """All that is pinned here recursively, with its pin name, or "". Cluster peers pin without a name."""
        # Not streamed: a failure half-way is then an error, not a short list.
        with self._door.ask("POST", API + "pin/ls", {"type": "recursive", "names": "true"}) as response:
            answer = response.json()
            keys = pick(answer, "Keys", dict) if answer != {} else {}  # Go leaves an empty map out
            return {Cid(cid): pick(pin, "Name", str) for cid, pin in keys.items()}

    def label(self, cid: Cid, *, name: str) -> bool:
        """Gives the pin of that object, if it has one, another name; says whether it had one."""
        if cid not in self.pins():
            return False
        with self._door.ask("POST", API + "pin/add", {"arg": cid, "name": name, "offline": "true"}) as response:
            return cid in pick(response.json(), "Pins", list)

    def fetch(self, cid: Cid, *, name: str) -> None:
        """Pins an object under `name`, and fetches from the neighbours what is missing here.

        A rotten block is refused: `scrub`, and fetch again. What is pinned is walked before it is pinned again, for
        Kubo takes the pin away when it meets a rotten block while pinning (0.43).
        """
        if cid in self.pins():
            self._walk(cid)
        params = {"arg": cid, "name": name, "progress": "true"}
        with self._door.ask("POST", API + "pin/add", params) as response:
            said = list(self._moving(response.iter_lines()))
        if not said or cid not in names_in(said[-1], "Pins"):
            raise Unavailable(
                f"{self} could not get all of {cid}", next_step="see that daemon's log; then run it again"
            )

    def _walk(self, cid: Cid) -> None:
        """Reads all blocks of an object, and fetches those that are missing. Raises Unavailable: not all can be had."""
        with self._door.ask("POST", API + "dag/stat", {"arg": cid, "progress": "true"}) as response:
            last = deque(self._moving(response.iter_lines()), maxlen=1)
        if not last or "UniqueBlocks" not in last[0]:  # said in the end; an error on the way is in a hidden trailer
            raise Unavailable(
                f"{self} cannot read all blocks of {cid}", next_step="see that daemon's log; then run it again"
            )

    def scrub(self) -> None:
        """Reads every block that is here; rotten ones are removed, and fetched from the neighbours.

        Whether that went well the objects show: Kubo says it in English only.
        """
        with self._door.ask("POST", API + "repo/verify", {"drop": "true", "heal": "true"}) as response:
            for _ in response.iter_lines():
                pass

    def unpin(self, cid: Cid) -> None:
        """Lets go of a recursive pin. That it is not pinned is no error."""
        if cid not in self.pins():
            return
        try:
            with self._door.ask("POST", API + "pin/rm", {"arg": cid}) as response:
                response.json()
        except Unavailable:
            if cid in self.pins():  # else somebody else, most likely the cluster peer, was faster
                raise

    def _moving(self, reported: Iterator[bytes]) -> Iterator[Any]:
        """What a daemon reports twice a second, as long as it gets on. Raises Unavailable: it does not any more."""
        before, since = None, time.monotonic()
        for text in reported:
            for line in lines(text):
                yield line
                if line != before:
                    before, since = line, time.monotonic()
            if time.monotonic() - since > self._door.stall:
                raise Unavailable(
                    f"{self} made no progress for {self._door.stall:.0f} s",
                    next_step="bring the peers that have it back, then run it again",
                )

    def _send(self, upload: Upload, name: str) -> Cid:
        params = {
            "pin": "true",
            "pin-name": name,
            "cid-version": "1",
            "chunker": CHUNKER,
            "raw-leaves": "true",
            "progress": "false",
        }
        sent = self._door.ask("POST", API + "add", params, body=upload.body(), content_type=upload.content_type)
        with sent as response:
            added = lines(response.content)
            if not added:
                raise Unavailable(
                    f"{self} took the object but did not say that it stored it",
                    next_step="see that daemon's log; then run it again",
                )
            return Cid(pick(added[-1], "Hash", str))

    def _require_pinned(self, cid: Cid) -> None:
        """Kubo names the object before it pins it, and a failure after that stands in a trailer that nobody shows.

        Raises Unavailable: asked for one object that is not pinned, Kubo answers with an error.
        """
        with self._door.ask("POST", API + "pin/ls", {"arg": cid, "type": "recursive"}) as response:
            pick(pick(response.json(), "Keys", dict), cid, dict)
