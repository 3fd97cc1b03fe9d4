"""How a backup comes back. Read it top to bottom.

    find the journal -> choose an entry -> find whole copies -> restore beside -> compare -> take the place

Reading goes the other way than writing: journal, then entry, then vault. Nothing is decrypted before its ciphertext
has been read once and found to be exactly what the signed journal names.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from pgkeep import records
from pgkeep.copies import ciphertext, whole_copy
from pgkeep.errors import Corrupted, NotRestorable
from pgkeep.inventory import Inventory, differences
from pgkeep.meter import Meter, unwatched
from pgkeep.model import Entry, Part, PartName
from pgkeep.ports import Sealer, Target, Vault, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was brought back and proven equal. `replaced`: the name under which the old database stays, if any."""

    entry: Entry
    inventory: Inventory
    replaced: str | None
    restore_seconds: float
    verify_seconds: float


def restore(
    entry: Entry, sealer: Sealer, vault: Vault, target: Target, *, replace: bool = False, watch: Watch = unwatched
) -> Restored:
    """Brings an entry back into `target`, proves it equal to its source, and only then gives it the target's name.

    On any error before that the target is as it was; roles that were missing there may have been made. Raises
    Corrupted (bytes, or the comparison), NotRestorable, Unavailable, ConfigError (target not empty, private key
    missing, privileges).
    """
    target.require_free(replace=replace)
    inventory = read_inventory(entry, sealer, vault)
    require_private_key(entry, sealer, vault)
    started = time.monotonic()
    with target.fresh(inventory) as fresh:
        fresh.load(plaintext(part_of(entry, "dump"), sealer, vault, watch=watch))
        loaded = time.monotonic()
        require_equal(entry, source=inventory, restored=fresh.inventory(inventory))
        verified = time.monotonic()
        replaced = fresh.take_place(replace=replace)
    return Restored(
        entry=entry,
        inventory=inventory,
        replaced=replaced,
        restore_seconds=round(loaded - started, 3),
        verify_seconds=round(verified - loaded, 3),
    )


def read_inventory(entry: Entry, sealer: Sealer, vault: Vault) -> Inventory:
    """What the source held at the entry's cut. Raises Corrupted unless it is what the journal summed up."""
    text = b"".join(plaintext(part_of(entry, "inventory"), sealer, vault))
    inventory = records.from_bytes(Inventory, text)
    if inventory.totals != entry.backup.totals:
        raise Corrupted(
            f"the inventory of entry {entry.sequence} is not the one that the journal summed up",
            next_step="choose another entry: pgkeep list",
        )
    return inventory


def require_private_key(entry: Entry, sealer: Sealer, vault: Vault) -> None:
    """A recipient's private key is here: tried on a small part, before hours are spent on the large one.

    Raises ConfigError.
    """
    for _ in plaintext(part_of(entry, "globals"), sealer, vault):
        pass


def plaintext(part: Part, sealer: Sealer, vault: Vault, *, watch: Watch = unwatched) -> Iterator[bytes]:
    """A part's plaintext, from the first place that has it whole. Ends without an error only if all of it was right.

    Raises Corrupted, Unavailable (no place has it), ConfigError (no private key for it here).
    """
    place = whole_copy(ciphertext(part), vault, watch=watch)
    cipher = Meter(vault.read(part.cid, at=place))
    plain = Meter(watch(part.name, sealer.open(cipher)))
    yield from plain
    if not ciphertext(part).is_read_by(cipher) or (plain.size, plain.digest) != (part.plain_size, part.plain_digest):
        raise Corrupted(
            f"{part.name} ({part.cid}) changed at {place.name} while it was read",
            next_step="check that peer's disk, then run it again",
        )


def require_equal(entry: Entry, *, source: Inventory, restored: Inventory) -> None:
    """Raises Corrupted with every difference between what the source held and what came back."""
    different = differences(source=source, restored=restored)
    if different:
        raise Corrupted(
            f"entry {entry.sequence} came back different from its source in {len(different)} places: "
            + "; ".join(different[:10]),
            next_step="nothing was replaced; choose another entry, and keep this one for a look",
        )


def part_of(entry: Entry, name: PartName) -> Part:
    """The entry's part of that name. Raises NotRestorable."""
    part = entry.backup.part(name)
    if part is None:
        raise NotRestorable(f"entry {entry.sequence} has no {name}", next_step="choose another entry: pgkeep list")
    return part
