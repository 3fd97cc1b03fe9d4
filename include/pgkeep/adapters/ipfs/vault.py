"""The vault: this node's own Kubo and cluster peer, and the others' wherever they may be asked."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from pgkeep.errors import ConfigError, Unavailable
from pgkeep.model import Cid, PeerId
from pgkeep.ports import Holder, Listing, Place

from .cluster import Claim, Cluster
from .door import STALL_SECONDS
from .health import VaultHealth, examine
from .kubo import Kubo
from .peers import PeerAddress, ask_all, ask_in_turn, clusters, kubos, open_peers

T = TypeVar("T")


class IpfsVault:
    """The Vault port over Kubo RPC and IPFS Cluster REST. The first of `peers` is this node's own.

    `stall`: seconds without any progress after which a daemon is taken for dead. Raises ConfigError: the own peer
    lacks a door, another has none, or two have one name.
    """

    def __init__(self, peers: Sequence[PeerAddress], *, stall: float = STALL_SECONDS) -> None:
        self._own, self._peers = open_peers(peers, stall=stall)

    # --- the port ------------------------------------------------------------------------------------------------

    def add(self, chunks: Iterable[bytes], *, name: str) -> Cid:
        """As the port says; `chunks` is closed in every case."""
        return self._own.kubo.add(chunks, name=name)

    def own(self) -> Place:
        return Place(peer=self._own.kubo.id(), name=self._own.name, local=True)

    def places(self) -> Sequence[Place]:
        """As the port says; two addresses of one Kubo are one place."""
        answers = ask_all((name, kubo.id) for name, kubo in kubos(self._peers))
        answers.require_one()
        names = {peer: name for name, peer in reversed(answers.given)}
        local = [Place(peer=peer, name=name, local=True) for name, peer in answers.given if names[peer] == name]
        return [*local, Place(peer=local[0].peer, name=local[0].name, local=False)]

    def read(self, cid: Cid, *, at: Place) -> Iterator[bytes]:
        yield from self._kubo(at).cat(cid, offline=at.local)

    def pin(self, cid: Cid, *, name: str, copies: int) -> None:
        own = self._own_member()
        try:
            pin = self._any_cluster(lambda cluster: cluster.pin(cid, name=name, copies=copies, at=own))
        except Unavailable as error:
            raise Unavailable(
                f"{copies} copies of {cid} cannot be had now: {error.what}",
                next_step="bring the missing peers back (`pgkeep check` says which), or lower `copies` in pgkeep.toml",
            ) from error
        if own not in pin.allocations:
            # The cluster now takes the own peer's copy for surplus: nothing may be built on this pin.
            raise Unavailable(
                f"the cluster gave {cid} to other peers than this node's own ({self._own.name})",
                next_step="see that the own peer has room and that its cluster peer is counted; then run it again",
            )

    def label(self, cid: Cid, *, name: str) -> None:
        self._own.kubo.label(cid, name=name)
        ask_all((peer, partial(kubo.label, cid, name=name)) for peer, kubo in kubos(self._peers))

    def holders(self, cids: Collection[Cid]) -> Mapping[Cid, Sequence[Holder]]:
        """As the port says; a peer whose Kubo cannot be told holds nothing, and stands under its cluster id."""
        asked = tuple(dict.fromkeys(cids))
        said = self._any_cluster(lambda cluster: cluster.claims(asked))
        return {cid: _distinct(said[cid]) for cid in asked}

    def listing(self, prefix: str) -> Listing:
        answers = ask_all(
            [(name, partial(_pinset, cluster)) for name, cluster in clusters(self._peers)]
            + [(name, partial(_pin_names, kubo)) for name, kubo in kubos(self._peers)]
        )
        answers.require_one()
        found: dict[str, set[Cid]] = {}
        where: dict[Cid, set[str]] = {}
        for peer, pins in answers.given:
            for name, cid in pins:
                if name.startswith(prefix):
                    found.setdefault(name, set()).add(cid)
                    where.setdefault(cid, set()).add(peer)
        silent: dict[str, list[str]] = {}
        for peer, error in answers.refused:
            silent.setdefault(peer, []).append(error.what)
        return Listing(
            names={name: frozenset(cids) for name, cids in found.items()},
            where={cid: frozenset(peers) for cid, peers in where.items()},
            silent={peer: "; ".join(reasons) for peer, reasons in silent.items()},
            asked=len(self._peers),
        )

    def drop(self, cid: Cid) -> None:
        """As the port says. Every cluster peer is told: one may know a pin that the others have not heard of.

        Raises Unavailable, too, when the own Kubo does not answer: it may hold a pin that no cluster peer knows.
        """
        answers = ask_all((name, partial(cluster.unpin, cid)) for name, cluster in clusters(self._peers))
        answers.require_one()
        ask_all((name, partial(kubo.unpin, cid)) for name, kubo in kubos(self._peers))  # what no cluster peer knows
        self._own.kubo.unpin(cid)

    def fetch(self, cid: Cid, *, name: str, at: Place) -> None:
        self._kubo(at).fetch(cid, name=name)

    def scrub(self, at: Place) -> None:
        self._kubo(at).scrub()

    def room(self) -> Mapping[str, int]:
        """As the port says, by the names that people gave to the peers."""
        return {peer.name: peer.free for peer in self.health().peers if peer.free is not None}

    # --- beyond the port -----------------------------------------------------------------------------------------

    def health(self) -> VaultHealth:
        """How every peer is, for a preflight. One that does not answer is a finding, not an error."""
        examined = ask_all(
            (peer.name, partial(examine, peer.name, kubo=peer.kubo, cluster=peer.cluster)) for peer in self._peers
        )
        return VaultHealth(peers=tuple(peer for _, peer in examined.given))

    # --- how -----------------------------------------------------------------------------------------------------

    def _kubo(self, at: Place) -> Kubo:
        kubo = dict(kubos(self._peers)).get(at.name)
        if kubo is None:
            raise ConfigError(
                f"no peer named {at.name} with a Kubo connection is configured",
                next_step="see [[vault.peers]] in pgkeep.toml",
            )
        return kubo

    def _any_cluster(self, question: Callable[[Cluster], T]) -> T:
        return ask_in_turn((cluster for _, cluster in clusters(self._peers)), question)

    def _own_member(self) -> str:
        """The cluster id of this node's own peer, which must be able to take a pin now.

        Otherwise the cluster would give the object to others and remove the own copy, the only one there is. Raises
        Unavailable, and ConfigError when the two own connections do not lead to one peer.
        """
        own = self._identify(self._own.kubo.id())
        if own not in self._any_cluster(lambda cluster: cluster.free_space()):
            raise self._not_ready("it told no free space lately")
        return own

    def _identify(self, kubo: PeerId) -> str:
        try:
            me = None if self._own.cluster is None else self._own.cluster.id()
        except Unavailable:
            me = None
        if me is None:
            # Its REST may be down while it lives: the others know it by its Kubo.
            members = self._any_cluster(lambda cluster: cluster.peers())
            known = [member.id for member in members if member.kubo == kubo]
            if not known:
                raise self._not_ready("its cluster peer does not answer, nor do the others count it") from None
            return known[0]
        if me.kubo not in (kubo, ""):
            raise ConfigError(
                f"{self._own.cluster} commands another Kubo ({me.kubo}) than {self._own.kubo} ({kubo})",
                next_step="correct the first [[vault.peers]] in pgkeep.toml: both connections must lead to one peer",
            )
        return me.id

    def _not_ready(self, why: str) -> Unavailable:
        return Unavailable(
            f"this node's own peer ({self._own.name}) cannot be given a pin: {why}",
            next_step="see that its Kubo and its cluster peer run and have room; then run it again",
        )


def _distinct(claims: Iterable[Claim]) -> list[Holder]:
    """One line for each Kubo: what it holds counts once, whichever cluster peer says so."""
    merged: dict[PeerId, Holder] = {}
    for holder in map(_holder, claims):
        known = merged.setdefault(holder.peer, holder)
        if holder.holds and not known.holds:
            merged[holder.peer] = holder
    return list(merged.values())


def _holder(claim: Claim) -> Holder:
    status = claim.status if claim.allocated or claim.status != "pinned" else "pinned, but not allocated"
    return Holder(
        peer=claim.kubo or PeerId(claim.member),
        name=claim.name,
        wanted=claim.allocated,
        holds=claim.pinned,
        unsaid=claim.unsaid,
        status=f"{status} ({claim.error})" if claim.error else status,
    )


def _pinset(cluster: Cluster) -> list[tuple[str, Cid]]:
    return [(pin.name, pin.cid) for pin in cluster.pins()]


def _pin_names(kubo: Kubo) -> list[tuple[str, Cid]]:
    return [(name, cid) for cid, name in kubo.pins().items()]
