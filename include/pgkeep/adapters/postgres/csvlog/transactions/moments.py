"""What a cut found out about the transactions that ran at that moment, and what the next window has to know of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgkeep.positions import LogCut
from pgkeep.visibility import Visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A transaction that a sample of pg_locks showed. `xid`: the 32 bits of the transaction lock it holds, or 0."""

    session: bytes
    vxid: bytes
    xid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMoment:
    """A cut. `first` and `second`: places of the markers in the log, between which the snapshot was taken.

    `boot`: another one after each start of the server and after each crash. `clock`: the server's, in whole seconds
    since 1970, read when `connected` had been asked. `running`: the session by vxid, in the sample that was taken after
    the first marker and before the snapshot; `xids`: the transaction ids, as far as any sample knows them; `still`: the
    vxids that had none when the snapshot was taken, for certain. `connected`: the sessions of this database, asked
    after that first sample was taken. `own`: sessions of pgkeep.
    """

    boot: str
    clock: int
    snapshot: Visible
    first: int
    second: int
    running: Mapping[bytes, bytes]
    xids: Mapping[bytes, int]
    still: frozenset[bytes]
    connected: frozenset[bytes]
    own: frozenset[bytes] = frozenset()


def sampled(
    samples: tuple[Iterable[Running], Iterable[Running], Iterable[Running]],
    *,
    boot: str,
    clock: int,
    snapshot: Visible,
    first: int,
    second: int,
    connected: Iterable[bytes],
    own: Iterable[bytes] = (),
) -> LogMoment:
    """The cut with those samples: before the snapshot, after it, and after that. The third may be empty.

    A transaction lets go of its vxid before anything else, and pg_locks shows the vxids before the rest. Who has a vxid
    and no xid in the second sample, and the same vxid in the third, had no xid in between: so it gets one that the
    snapshot, which is older, does not see. In the second sample alone, the xid may have gone between the two looks.
    """
    before, after, later = (tuple(sample) for sample in samples)
    xids = {one.vxid: one.xid for one in (*before, *after) if one.xid}
    on = {one.vxid for one in later}
    return LogMoment(
        boot=boot,
        clock=clock,
        snapshot=snapshot,
        first=first,
        second=second,
        running={one.vxid: one.session for one in before},
        xids=xids,
        still=frozenset(one.vxid for one in after if one.vxid in on and one.vxid not in xids),
        connected=frozenset(connected),
        own=frozenset(own),
    )


def moment_of(cut: LogCut, snapshot: Visible) -> LogMoment:
    """The cut again; `snapshot` is kept elsewhere."""
    return LogMoment(
        boot=cut.boot,
        clock=cut.clock,
        snapshot=snapshot,
        first=cut.first,
        second=cut.second,
        running={vxid.encode(): session.encode() for vxid, session in cut.running.items()},
        xids={vxid.encode(): xid for vxid, xid in cut.xids.items()},
        still=frozenset(vxid.encode() for vxid in cut.still),
        connected=frozenset(),
        own=frozenset(session.encode() for session in cut.own),
    )


def carried(
    moment: LogMoment,
    *,
    again: int,
    lines: Mapping[str, int],
    unread: Iterable[bytes],
    blind: int,
    odd: Iterable[bytes] = (),
) -> LogCut:
    """What is kept of that cut, where the next window begins to read at `again`."""
    return LogCut(
        boot=moment.boot,
        clock=moment.clock,
        first=moment.first - again,
        second=moment.second - again,
        running={vxid.decode(): session.decode() for vxid, session in moment.running.items()},
        xids={vxid.decode(): xid for vxid, xid in moment.xids.items()},
        still=tuple(sorted(vxid.decode() for vxid in moment.still)),
        own=tuple(sorted(session.decode() for session in moment.own)),
        lines=dict(lines),
        unread=tuple(sorted(vxid.decode() for vxid in unread)),
        blind=blind,
        odd=tuple(sorted(session.decode() for session in odd)),
    )


def begun(moment: LogMoment) -> LogCut:
    """What is kept of the first cut: the next window begins to read at its first marker, and knows of nothing before.

    Sessions that are connected go on from an unknown line; what runs may have written, unseen.
    """
    return carried(
        moment,
        again=moment.first,
        lines={session.decode(): -1 for session in sorted({*moment.connected, *moment.running.values()})},
        unread=[vxid for vxid, session in moment.running.items() if session not in moment.own],
        blind=moment.second - moment.first,
    )
