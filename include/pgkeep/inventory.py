"""What a database holds at a cut: the measure by which a restored copy is compared with its source.

An inventory is stored beside the dump as a part of its own, so that the journal stays small whatever the number of
tables. Row fingerprints are order-free sums of hashes over each row's text: they prove equality against accidents,
not against somebody who may choose the rows.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from pgkeep import records
from pgkeep.model import Cut, Digest, Totals

V = TypeVar("V", "Table", "SequenceState")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: `fingerprint` is the sum over its rows of hashtextextended(row text, 0), as decimal text."""

    schema: str
    name: str
    rows: int
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.rows} rows, fingerprint {self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableName:
    """A table, by name only."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceState:
    """One sequence: the value it stands at, and whether that value was already handed out."""

    schema: str
    name: str
    last_value: int
    is_called: bool

    def __str__(self) -> str:
        return f"{self.last_value} ({'used' if self.is_called else 'not used yet'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjects:
    """All large objects. `fingerprint` is None where the role may not read their pages (then only counted)."""

    count: int
    fingerprint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A right on the database itself; an empty `grantee` is PUBLIC."""

    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`ALTER DATABASE .. SET`, or `ALTER ROLE .. IN DATABASE .. SET` where `role` is not None. `value`: name=value."""

    role: str | None
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What CREATE DATABASE needs to make a database of the same nature; `provider`: libc, icu or builtin."""

    owner: str
    encoding: str
    provider: str
    collate: str
    ctype: str
    locale: str | None
    comment: str | None
    default_grants: bool
    grants: tuple[Grant, ...]
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One database at one cut. `roles`: those that own or may use something in it; `ignored`: tables without rows."""

    dbname: str
    server_version: int
    cut: Cut
    properties: Properties
    roles: tuple[str, ...]
    ignored: tuple[str, ...]
    tables: tuple[Table, ...]
    sequences: tuple[SequenceState, ...]
    large_objects: LargeObjects

    @property
    def totals(self) -> Totals:
        """The inventory in a nutshell, for the journal."""
        digest = hashlib.sha256()
        for record in (*self.tables, *self.sequences, self.large_objects):
            digest.update(records.to_bytes(record))
        return Totals(
            tables=len(self.tables),
            rows=sum(table.rows for table in self.tables),
            sequences=len(self.sequences),
            large_objects=self.large_objects.count,
            fingerprint=Digest(digest.hexdigest()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What is known anew at the end of a window of changes.

    `tables`: those that were measured again. `unmeasured`: changed as well (all others, if `all_unmeasured`), but not
    measured: too large for every hour. `properties` and `roles` as in the inventory.
    """

    cut: Cut
    properties: Properties
    roles: tuple[str, ...]
    tables: tuple[Table, ...]
    unmeasured: tuple[TableName, ...]
    all_unmeasured: bool
    sequences: tuple[SequenceState, ...]


def updated(inventory: Inventory, update: Update) -> Inventory:
    """The inventory after a window; tables of which nothing certain is known any more are left out of it."""
    again = {(t.schema, t.name) for t in update.tables} | {(t.schema, t.name) for t in update.unmeasured}
    kept = () if update.all_unmeasured else (t for t in inventory.tables if (t.schema, t.name) not in again)
    return replace(
        inventory,
        cut=update.cut,
        properties=update.properties,
        roles=tuple(sorted({*inventory.roles, *update.roles})),
        tables=tuple(sorted((*kept, *update.tables), key=lambda table: (table.schema, table.name))),
        sequences=update.sequences,
    )


def differences(
    *, source: Inventory, restored: Inventory, partly: bool = False, stopped: bool = False
) -> tuple[str, ...]:
    """What a person would call different between the two, one line each; empty when they hold the same.

    `partly`: tables that `source` does not have are passed over, for they were not measured there. `stopped`: so are
    sequences that only one of them has: those of `source` are those of a later moment.
    """
    tables = _by_name(source.tables)
    came_back = {key: table for key, table in _by_name(restored.tables).items() if key in tables or not partly}
    return (
        *_compare("table", tables, came_back),
        *_compare("sequence", *_sequences(source, restored, of_both=stopped)),
        *_large_objects(source.large_objects, restored.large_objects),
    )


def _sequences(
    source: Inventory, restored: Inventory, *, of_both: bool
) -> Iterator[dict[tuple[str, str], SequenceState]]:
    ours, theirs = _by_name(source.sequences), _by_name(restored.sequences)
    both = ours.keys() & theirs.keys() if of_both else ours.keys() | theirs.keys()
    yield {key: state for key, state in ours.items() if key in both}
    yield {key: state for key, state in theirs.items() if key in both}


def _by_name(items: tuple[V, ...]) -> dict[tuple[str, str], V]:
    return {(item.schema, item.name): item for item in items}


def _compare(what: str, source: Mapping[tuple[str, str], V], restored: Mapping[tuple[str, str], V]) -> Iterator[str]:
    for key in sorted(source.keys() | restored.keys()):
        ours, theirs = source.get(key), restored.get(key)
        if ours != theirs:
            yield f"{what} {'.'.join(key)}: source {ours or 'has none'}; restored {theirs or 'has none'}"


def _large_objects(source: LargeObjects, restored: LargeObjects) -> Iterator[str]:
    if source.count != restored.count:
        yield f"large objects: source {source.count}; restored {restored.count}"
    elif None not in (source.fingerprint, restored.fingerprint) and source.fingerprint != restored.fingerprint:
        yield "large objects: their contents differ"
