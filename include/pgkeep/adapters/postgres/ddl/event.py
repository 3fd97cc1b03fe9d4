"""What the source's event triggers say of a command that changed the schema."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pgkeep.model import Instant, instant
from pgkeep.ports import Inexact

PG_CLASS = 1259
"""The oid of the catalog of tables, on every server."""
END, DROP, REWRITE = "ddl_command_end", "sql_drop", "table_rewrite"
TEMPORARY = re.compile(r"(?:^| on | for )pg_temp(?:_\d+)?\.")
OURS = re.compile(r"(?:^| on | for )_pgkeep(?:\.|$)| in publication pgkeep$")

SETTINGS: Mapping[str, str] = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "timezone_abbreviations": "Default",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "default_table_access_method": "heap",
    "standard_conforming_strings": "on",
}
"""Settings that change what a statement means, and what they are if the source does not say."""

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class DdlObject:
    """An object that a command made, changed or dropped; of a rewritten table the `reason`, PostgreSQL's bits.

    address    the oids of its catalog and of the object itself, as pg_depend has them; of GRANT there is none
    table      such an address, of the table that it was a part of before it was dropped
    """

    address: tuple[int, int] | None = None
    table: tuple[int, int] | None = None
    kind: str = ""
    identity: str | None = None
    original: bool = True
    temporary: bool = False
    reason: int = 0

    @classmethod
    def of(cls, found: Json) -> "DdlObject":
        identity = found.get("object_identity")
        name = None if identity is None else str(identity)
        return cls(
            address=_address(found.get("class"), found.get("id")),
            table=_address(PG_CLASS, found.get("table")),
            kind=str(found.get("object_type", "")).lower(),
            identity=name,
            original=bool(found.get("original", True)),
            temporary=bool(found.get("is_temporary")) or bool(name and TEMPORARY.search(name)),
            reason=int(str(found.get("reason", 0))),
        )

    @property
    def of_our_publication(self) -> bool:
        """Whether it is our publication, or a line of its list."""
        return (self.kind, self.identity) == ("publication", "pgkeep") or bool(
            self.identity and self.identity.endswith(" in publication pgkeep")
        )

    @property
    def ours(self) -> bool:
        """Whether it belongs to pgkeep itself: its schema, its publication, what is in them."""
        if self.kind == "publication":
            return self.identity == "pgkeep"
        return bool(self.identity and OURS.search(self.identity))


@dataclass(frozen=True, slots=True, kw_only=True)
class DdlEvent:
    """One `pgkeep:ddl` message: what an event trigger saw, and the session's state that gives the text its meaning.

    nested          the command ran inside a function, a DO block or a trigger: `query` is the outer text
    superuser       whether the current role was one
    memberships     the roles that it is a member of, and whether it has their rights without SET ROLE
    may_create      whether it has CREATE on the database
    temporary       names of the session's temporary relations
    domain_defaults whether any domain of the database has a default
    began           when the client sent it
    snapshot        which transactions it saw in the end
    volatile        whether any cast or operator of the users' own calls a volatile function
    """

    event: str
    tag: str
    query: str
    search_path: str
    current_user: str
    timezone: str
    xid: int
    objects: tuple[DdlObject, ...]
    nested: bool
    superuser: bool
    memberships: Mapping[str, bool]
    may_create: bool
    temporary: frozenset[str]
    domain_defaults: bool
    volatile: bool
    began: Instant
    snapshot: str
    settings: Mapping[str, str]

    @classmethod
    def parse(cls, content: bytes, *, encoding: str = "utf-8") -> "DdlEvent":
        """Reads a message; `encoding`: Python's codec for the database's. Raises Inexact if it is not understood."""
        try:
            found = json.loads(content.decode(encoding))
            return cls._of(found)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Inexact(
                f"what the source's event triggers say of a DDL statement is not understood ({type(error).__name__}: "
                f"{error}). They may be older than this pgkeep: pgkeep init brings them up to date"
            ) from error

    @classmethod
    def _of(cls, found: Json) -> "DdlEvent":
        settings, temporary, memberships = found.get("set") or {}, found.get("tmp") or [], found.get("mem") or {}
        if not isinstance(settings, dict) or not isinstance(temporary, list) or not isinstance(memberships, dict):
            raise TypeError("`set`, `tmp` or `mem` has another shape")
        if found["ev"] not in {END, DROP, REWRITE} or not isinstance(found["q"], str):
            raise ValueError("no such event, or without a text")
        return cls(
            event=str(found["ev"]),
            tag=str(found["tag"]),
            query=found["q"],
            search_path=str(found["sp"]),
            current_user=str(found["cu"]),
            timezone=str(found["tz"]),
            xid=int(str(found["tx"])),
            objects=_objects(found["o"]),
            nested=_flag(found["nested"]),
            superuser=_flag(found["sup"]),
            memberships={str(name): bool(inherits) for name, inherits in memberships.items()},
            may_create=bool(found.get("dbc")),
            temporary=frozenset(map(str, temporary)),
            domain_defaults=bool(found.get("dd", True)),
            volatile=bool(found.get("vo", True)),
            began=instant(datetime.fromisoformat(str(found["began"]))),
            snapshot=str(found["seen"]),
            settings={**SETTINGS, **{str(name): str(value) for name, value in settings.items() if name in SETTINGS}},
        )

    @property
    def subject(self) -> str:
        """What was done to what, for people."""
        named = [o for o in self.objects if o.identity]
        meant = [o for o in named if self.tag.lower().endswith(o.kind)] or named
        return f"{self.tag} {meant[0].identity}" if meant else self.tag


def _objects(found: object) -> tuple[DdlObject, ...]:
    if found is None:
        return ()
    if not isinstance(found, list):
        raise TypeError("`o` is no list")
    return tuple(map(DdlObject.of, found))


def _address(catalog: object, found: object) -> tuple[int, int] | None:
    return None if catalog is None or found is None else (int(str(catalog)), int(str(found)))


def _flag(found: object) -> bool:
    if not isinstance(found, bool):
        raise TypeError("`nested` or `sup` is neither true nor false")
    return found
