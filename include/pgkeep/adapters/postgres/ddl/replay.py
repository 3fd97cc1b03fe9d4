"""The source's DDL, replayed: each command in its place among the rows, or `Inexact`.

How a command is run again:

    DO '..';                             lends the role the rights that it had on the source, if we are a superuser
    SET LOCAL ..                         the session's settings that change what the statement means
    SET LOCAL ROLE ..                    so that owner, default privileges, grantor and "$user" are the same
    SELECT '<the statement>' \\gexec      psql reads nothing in it: no :variables, no semicolons of a BEGIN ATOMIC body
    RESET ROLE;
    DO '..';                             takes the rights back, before anybody else could see them

The caller writes BEGIN and COMMIT around it, and provides for: session_replication_role = replica, client_encoding =
that of the source, the roles of `DdlReplay.roles`, and the database's owner being that of the source.
"""

import re
from collections.abc import Iterator

from postgast import pg_query_pb2 as pg

from pgkeep.ports import Inexact

from .event import END, REWRITE, DdlEvent, DdlObject
from .rules import Replay, fires, refused, replayed
from .text import Statement, messages, split
from .validation import validated

LIST_ITEM = re.compile(r'"((?:[^"]|"")*)"|([^\s,"]+)')
BORDERS = frozenset({pg.TRANS_STMT_BEGIN, pg.TRANS_STMT_START, pg.TRANS_STMT_COMMIT, pg.TRANS_STMT_PREPARE})
"""Statements that neither undo anything nor make a place to go back to."""

LEND_SUPERUSER = """
    IF pg_catalog.current_setting('is_superuser') = 'on'
        AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = {role}) THEN
        LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
        ALTER ROLE {name} SUPERUSER;
        PERFORM pg_catalog.set_config('pgkeep.lent', '-', true);
    END IF;"""
LEND_MEMBERSHIPS = """
    IF pg_catalog.current_setting('is_superuser') = 'on' THEN
        LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
        FOR lent IN SELECT rolname FROM pg_catalog.pg_roles
            WHERE rolname IN ({lenders}) AND NOT pg_catalog.pg_has_role({role}, oid, 'MEMBER') LOOP
            EXECUTE pg_catalog.format('GRANT %I TO %I', lent, {role});
            PERFORM pg_catalog.set_config('pgkeep.lent', pg_catalog.concat(
                pg_catalog.current_setting('pgkeep.lent', true), pg_catalog.format(', %I', lent)), true);
        END LOOP;
    END IF;"""
LEND_DATABASE = """
    IF pg_catalog.current_setting('is_superuser') = 'on'
        AND NOT pg_catalog.has_database_privilege({role}, pg_catalog.current_database(), 'CREATE') THEN
        EXECUTE pg_catalog.format('GRANT CREATE ON DATABASE %I TO %I', pg_catalog.current_database(), {role});
        PERFORM pg_catalog.set_config('pgkeep.lent_database', 'on', true);
    END IF;"""
TAKE_BACK = """
    lent := pg_catalog.current_setting('pgkeep.lent', true);
    IF lent = '-' THEN
        ALTER ROLE {name} NOSUPERUSER;
    ELSIF lent <> '' THEN
        EXECUTE pg_catalog.format('REVOKE %s FROM %I', pg_catalog.substr(lent, 3), {role});
    END IF;
    IF pg_catalog.current_setting('pgkeep.lent_database', true) = 'on' THEN
        EXECUTE pg_catalog.format('REVOKE CREATE ON DATABASE %I FROM %I', pg_catalog.current_database(), {role});
    END IF;
    PERFORM pg_catalog.set_config('pgkeep.lent', '', true);
    PERFORM pg_catalog.set_config('pgkeep.lent_database', '', true);"""


class _Script:
    """One string as it was sent, and how many of its commands have ended."""

    def __init__(self, event: DdlEvent) -> None:
        statements = split(event.query)
        self.text = event.query
        self.commands = [statement for statement in statements if fires(statement)]
        self.ended = 0
        if len(statements) > 1:
            _check_borders(event, statements)

    def next(self) -> Statement | None:
        """The command that has ended now. The same string may have been sent again."""
        if not self.commands:
            return None
        self.ended += 1
        return self.commands[(self.ended - 1) % len(self.commands)]

    @property
    def complete(self) -> bool:
        return not self.commands or self.ended % len(self.commands) == 0


class DdlReplay:
    """The DDL of one window, in the order of the stream.

    roles       whom the replay names: the target must have them before it begins
    made        tables that commands made or altered, as schema.table
    validated   names of tables at whose rows a command looked
    encoding    Python's codec for the database's encoding, in which the SQL is written
    """

    def __init__(self, *, encoding: str = "utf-8") -> None:
        self.roles = set[str]()
        self.made, self.validated = set[str](), set[str]()
        self._encoding = encoding
        self._xid: int | None = None
        self._scripts = dict[str, _Script]()
        self._noted: dict[bool, list[DdlEvent]] = {True: [], False: []}

    def statement(self, event: DdlEvent) -> bytes:
        """SQL that does here, in a transaction, what the source did; empty: nothing to do. Raises Inexact."""
        if event.xid != self._xid:
            self.finish()
            self._xid = event.xid
        if event.event != END:
            self._noted[event.nested].append(event)
            return b""
        # Only the command itself may take what was said of it: others may run while it ends.
        noted, self._noted[event.nested] = self._noted[event.nested], []
        return self._replayed(event, noted)

    def finish(self) -> None:
        """The window ends here, or a transaction. Raises Inexact if a string's commands have not all ended."""
        incomplete = next((script for script in self._scripts.values() if not script.complete), None)
        self._scripts.clear()
        self._noted = {True: [], False: []}
        if incomplete:
            raise Inexact(
                f"of {len(incomplete.commands)} DDL statements sent as one string, transaction {self._xid} shows "
                f"{incomplete.ended}: event triggers were off, or fired twice"
            )

    def _replayed(self, event: DdlEvent, noted: list[DdlEvent]) -> bytes:
        dropped = [o for drop in noted for o in drop.objects if o.original and drop.event != REWRITE]
        statement = self._next(event)
        if _is_nobodys(event, dropped):
            return b""
        if statement is None:
            raise refused(
                event,
                "it ran inside a function, procedure, DO block or trigger, of which only the outer text is known. "
                "Instead: the statement by itself",
            )
        rewrites = _bits(noted)
        replay = replayed(statement, event, rewrites=rewrites)
        if not statement.is_tagged(event.tag):
            raise refused(event, "its text is another command")
        self.roles |= {event.current_user, *_roles(statement)}
        self.made |= {str(o.identity).replace('"', "") for o in event.objects if o.kind == "table"}
        self.validated |= validated(statement)
        return _sql(event, replay, grants=statement.kind == "GrantStmt").encode(self._encoding) if replay else b""

    def _next(self, event: DdlEvent) -> Statement | None:
        if event.nested:
            return None
        if event.query not in self._scripts:
            self._scripts[event.query] = _Script(event)
        return self._scripts[event.query].next()


def _check_borders(event: DdlEvent, statements: tuple[Statement, ...]) -> None:
    """Raises Inexact unless all commands of a string have the same outcome, and each shows."""
    places = [i for i, statement in enumerate(statements) if fires(statement)]
    for i, statement in enumerate(statements):
        if isinstance(statement.node, pg.TransactionStmt):
            inside = bool(places) and places[0] < i < places[-1]
            if inside or statement.node.kind not in BORDERS:
                raise refused(
                    event,
                    f"{statement.text} amid DDL in one string: what took effect is not known. Instead: one at a time",
                )
        if statement.kind == "ReindexStmt":
            raise refused(event, "REINDEX amid DDL in one string. Instead: REINDEX by itself")


def _is_nobodys(event: DdlEvent, dropped: list[DdlObject]) -> bool:
    """Whether nothing happened, or only to what is no part of a backup. Raises Inexact if to both."""
    concerned = list(event.objects) or dropped
    if not concerned:
        made_nothing = event.tag.startswith("CREATE ") or event.tag == "SELECT INTO"
        # Nested: IF EXISTS, or what REFRESH .. CONCURRENTLY does with temporary tables of its own.
        return made_nothing or (event.nested and event.tag != "DROP OWNED")
    if any(o.of_our_publication for o in concerned):
        raise refused(event, "somebody has changed what pgkeep publishes")
    private = [o.temporary or o.ours for o in concerned]
    if any(private) and not all(private):
        raise refused(event, "it concerns temporary objects, or pgkeep's own, together with others")
    return all(private)


def _bits(noted: list[DdlEvent]) -> int:
    bits = 0
    for event in noted:
        for rewritten in event.objects if event.event == REWRITE else ():
            bits |= rewritten.reason
    return bits


def _roles(statement: Statement) -> Iterator[str]:
    for message in messages(statement.node):
        if isinstance(message, pg.RoleSpec) and message.roletype == pg.ROLESPEC_CSTRING:
            yield message.rolename


def _sql(event: DdlEvent, replay: Replay, *, grants: bool) -> str:
    lent = list(_lend(event, grants=grants))
    lines = [
        *lent,
        *(f"SET LOCAL {name} TO {_literal(value)};" for name, value in _settings(event)),
        f"SET LOCAL search_path TO {_path(event.search_path)};",
        f"SET LOCAL ROLE {_quoted(event.current_user)};",
        f"SELECT {_literal(replay.text)}{_condition(replay)} \\gexec",
        "RESET ROLE;",
        *([_do(TAKE_BACK, event)] if lent else []),
    ]
    return "\n".join(lines) + "\n"


def _lend(event: DdlEvent, *, grants: bool) -> Iterator[str]:
    """GRANT records as grantor the role whose rights are used, so it gets only rights that need no SET ROLE."""
    if event.superuser:
        yield _do(LEND_SUPERUSER, event)
        return
    lenders = [role for role, inherits in event.memberships.items() if inherits or not grants]
    lenders = [role for role in lenders if not role.startswith("pg_")]
    if lenders:
        yield _do(LEND_MEMBERSHIPS.replace("{lenders}", ", ".join(map(_literal, sorted(lenders)))), event)
    if event.may_create and event.tag.endswith(("SCHEMA", "PUBLICATION")):
        yield _do(LEND_DATABASE, event)


def _do(body: str, event: DdlEvent) -> str:
    body = body.replace("{role}", _literal(event.current_user)).replace("{name}", _quoted(event.current_user))
    return f"DO {_literal(f'DECLARE lent pg_catalog.text; BEGIN{body} END')};"


def _settings(event: DdlEvent) -> Iterator[tuple[str, str]]:
    yield from ((name, value) for name, value in event.settings.items() if name != "standard_conforming_strings")
    yield "TimeZone", event.timezone
    yield "default_tablespace", ""


def _condition(replay: Replay) -> str:
    if replay.unpopulated is None:
        return ""
    view = f"{_literal(replay.unpopulated)}::pg_catalog.regclass"
    return f" FROM pg_catalog.pg_class WHERE oid = {view} AND NOT relispopulated"


def _path(setting: str) -> str:
    """A search_path as SET wants it: unquoted names are folded, as PostgreSQL does when it reads the setting."""
    names = [plain.lower() or inner.replace('""', '"') for inner, plain in LIST_ITEM.findall(setting)]
    return ", ".join(map(_literal, names)) or "''"


def _literal(text: str) -> str:
    """With standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
