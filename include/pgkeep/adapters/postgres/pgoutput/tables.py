"""The tables of the stream: what is known of them, and which are changed."""

from collections.abc import Collection, Mapping

from .frames import corrupted
from .messages import LOG, NULL, Relation, TypeName, read_relation, read_row, read_type
from .statements import Table

OWN_SCHEMA = "_pgkeep"


class Tables(dict[bytes, Table | None]):
    """By oid as it stands in the messages, how a table is changed; None: it is one of pgkeep's own, or `ignored`.

    pgoutput describes a relation or type before its first use, in whatever transaction that is, and after changes.
    A table that was never described raises Corrupted. `changed`: as each was at its last change; `reshaped`: one that
    had other columns before.
    """

    def __init__(
        self,
        *,
        codec: str,
        always: Mapping[int, Collection[str]],
        there: Collection[int] | None,
        ignored: Collection[tuple[str, str]],
    ) -> None:
        super().__init__()
        self.changed = dict[int, Relation]()
        self.names = set[tuple[str, str]]()
        self.reshaped: str | None = None
        self._codec, self._always, self._there, self._ignored = codec, always, there, frozenset(ignored)
        self._relations = dict[bytes, Relation]()
        self._types = dict[int, TypeName]()

    def add_relation(self, message: bytes) -> None:
        oid = message[1:5]
        self._relations[oid] = read_relation(message, self._codec)
        self.pop(oid, None)

    def add_type(self, message: bytes) -> None:
        known = read_type(message, self._codec)
        self._types[known.oid] = known

    def log_row(self, message: bytes) -> tuple[str, bytes] | None:
        """Prefix and content if the message inserts a row into _pgkeep.log."""
        relation = self._relations.get(message[1:5])
        if relation is None or (relation.schema, relation.name) != LOG:
            return None
        row, _, _ = read_row(message, 6, len(relation.columns))
        values = dict(zip((column.name for column in relation.columns), row, strict=True))
        prefix, content = values.get("prefix", NULL), values.get("content", NULL)
        if NULL in (prefix, content):
            return None
        return prefix.decode(self._codec, "surrogateescape"), content

    def __missing__(self, oid: bytes) -> Table | None:
        relation = self._relations.get(oid)
        if relation is None:
            raise corrupted(f"relation {int.from_bytes(oid, 'big')} changes and was never described")
        passed_over = relation.schema == OWN_SCHEMA or (relation.schema, relation.name) in self._ignored
        self[oid] = None if passed_over else self._prepared(relation)
        return self[oid]

    def _prepared(self, relation: Relation) -> Table:
        before = self.changed.get(relation.oid, relation)  # not as transactions of other windows show it
        if before.columns != relation.columns:
            self.reshaped = f"{relation.schema}.{relation.name}"
        self.changed[relation.oid] = relation
        self.names.add((relation.schema, relation.name))
        always = self._always.get(relation.oid, ())
        if self._there is not None and relation.oid not in self._there:
            always = [column.name for column in relation.columns]
        return Table(relation, types=self._types, codec=self._codec, always=always)
