"""How the changes of a database are carried on, from cut to cut. Read it top to bottom; there is no other path.

    a cut now -> the changes since the last cut -> (where there must be one, a full backup of the same cut)

A link is exact or it is not written (I8): where the changes cannot be carried exactly, the journal gets a gap with the
reason, and a full backup of the same cut in the same run. A full backup that was asked for ends the chain's last
window first: it stands exactly at the end of a link, and both ways to that moment must show the same.
"""

import itertools
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from pgkeep import backup, chain, journal, losses, records
from pgkeep.errors import JournalMovedOn, LogUnavailable, NotReplicated, Unavailable
from pgkeep.journal import Head, Journal
from pgkeep.journal_store import JournalStore
from pgkeep.meter import unwatched
from pgkeep.model import Backup, Cid, Covered, Entry, Instant, Kind, Origin, Replicated, Sealed, Stored, now
from pgkeep.parts import Parts
from pgkeep.ports import Capture, Inexact, Sealer, Source, Unreadable, Vault, Watch, Window

log = logging.getLogger(__name__)

SOON = 60.0
"""Seconds that a dump waits for the copies of its link: nothing can be altered at the source meanwhile."""
ALONE = "%s: a full backup is made that stands by itself, and the changes wait: %s. Next: %s"
BEGINNING = "the first backup: changes are kept from here on"
NEW_KEY = "this node signs with another key from here on: up to entry {} it was {}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run for one database. `patience`: seconds to wait for the copies of a link that is finished here.

    `ancestry`: what a full backup is the first one after, if anything. `lost`: asks for the objects of which an audit
    has found no whole copy: what is carried on upon them cannot be restored, so there must be a full backup.
    """

    source: Source
    capture: Capture
    sealer: Sealer
    vault: Vault
    journals: JournalStore
    origin: Origin
    patience: float
    ancestry: bytes = b""
    lost: Callable[[], Collection[Cid]] = tuple
    watch: Watch = unwatched

    def full(self) -> Stored:
        """The whole database, at the end of a link that is recorded before. Raises what the ports raise.

        A dump needs no log, so it does not fail for one: then it stands by itself.
        """
        try:
            self.capture.require_log()
            done = backup.undisturbed(lambda: self._carry_on(full=True))
        except LogUnavailable as missing:
            log.warning(ALONE, self.journals.database, missing.what, missing.next_step)
            return self._by_itself()
        assert done.backup.kind == "full"
        return done

    def hourly(self, *, until: Instant | None = None) -> Stored | Covered:
        """A link to now; a full backup where there must be one; nothing if an entry shows `until` already."""
        self.capture.spare_disk()  # before anything else that may fail: the source must not stop for us
        known = self.journals.head_for_writing().journal
        covering = chain.covering(self._surviving(known), until) if until else None
        if covering:
            return Covered(entry=covering)
        return backup.undisturbed(lambda: self._carry_on(full=False))

    def _by_itself(self) -> Stored:
        return backup.capture(
            self.source,
            self.sealer,
            self.vault,
            self.journals,
            origin=self.origin,
            ancestry=self.ancestry,
            watch=self.watch,
        )

    def _carry_on(self, *, full: bool) -> Stored:
        """The chain's next link; and where there must be one, or it was asked for, a full backup at its end."""
        known = self.journals.head_for_writing().journal
        last = chain.end(known)
        if last is None:
            return self._begin(None, BEGINNING)
        if last.signer != self.sealer.signer:
            return self._begin(last, NEW_KEY.format(last.sequence, last.signer))
        if broken := self.capture.broken(last.backup):
            return self._begin(last, broken)
        try:
            return self._go_on(last, known, full=full)
        except Unreadable as doubt:  # and it would be at the next time
            return self._begin(last, doubt.reason)

    def _go_on(self, last: Entry, known: Journal, *, full: bool) -> Stored:
        with ExitStack() as stack:
            window = stack.enter_context(self.capture.window(last.backup))
            if full or (chain.lacks_full(self._surviving(known)) and window.alone()):
                dump = self._begin_dump(window, stack)
                self._finish_soon(self._link(window))
                return self._full(window, dump)
            link = self._link(window)
            if link.backup.kind == "changes":
                return link
            self._finish_soon(link)
            return self._full(window, self._begin_dump(window, stack))

    def finish(self, stored: Stored) -> Entry:
        """All the further steps at once. Raises as they do; JournalMovedOn: another run was faster."""
        return self._put_down(self._replicated(stored, patience=self.patience))

    def _replicated(self, stored: Stored, *, patience: float) -> Replicated:
        sealed = backup.check(stored, self.sealer, self.vault)
        return backup.replicate(sealed, self.vault, copies=self.journals.copies, patience=patience)

    def _put_down(self, replicated: Replicated) -> Entry:
        entry = backup.record(replicated, self.source, self.journals, self.vault)
        backup.release(entry, self.source, self.journals)
        return entry

    def _finish_soon(self, link: Stored) -> None:
        """Before a dump, which holds its tables meanwhile, and does not fail because a peer is away.

        The full backup then stands at a moment of its own, and the chain goes on beside it.
        """
        try:
            replicated = self._replicated(link, patience=min(self.patience, SOON))
        except (NotReplicated, Unavailable) as missing:
            if link.backup.kind == "gap":
                raise
            log.warning("%s The full backup goes on; the next run collects these changes again.", missing)
            self._parts("changes").let_go(link.backup.parts)
            return
        self._put_down(replicated)

    def record(self, replicated: Replicated, *, until: Instant | None = None) -> Entry:
        """The backup's entry; changes that another run has overtaken are collected again from where that one ended."""
        late = replicated.sealed.backup
        try:
            return backup.record(replicated, self.source, self.journals, self.vault)
        except JournalMovedOn as moved:
            if late.link is None:
                raise
            log.info("%s: collecting again from there", moved.what)
            return self.again(late, until=until)

    def again(self, late: Backup, *, until: Instant | None) -> Entry:
        """For a link that another run has overtaken: what it wanted to show, from where the chain ends now.

        That other run may have been an earlier try of this one, which has recorded this very link.
        """
        if known := self.journals.head_for_writing().journal.recorded(late):
            return known
        done = self.hourly(until=until)
        entry = done.entry if isinstance(done, Covered) else self.finish(done)
        self._parts("changes").let_go(late.parts)
        return entry

    def _begin(self, last: Entry | None, why: str) -> Stored:
        """Begins the chain anew with a full backup; the journal says why, for from now on the source keeps what is
        not collected.
        """
        with ExitStack() as stack:
            window, dump = self._begin_anew(last, why, stack)
            return self._full(window, dump)

    def _begin_anew(self, last: Entry | None, why: str, stack: ExitStack) -> tuple[Window, Iterator[bytes]]:
        with self.source.exclusively():
            head = self.journals.head_for_writing()
            if chain.end(head.journal) != last:
                raise JournalMovedOn(
                    f"another run has begun to keep {self.journals.database}", next_step="run it again"
                )
            window = stack.enter_context(self.capture.begin(last.backup if last else None))
            if last:  # only now: what `begin` refuses has a next step of its own
                log.warning("%s: %s; a full backup is made now", self.journals.database, why)
            dump = self._begin_dump(window, stack)
            self._record_gap(self._gap(window, why), after=head)
        return window, dump

    def _record_gap(self, gap: Stored, *, after: Head) -> None:
        """At once, without the steps: there is nothing to read back, or to copy."""
        sealed = Sealed(backup=gap.backup, recipients=(), signer=self.sealer.signer)
        replicated = Replicated(sealed=sealed, copies=self.journals.copies, holders={})
        self.journals.append(after, journal.new_entry(replicated, after=after.journal, now=now()))

    def _begin_dump(self, window: Window, stack: ExitStack) -> Iterator[bytes]:
        """The dump, up to its first bytes: then it has its locks, and no table can be rewritten under it any more.

        It waits there as long as nobody reads on. So the link is made after that, however long its copies take.
        """
        dump = self.watch("dump", window.dump())
        if callable(close := getattr(dump, "close", None)):
            stack.callback(close)
        return itertools.chain([next(dump)], dump)

    def _full(self, window: Window, dump: Iterator[bytes]) -> Stored:
        """The full backup of the window's moment."""
        parts = self._parts("full")
        with parts.or_nothing():
            return backup.dump(window, dump, parts, origin=self.origin, ancestry=self.ancestry, watch=self.watch)

    def _link(self, window: Window) -> Stored:
        """The changes of the window as a link, or a gap if they cannot be carried exactly."""
        parts = self._parts("changes")
        try:
            with parts.or_nothing():
                parts.store("changes", self.watch("changes", window.changes()))
                if parts.stored[0].plain_size == 0:
                    parts.discard()
                else:
                    parts.store("inventory", iter([records.to_bytes(window.update())]))
                return parts.sum_up(window, origin=self.origin, link=window.link(gap=None))
        except Unreadable:
            raise
        except Inexact as doubt:
            log.warning("%s: %s; a full backup is made instead", self.journals.database, doubt.reason)
            return self._gap(window, doubt.reason)

    def _gap(self, window: Window, why: str) -> Stored:
        """A link that carries nothing to the window's moment, and says why."""
        return self._parts("gap").sum_up(window, origin=self.origin, link=window.link(gap=why))

    def _surviving(self, known: Journal) -> Journal:
        return losses.surviving(known, self.lost())

    def _parts(self, kind: Kind) -> Parts:
        return Parts(
            database=self.journals.database,
            kind=kind,
            number=backup.next_number(self.journals),
            sealer=self.sealer,
            vault=self.vault,
        )
