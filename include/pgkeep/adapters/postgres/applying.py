"""What must be so in a database while changes are applied to it, and what follows from the tables afterwards."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

from pgkeep.errors import ConfigError

from . import reasons
from .gate import Session, literal, quoted

log = logging.getLogger(__name__)

REPLICA = "SET session_replication_role = 'replica'"
# Triggers that fire even in the replica role: what they did on the source is in the changes already.
LOUD = """
    SELECT n.nspname, c.relname, t.tgname, t.tgenabled FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.tgenabled IN ('A', 'R') AND NOT t.tgisinternal ORDER BY 1, 2, 3
"""
LOUD_RULES = """
    SELECT n.nspname, c.relname, r.rulename, r.ev_enabled FROM pg_rewrite r
    JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.ev_enabled IN ('A', 'R') AND c.relkind IN ('r', 'p') ORDER BY 1, 2, 3
"""
LOUD_EVENTS = "SELECT evtname, evtenabled FROM pg_event_trigger WHERE evtenabled IN ('A', 'R') ORDER BY 1"
STILL = """
    SELECT FROM pg_trigger WHERE tgrelid = to_regclass({relation}) AND tgname = {trigger} AND tgenabled = 'O'
"""
STILL_RULE = """
    SELECT FROM pg_rewrite WHERE ev_class = to_regclass({relation}) AND rulename = {rule} AND ev_enabled = 'O'
"""
STILL_EVENT = "SELECT FROM pg_event_trigger WHERE evtname = {trigger} AND evtenabled = 'O'"
HOW = {"A": "ALWAYS", "R": "REPLICA"}
# The ones that others are made of first: how deep each stands upon others.
MATERIALISED = """
    WITH RECURSIVE depends (oid, on_oid) AS (
        SELECT DISTINCT r.ev_class, d.refobjid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class),
    depth (oid, deep) AS (
        SELECT oid, 0 FROM pg_class WHERE relkind IN ('m', 'v')
        UNION SELECT d.oid, deep + 1 FROM depends d JOIN depth ON depth.oid = d.on_oid)
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN (SELECT oid, max(deep) AS deep FROM depth GROUP BY oid) d ON d.oid = c.oid
    WHERE c.relkind = 'm' AND c.relispopulated ORDER BY d.deep, c.oid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silenced:
    """A trigger or rule that does not fire in the replica role for now.

    `again`: the statement by which it does; `asked`: whether it is still there as we left it.
    """

    again: str
    asked: str


def silence(connection: Session) -> list[Silenced]:
    """No trigger or rule fires while changes are applied, nor counts as switched off.

    Raises ConfigError, psycopg.Error.
    """
    try:
        connection.execute(REPLICA)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"role {connection.info.user} may not apply changes: {error.diag.message_primary}",
            next_step=f"as a superuser (15 and newer): GRANT SET ON PARAMETER session_replication_role TO "
            f"{connection.info.user}; or restore as a superuser, or only a full backup, by its `entry N`",
        ) from error
    found = list[Silenced]()
    for schema, table, name, how in connection.execute(LOUD).fetchall():
        of, trigger = quoted(str(schema), str(table)), quoted(str(name))
        connection.execute(f"ALTER TABLE {of} ENABLE TRIGGER {trigger}")
        again = f"ALTER TABLE {of} ENABLE {HOW[str(how)]} TRIGGER {trigger}"
        asked = STILL.format(relation=literal(of), trigger=literal(str(name)))
        found.append(Silenced(again=again, asked=asked))
    for schema, table, name, how in connection.execute(LOUD_RULES).fetchall():
        of, rule = quoted(str(schema), str(table)), quoted(str(name))
        connection.execute(f"ALTER TABLE {of} ENABLE RULE {rule}")
        again = f"ALTER TABLE {of} ENABLE {HOW[str(how)]} RULE {rule}"
        asked = STILL_RULE.format(relation=literal(of), rule=literal(str(name)))
        found.append(Silenced(again=again, asked=asked))
    for name, how in connection.execute(LOUD_EVENTS).fetchall():
        trigger = quoted(str(name))
        connection.execute(f"ALTER EVENT TRIGGER {trigger} ENABLE")
        again = f"ALTER EVENT TRIGGER {trigger} ENABLE {HOW[str(how)]}"
        found.append(Silenced(again=again, asked=STILL_EVENT.format(trigger=literal(str(name)))))
    return found


def wake(connection: Session, silenced: Iterable[Silenced]) -> None:
    """They fire again as before, but for those that the source itself has dropped, or switched to something else."""
    for trigger in silenced:
        if connection.execute(trigger.asked).fetchone():
            connection.execute(trigger.again)


def refresh(connection: Session) -> None:
    """Computes the materialised views anew that were filled, those first upon which others stand.

    One whose query fails, which is no reason to go without the tables, stays as it was at the full backup.
    """
    for schema, name in connection.execute(MATERIALISED).fetchall():
        view = quoted(str(schema), str(name))
        try:
            connection.execute(f"REFRESH MATERIALIZED VIEW {view}")
        except (psycopg.DataError, psycopg.ProgrammingError, psycopg.IntegrityError) as error:
            why = reasons.with_state(error.sqlstate or "", error.diag.message_primary or "")
            log.warning("%s shows what it did at the full backup: %s", view, why)
