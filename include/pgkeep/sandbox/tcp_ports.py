"""The loopback ports of a sandbox: chosen once, chosen anew only when somebody else has taken one meanwhile."""

import contextlib
import random
import socket
from collections.abc import Collection, Iterable

from pgkeep.errors import Unavailable

# Below the range from which Linux takes the ports of outgoing connections (32768 up), so that no browser holds one.
RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            probe.listen()
            return True
    return False


def choose(names: Iterable[str], *, taken: Collection[int]) -> dict[str, int]:
    """A free port for every name, all different, none of `taken`. Raises Unavailable when there are none."""
    free = (port for port in random.sample(RANGE, len(RANGE)) if port not in taken and is_free(port))
    try:
        return {name: next(free) for name in names}
    except StopIteration:
        raise Unavailable(
            "no free TCP port is left on 127.0.0.1",
            next_step=f"end something that listens between {RANGE.start} and {RANGE.stop}, then repeat",
        ) from None
