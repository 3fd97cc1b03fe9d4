"""How one moves from LPBM, pgkeep's predecessor. Read it top to bottom.

    its journal -> the newest full and the deltas after it -> decrypt -> replay beside -> take the place
    its journal -> the first full backup of pgkeep has it as a part of its own: the ancestry

LPBM compared nothing and recorded nothing to compare with: what it has kept is replayed, and every error is said.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from pgkeep import ancestry, ports
from pgkeep.ancestry import ARCHIVE, Archive, Blank, Failures, LegacyFile, Opener, ScriptTarget
from pgkeep.errors import ConfigError, NotRestorable, PgkeepError, Unavailable
from pgkeep.journal import Journal
from pgkeep.meter import unwatched
from pgkeep.model import Cid, Entry
from pgkeep.ports import Holdings, Refused, Vault, Watch
from pgkeep.restore import plaintext

COMPLETE = b"\n-- PostgreSQL database dump complete\n"
"""How pg_dump ends its plain scripts; some lines follow. COPY without its end would pass for whole."""
TAIL = 4096
FIRST = 5
"""Failures of a file that an error names; the list has all of them."""
COPY = re.compile(rb"(?:^|;)\s*copy\s[^;']{1,2000}\sfrom\s+stdin\b", re.IGNORECASE | re.MULTILINE)
LONGEST = 2100
WITHIN = b"""
;
DO $pgkeep$ BEGIN
    IF txid_current_if_assigned() IS NOT NULL THEN
        RAISE 'the file ends within a transaction, of which nothing would stay';
    END IF;
END $pgkeep$;
"""
NO_FAILURES = Failures(count=0, said=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What was replayed, in order, with what failed in each file."""

    files: tuple[tuple[LegacyFile, Failures], ...]

    @property
    def failed(self) -> int:
        """Statements that failed, in all files."""
        return sum(failures.count for _, failures in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultArchive:
    """The port Archive over the cluster: an object is what its CID says, or it is not given out."""

    vault: Vault

    def require(self, files: Sequence[LegacyFile]) -> None:
        """Reads the beginning of every file. Raises NotRestorable with those that no peer has; Unavailable."""
        missing = [file for file in files if not self._is_there(file)]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise NotRestorable(
                f"no peer gives {', '.join(map(str, missing[:5]))}{more}",
                next_step="start the peers of LPBM's cluster and see [[vault.peers]] in pgkeep.toml; or have the files "
                "in a directory: --files DIR. Nothing was begun",
            )

    def read(self, file: LegacyFile) -> Iterator[bytes]:
        """From the first place that begins to give it. Raises Unavailable."""
        return self.read_cid(file.cid)

    def read_cid(self, cid: Cid) -> Generator[bytes]:
        """An object, from the first place that begins to give it. Raises Unavailable."""
        why: Unavailable | None = None
        for place in self.vault.places():
            chunks = self.vault.read(cid, at=place)
            try:
                first = next(iter(chunks), b"")
            except Unavailable as error:
                why = error
                continue
            yield first
            yield from chunks
            return
        raise Unavailable(
            f"no peer gives {cid}" + (f": {why.what}" if why else ""),
            next_step="start the peers that hold it, and see [[vault.peers]] in pgkeep.toml",
        )

    def _is_there(self, file: LegacyFile) -> bool:
        chunks = self.read_cid(file.cid)
        try:
            return next(chunks, None) is not None
        except Unavailable:
            return False
        finally:
            chunks.close()


def restore(
    way: Sequence[LegacyFile],
    archive: Archive,
    opener: Opener,
    target: ScriptTarget,
    *,
    keep_going: bool = False,
    watch: Watch = unwatched,
) -> Replayed:
    """Replays a full and the deltas after it into a new database, which then takes the target's name.

    Stops at the first error, and then nothing is left behind; with `keep_going`, as LPBM did, it goes past them.
    Raises NotRestorable (a statement is refused, a file is missing), Corrupted, ConfigError (not free), Unavailable.
    """
    target.require_free(replace=False)
    archive.require(way)
    with target.blank() as blank:
        done = tuple((file, _replay(file, archive, opener, blank, keep_going=keep_going, watch=watch)) for file in way)
        blank.take_place(replace=False)
    return Replayed(files=done)


def require_success(replayed: Replayed, *, label: str) -> None:
    """Raises NotRestorable if any statement failed, with the first of each file: somebody has to look at them."""
    failed = [(file, failures) for file, failures in replayed.files if failures.count]
    if failed:
        said = "; ".join(
            f"{file}: {failures.count} failed ({'; '.join(failures.said[:FIRST])})" for file, failures in failed
        )
        raise NotRestorable(
            f"{label} came back, but {replayed.failed} of its statements failed, in {len(failed)} of "
            f"{len(replayed.files)} files: {said}",
            next_step="look at these lines (pgkeep lpbm decrypt CID), and drop the database if it will not do",
        )


def require_not_imported(journal: Journal) -> None:
    """Raises ConfigError if a full backup names LPBM's files already. Others may be there: Airflow may be quicker."""
    for entry in journal.entries:
        if entry.backup.part("ancestry"):
            raise ConfigError(
                f"entry {entry.sequence} of {journal.database} names LPBM's files already",
                next_step=f"nothing is to be done: pgkeep list {journal.database} shows them",
            )


def ancestors(entry: Entry, sealer: ports.Opener, vault: Holdings) -> tuple[LegacyFile, ...]:
    """LPBM's files that the entry continues; none for most. Raises Corrupted, Unavailable."""
    part = entry.backup.part("ancestry")
    if part is None:
        return ()
    text = b"".join(plaintext(part, sealer, vault)).decode()
    return ancestry.read_journal(text, path=f"ancestry ({part.cid})")


def _replay(
    file: LegacyFile, archive: Archive, opener: Opener, blank: Blank, *, keep_going: bool, watch: Watch
) -> Failures:
    plain = watch(file.name, opener.open(archive.read(file), name=str(file)))
    first = next(plain, b"")
    whole = _behind(first, plain)
    try:
        if file.kind == "full" and first.startswith(ARCHIVE):
            return blank.load(whole, keep_going=keep_going)
        script = _Ending(_checked(file, whole, keep_going=keep_going))
        failures = blank.run(script, keep_going=keep_going)
    except Refused as refused:
        raise _not_replayed(file, refused.reason) from refused
    if file.kind == "delta" or COMPLETE in script.end:
        return failures
    cut = "it does not end as pg_dump ends its scripts: it was cut off, or is none"
    if not keep_going:
        raise _not_replayed(file, cut)
    return Failures(count=failures.count + 1, said=(*failures.said, cut))


def _behind(first: bytes, rest: Iterator[bytes]) -> Generator[bytes]:
    yield first
    yield from rest


def _checked(file: LegacyFile, script: Iterator[bytes], *, keep_going: bool) -> Generator[bytes]:
    """The script, and a last statement that fails where it ends within a transaction, of which psql keeps nothing.

    Raises NotRestorable: a delta holds COPY .. FROM STDIN, whose rows LPBM never had; what follows would pass for them.
    """
    rest = b""
    for chunk in script:
        if file.kind == "delta" and not keep_going and COPY.search(rest + chunk):
            raise _not_replayed(file, "it holds COPY .. FROM STDIN without its rows")
        rest = chunk[-LONGEST:]
        yield chunk
    if file.kind == "delta":
        yield WITHIN


def _not_replayed(file: LegacyFile, why: str) -> PgkeepError:
    return NotRestorable(
        f"the {file.kind} {file}, line {file.number} of LPBM's journal, cannot be replayed: {why}; nothing was left "
        "behind",
        next_step="mend at the target what it names (a role, an extension, a right that is missing there); or go past "
        f"errors as LPBM did: --keep-going. To see its SQL: pgkeep lpbm decrypt {file.cid}",
    )


@dataclass(slots=True)
class _Ending:
    """A stream that remembers how it ended."""

    chunks: Iterator[bytes]
    end: bytes = field(default=b"", init=False)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.end = (self.end + chunk)[-TAIL:] if len(chunk) < TAIL else chunk[-TAIL:]
            yield chunk

    def close(self) -> None:
        """Closes the stream."""
        if callable(close := getattr(self.chunks, "close", None)):
            close()
