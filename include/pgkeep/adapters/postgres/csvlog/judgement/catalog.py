"""What a database is made of, as far as it decides whether a statement means the same when it is run again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

Name = tuple[str, str]
"""A relation's schema and name."""
Default = Literal["none", "constant", "computed"]
Collation = Literal["bytes", "equal", "loose"]
"""`bytes`: texts compare as their bytes; `equal`: only equality is that of bytes, the order is the machine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column. `type`: its name in pg_type; `system`: whether it is one of PostgreSQL's own; `enum`: of labels.

    `modifier`: as in pg_attribute, -1 for none. `immutable`: its type reads a text the same way in every session.
    """

    name: str
    type: str
    system: bool = True
    enum: bool = False
    modifier: int = -1
    immutable: bool = True
    default: Default = "none"
    generated: bool = False
    collation: Collation = "equal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation that is not temporary. `kind`: as in pg_class.

    `key`: the columns of its primary key, if that holds at every moment. `unique`: further keys or exclusions.
    `deferrable`: a key that may be broken for a while. `triggers`: for which commands users' triggers may fire, there
    or where the changes are brought back. `restless`: reading it may call what writes. `calling`: a constraint, index
    or generated column calls a volatile function of users; `calling_defaults`: a default does. `on_delete`,
    `on_update`: rows that refer to it are then changed; the latter if one of these columns is. `family`: its rows are
    seen through another table, or others' through it (`parent`).
    """

    schema: str
    name: str
    kind: str = "r"
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    unique: bool = False
    deferrable: bool = False
    triggers: frozenset[str] = frozenset()
    rules: bool = False
    row_security: bool = False
    restless: bool = False
    calling: bool = False
    calling_defaults: bool = False
    family: bool = False
    parent: bool = False
    unlogged: bool = False
    of_extension: bool = False
    on_delete: bool = False
    on_update: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """A database at a cut. `codec`: Python's name of its encoding, None where only ASCII is certain.

    `relations`: those of users, extensions and pgkeep. `others`: names of whatever else is no table: indexes, types of
    rows, sequences, by name. `system`: of pg_catalog and information_schema. `temporary`: in any session; `busy`: those
    of them that may write elsewhere when they are read or written (views, triggers, defaults).
    `functions`: PostgreSQL's own; `users_functions`: all others, `volatile`: those that may write.
    `operators`: names of users' operators on PostgreSQL's own types; `volatile_operators`: of any that may write.
    `types`: names of users' types. `odd_casts`: users have casts from and to PostgreSQL's own types.
    `volatile_casts`: a cast or a domain may write. `rounding`: a setting makes the log round floats.
    """

    codec: str | None = "utf-8"
    relations: Mapping[Name, Relation]
    others: frozenset[str] = frozenset()
    system: frozenset[str] = frozenset()
    temporary: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    users_functions: frozenset[str] = frozenset()
    volatile: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()
    volatile_operators: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    odd_casts: bool = False
    volatile_casts: bool = False
    rounding: bool = False
    _named: dict[str, list[Relation]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named = dict[str, list[Relation]]()
        for relation in self.relations.values():
            named.setdefault(relation.name, []).append(relation)
        object.__setattr__(self, "_named", named)

    def named(self, name: str) -> Collection[Relation]:
        """The relations of that name, in all schemas."""
        return self._named.get(name, ())

    def resolve(self, schema: str | None, name: str, *, temporary: Collection[str] = ()) -> Relation | None:
        """The relation that a statement means by that name whatever its session's search_path; None: not certain.

        `temporary`: further names that temporary tables may have.
        """
        if schema:
            return self.relations.get((schema, name))
        found = self.named(name)
        hidden = name in self.system or name in self.temporary or name in temporary or name in self.others
        return next(iter(found)) if len(found) == 1 and not hidden else None
