"""A stream through one run of gpg, in bounded memory.

python-gnupg pushes and blocks; a pipeline pulls. So gpg runs in a thread, and two short queues stand between. Whoever
iterates drives: the input is read, and its errors are raised, in the thread of the consumer and nowhere else.
"""

import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import gnupg

from pgkeep.errors import PgkeepError

from .said import Said

QUEUE = 4 << 20
"""Bytes that may wait on each side of gpg."""
BLOCK = 128 << 10
BATCH = 512 << 10
"""Bytes for which the consumer is woken: a thread woken for every block costs more than the block."""
PATIENCE = 2.0
"""Seconds that gpg has to end when it is told to, before it is killed."""


class Gpg(gnupg.GPG):  # type: ignore[misc]  # python-gnupg has no types
    """python-gnupg that remembers the process it runs, so that it can be ended."""

    buffer_size = BLOCK
    process: subprocess.Popen[bytes] | None = None

    def _open_subprocess(self, *args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        self.process = process = cast("subprocess.Popen[bytes]", super()._open_subprocess(*args, **kwargs))
        return process


def unchanged(block: bytes) -> Iterator[bytes]:
    """What gpg writes, as it is."""
    yield block


class Exchange:
    """One run of gpg between two queues. `run` gets the file-like input and returns when gpg has ended.

    `convert` makes of gpg's output what the consumer gets, beside the consumer's own work; it may raise PgkeepError.
    """

    def __init__(
        self,
        gpg: Gpg,
        run: Callable[["Exchange"], object],
        *,
        convert: Callable[[bytes], Iterator[bytes]] = unchanged,
    ) -> None:
        self.said = Said()
        self._convert = convert
        self._refusal: PgkeepError | None = None
        self._gpg = gpg
        self._run = run
        lock = threading.Lock()
        self._ours, self._theirs = threading.Condition(lock), threading.Condition(lock)  # who waits, not for what
        self._input: list[bytes] = []
        self._output: list[bytes] = []
        self._closed = self._ended = self._abandoned = False
        self._feeder: threading.Thread | None = None
        self._runner = threading.Thread(target=self._work, name="pgkeep-gpg", daemon=True)

    def through(self, chunks: Iterable[bytes], *, until: Callable[[Said], bool] = lambda _: False) -> Iterator[bytes]:
        """Feeds `chunks`, yields what gpg makes of them, and returns when gpg has ended; `said` is complete then.

        Stops feeding when gpg has ended, or `until` holds. Closed early, or on an error of `chunks`, it ends gpg.
        """
        self._start()
        try:
            for chunk in chunks:
                yield from self._send(chunk)
                if self._ended or until(self.said):
                    break
            yield from self._finish()
        finally:
            self._stop()

    # --- the consumer's side -------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._gpg.result_map = {**self._gpg.result_map, "crypt": lambda _gpg: self.said}
        self._gpg.on_data = self._take
        self._runner.start()

    def _send(self, chunk: bytes) -> Iterator[bytes]:
        with self._theirs:
            self._input.append(chunk)
            self._theirs.notify_all()
            full = _size(self._input) >= QUEUE
        return self._written(until=self._has_room if full else lambda: True)

    def _finish(self) -> Iterator[bytes]:
        with self._theirs:
            self._closed = True
            self._theirs.notify_all()
        return self._written(until=lambda: False)

    def _has_room(self) -> bool:
        return _size(self._input) <= QUEUE // 2

    def _written(self, *, until: Callable[[], bool]) -> Iterator[bytes]:
        """What gpg writes, until there is room for more input, or it has ended."""
        done = False
        while not done:
            with self._ours:
                self._ours.wait_for(lambda: self._worth_waking() or until())
                blocks, self._output = self._output, []
                done = self._ended or until()
                self._theirs.notify_all()
            yield from blocks
            if self._refusal is not None:
                raise self._refusal

    def _worth_waking(self) -> bool:
        return _size(self._output) >= BATCH or self._ended or self._refusal is not None

    def _stop(self) -> None:
        """Leaves nothing behind: no process, no thread."""
        with self._theirs:
            self._abandoned = self._closed = True
            self._theirs.notify_all()
        self._end_process()
        if self._feeder is not None:
            self._feeder.join()

    def _end_process(self) -> None:
        rough = False
        while self._runner.is_alive():
            if not self._ended and (process := self._gpg.process) is not None:
                (process.kill if rough else process.terminate)()
            self._runner.join(PATIENCE)
            rough = True

    # --- gpg's side, in its threads --------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            if not self._abandoned:
                self._run(self)
        except (OSError, ValueError) as error:  # its pipe broke, or it could not be started: `said` tells more
            self.said.interrupted = error
        finally:
            with self._ours:
                self._ended = self._closed = True
                self._ours.notify_all()
                self._theirs.notify_all()

    def read(self, _size: int = -1) -> bytes:
        """The next block of input, b"" at its end. python-gnupg writes to gpg whatever it gets, of any size."""
        self._feeder = threading.current_thread()
        with self._theirs:
            self._theirs.wait_for(lambda: self._input or self._closed)
            if self._abandoned or self._ended or not self._input:
                return b""
            block = self._input.pop(0)
            if self._has_room():
                self._ours.notify_all()
            return block

    def _take(self, block: bytes) -> bool:
        """gpg's output; b"" at its end. False keeps python-gnupg from collecting it all."""
        try:
            if block and not self._abandoned and self._refusal is None:
                for piece in self._convert(block):
                    self._put(piece)
        except PgkeepError as error:  # python-gnupg would swallow it
            with self._ours:
                self._refusal = error
                self._ours.notify_all()
        return False

    def _put(self, piece: bytes) -> None:
        """One piece for the consumer, as soon as there is room."""
        with self._theirs:
            self._theirs.wait_for(lambda: self._abandoned or _size(self._output) < QUEUE)
            self._output.append(piece)
            if self._worth_waking():
                self._ours.notify_all()


def _size(blocks: list[bytes]) -> int:
    return sum(map(len, blocks))
