"""Whether running a statement of the log again gives the same, told from its text and the schema.

Only a narrow class does: literals into columns, in rows that literals name, in tables where nothing else happens then.
Whatever is not known to be of that class is `Doubt`, and what writes nothing that is kept is `Exact` without SQL.
What is not known of a session is in values.py.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

import postgast
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from pgkeep.adapters.postgres.csvlog.model import Doubt, Exact, Judgement

from .catalog import Catalog, Name
from .commands import check_command
from .doubtful import Doubtful
from .literals import check_quotes, template
from .targets import Targets
from .writes import VERBS, Dml, described, spliced, write

NOTHING = Exact(sql=b"", writes=())
MOST_TEMPLATES = 20_000
END = b"\n;\n"
"""What stands between the statements of one string: before the semicolon a comment may end only with its line."""


KNOWN = re.compile(
    rb"SELECT set_config\(name, 'view, foreign-table', false\) FROM pg_settings "
    rb"WHERE name = 'restrict_nonsystem_relation_kind'"
    rb"|DO 'BEGIN RAISE LOG ''pgkeep cut %'', ''[0-9a-f]{32} [12]''; END'"
)
"""What pg_dump says to its own session, and our own marks of a cut: harmless, as anything like them is not."""


SETS = b"set_config"
"""The one function of which the values decide whether it is harmless."""


@dataclass(slots=True, kw_only=True)
class Judge:
    """Judges the statements of a window, in the order of the log. `ignored`: tables whose rows are not kept.

    `temporary`: names that temporary tables may have, besides those of the catalog; CREATE TEMP TABLE adds to them.
    """

    catalog: Catalog
    ignored: Collection[Name] = ()
    temporary: set[str] = field(default_factory=set)
    _targets: Targets = field(init=False, repr=False)
    _verdicts: dict[bytes, Judgement] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._targets = Targets(catalog=self.catalog, ignored=self.ignored, temporary=self.temporary)

    def judge(self, sql: bytes, *, bound: bool = True) -> Judgement:
        """The verdict on what was sent as one string. `bound`: its literals may have been parameters."""
        if KNOWN.fullmatch(sql):
            return NOTHING
        try:
            text = self._decoded(sql)
            check_quotes(text)
            known = template(text)
            if known is not None and known in self._verdicts:
                return self._verdicts[known]
            return self._new(text, known, bound=bound)
        except Doubtful as doubt:
            return Doubt(reason=doubt.reason)

    def _new(self, text: bytes, known: bytes | None, *, bound: bool) -> Judgement:
        statements, temporary = _parsed(text), len(self.temporary)
        nodes = [unwrap_node(statement.stmt) for statement in statements]
        _check_transactions(nodes)
        verdict = self._together(
            [
                self._single(node, _until(text, raw), begin=raw.stmt_location, bound=bound)
                for node, raw in zip(nodes, statements, strict=True)
            ]
        )
        if len(self.temporary) > temporary:
            self._verdicts.clear()  # what was doubtful, since a name was not known, may not be so any more
        if known is not None and all(isinstance(node, pg.SelectStmt) for node in nodes) and SETS not in known.lower():
            self._remember(known, verdict)
        return verdict

    def _remember(self, known: bytes, verdict: Judgement) -> None:
        """What a SELECT does not depend on the values in it."""
        if len(self._verdicts) >= MOST_TEMPLATES:
            self._verdicts.clear()
        self._verdicts[known] = verdict

    def _decoded(self, sql: bytes) -> bytes:
        """The text in UTF-8."""
        if sql.isascii():
            return sql
        try:
            text = sql.decode(self.catalog.codec or "ascii")
            if text.encode(self.catalog.codec or "ascii") == sql:
                return text.encode()
        except UnicodeError:
            pass
        raise Doubtful("a text that is not in the database's encoding, as far as pgkeep knows it")

    def _encoded(self, text: bytes) -> bytes:
        return text.decode().encode(self.catalog.codec or "ascii")

    def _together(self, verdicts: list[Judgement]) -> Judgement:
        exact = [verdict for verdict in verdicts if isinstance(verdict, Exact)]
        if len(exact) < len(verdicts):
            return next(verdict for verdict in verdicts if isinstance(verdict, Doubt))
        if len(exact) == 1:
            return exact[0]
        texts = END.join(verdict.sql for verdict in exact if verdict.sql)
        return Exact(sql=texts, writes=tuple(one for verdict in exact for one in verdict.writes))

    def _single(self, node: Message, text: bytes, *, begin: int, bound: bool) -> Judgement:
        if type(node) in VERBS:
            return self._written(node, text, begin=begin, bound=bound)
        check_command(node, self._targets)
        return NOTHING

    def _written(self, node: Dml, text: bytes, *, begin: int, bound: bool) -> Judgement:
        targets = self._targets
        relation = targets.resolved(node.relation)
        try:
            if not targets.is_kept(node.relation):
                updates = ("UPDATE",) if isinstance(node, pg.InsertStmt) and node.HasField("on_conflict_clause") else ()
                targets.check_unkept(node, node.relation, VERBS[type(node)], *updates)
                return NOTHING
            done = write(node, relation, text, self.catalog, bound=bound)
            return Exact(sql=self._encoded(spliced(node, done, text, begin=begin)), writes=(done,))
        except Doubtful as doubt:
            raise Doubtful(f"{described(node, relation)}: {doubt.reason}") from None


def _parsed(text: bytes) -> list[pg.RawStmt]:
    try:
        return list(postgast.parse(text.decode()).stmts)
    except postgast.PgQueryError:
        raise Doubtful("a text that the grammar of this version does not know") from None
    except DecodeError:
        raise Doubtful("a text that is nested too deeply") from None


def _until(text: bytes, raw: pg.RawStmt) -> bytes:
    """The text up to the statement's end: places within it are those of the tree."""
    return text[: raw.stmt_location + raw.stmt_len] if raw.stmt_len else text


def _check_transactions(nodes: list[Message]) -> None:
    if not any(isinstance(node, pg.TransactionStmt) for node in nodes):
        return
    if len(nodes) > 1:
        raise Doubtful("several statements in one string, with BEGIN or COMMIT among them")
    if "PREPARED" in pg.TransactionStmtKind.Name(nodes[0].kind) or nodes[0].kind == pg.TRANS_STMT_PREPARE:
        raise Doubtful("two-phase commit")
    raise Doubtful("BEGIN, COMMIT, ROLLBACK or SAVEPOINT, written so that it was not known as one")
