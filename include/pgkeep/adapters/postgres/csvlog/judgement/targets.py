"""The relations that a statement writes: which are kept, and which are nobody's business."""

from collections.abc import Collection
from dataclasses import dataclass, field

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg

from .catalog import Catalog, Name, Relation
from .doubtful import Doubtful
from .effects import Reader
from .writes import check_effects


@dataclass(slots=True, kw_only=True)
class Targets:
    """Relations by the names that statements use. `ignored`: those whose rows are not kept.

    `temporary`: names that temporary tables may have, besides those of the catalog.
    """

    catalog: Catalog
    ignored: Collection[Name]
    temporary: set[str] = field(default_factory=set)

    @property
    def reader(self) -> Reader:
        return Reader(catalog=self.catalog, temporary=frozenset(self.temporary))

    def resolved(self, node: pg.RangeVar) -> Relation | None:
        """The relation that is certainly meant."""
        if node.catalogname or (self.catalog.codec != "utf-8" and not node.relname.isascii()):
            return None
        return self.catalog.resolve(node.schemaname or None, node.relname, temporary=self.temporary)

    def is_kept(self, node: pg.RangeVar) -> bool:
        """Whether its rows may be of a table that is kept."""
        relation = self.resolved(node)
        return (relation.schema, relation.name) not in self.ignored if relation else not self.is_temporary(node)

    def is_free(self, name: str) -> bool:
        """Whether no relation that lasts has that name, so that only a temporary one can be meant by it."""
        return not (self.catalog.named(name) or name in self.catalog.system | self.catalog.others)

    def is_temporary(self, node: pg.RangeVar) -> bool:
        """Whether it certainly is a temporary table, whose writing has no effects elsewhere."""
        name, given = str(node.relname), str(node.schemaname)
        about = name in self.temporary or name in self.catalog.temporary
        if not about or name in self.catalog.busy or given not in {"", "pg_temp"}:
            return False
        return given == "pg_temp" or self.is_free(name)

    def check_unkept(self, node: Message, written: pg.RangeVar, *verbs: str) -> None:
        """Raises Doubtful if a write to a table that is not kept has effects elsewhere."""
        if relation := self.resolved(written):
            if relation.parent:
                raise Doubtful("rows of other tables may be written, too")
            for verb in verbs:
                check_effects(relation, verb)
            if relation.calling_defaults and "INSERT" in verbs:
                raise Doubtful("a default calls a volatile function")
            if relation.on_update and "UPDATE" in verbs:
                raise Doubtful("rows of another table that refer to it are changed, too")
        self.reader.check(node, but=[written.location])
