"""Which DDL is replayed, and as what: without a server."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.adapters.postgres.ddl import DdlEvent, DdlReplay
from pgkeep.adapters.postgres.ddl import rules as ddl_rules
from pgkeep.adapters.postgres.ddl.text import MODIFIERS, Statement, split
from pgkeep.ports import Inexact

PAGE = Path(__file__).parents[2] / "docs" / "ddl.md"
ROW = re.compile(r"^\| (.+) \| (carried|nothing to carry|a full backup) \|$", re.MULTILINE)
TABLE = {"object_type": "table", "object_identity": "public.t"}


def event(query: str, *, tag: str = "CREATE TABLE", ev: str = "ddl_command_end", **more: object) -> DdlEvent:
    return DdlEvent.parse(message(query, tag=tag, ev=ev, **more))


def message(query: object, **more: object) -> bytes:
    found = {
        "ev": "ddl_command_end",
        "tag": "CREATE TABLE",
        "q": query,
        "sp": '"$user", public',
        "cu": "alice",
        "tz": "UTC",
        "tx": 7,
        "began": "2026-01-01T00:00:00+00:00",
        "seen": "8:8:",
        "o": [TABLE],
        "nested": False,
        "sup": False,
        "dd": False,
        "vo": False,
    }
    return json.dumps(found | more).encode()


def replayed(query: str, **more: object) -> str:
    replay = DdlReplay()
    sql = replay.statement(event(query, **more)).decode()  # type: ignore[arg-type]
    replay.finish()
    return sql


def statement_in(sql: str) -> str:
    """What psql gets for \\gexec."""
    found = re.search(r"^SELECT '((?:[^']|'')*)'.* \\gexec$", sql, re.MULTILINE)
    assert found
    return found[1].replace("''", "'")


# --- the page -------------------------------------------------------------------------------------------------------


def examples() -> list[tuple[str, str]]:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    found = [(sql.replace("\\|", "|"), verdict) for text, verdict in rows for sql in re.findall("`([^`]+)`", text)]
    return [(sql, verdict) for sql, verdict in found if not sql.startswith("IF [")]


def tagged(sql: str) -> str:
    """The tag as far as it matters: the first words."""
    words = [word for word in sql.split()[:3] if word not in MODIFIERS - {"DEFAULT"}]
    return words[0] if words[0] in {"GRANT", "REVOKE", "COMMENT"} else " ".join(words[:2])


@pytest.mark.parametrize(("sql", "verdict"), examples())
def test_the_page_says_what_the_code_does(sql: str, verdict: str) -> None:
    if verdict == "a full backup":
        with pytest.raises(Inexact, match=r"\(by alice, transaction 7\): "):
            replayed(sql, tag=tagged(sql))
    else:
        assert bool(replayed(sql, tag=tagged(sql))) == (verdict == "carried")


def test_the_page_has_every_kind_of_statement() -> None:
    statements = [statement for sql, _ in examples() for statement in split(sql)]
    known = ddl_rules.CARRIED | ddl_rules.NOTHING | {*ddl_rules.REFUSED}
    assert known - {statement.kind for statement in statements} == set()
    altered = {command.alter_table_cmd.subtype for s in statements for command in getattr(s.node, "cmds", ())}
    assert {*ddl_rules.UNCARRIED} - altered == set()


# --- how it is run --------------------------------------------------------------------------------------------------


def test_role_path_and_settings_are_those_of_the_source() -> None:
    sql = replayed(
        "CREATE TABLE t (a int)",
        cu='A "b" :c',
        sp='"$user", Public, "Odd ""x"", y"',
        tz="Europe/Berlin",
        set={"DateStyle": "SQL, DMY", "standard_conforming_strings": "off"},
    )
    assert """SET LOCAL search_path TO '$user', 'public', 'Odd "x", y';\nSET LOCAL ROLE "A ""b"" :c";\n""" in sql
    assert "SET LOCAL DateStyle TO 'SQL, DMY';" in sql
    assert "SET LOCAL TimeZone TO 'Europe/Berlin';" in sql
    assert "SET LOCAL default_tablespace TO '';" in sql
    assert "standard_conforming_strings" not in sql
    assert sql.endswith("RESET ROLE;\n")


@pytest.mark.parametrize(("path", "as_set"), [("", "''"), ('""', "''"), ("a,b", "'a', 'b'"), ("O'x", "'o''x'")])
def test_a_search_path(path: str, as_set: str) -> None:
    assert f"SET LOCAL search_path TO {as_set};\n" in replayed("CREATE TABLE t (a int)", sp=path)


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=50))
def test_any_text_comes_through(text: str) -> None:
    query = "COMMENT ON TABLE t IS '" + text.replace("'", "''") + "'"
    assert statement_in(replayed(query, tag="COMMENT")) == query


def test_the_statement_is_cut_at_bytes() -> None:
    query = "/* ü; */ CREATE TABLE ä (a int) ; -- ö;\n CREATE VIEW \"ß;\" AS SELECT ';é' ;;"
    replay = DdlReplay()
    first = replay.statement(event(query)).decode()
    second = replay.statement(event(query, tag="CREATE VIEW")).decode()
    assert statement_in(first) == "CREATE TABLE ä (a int)"
    assert statement_in(second) == "CREATE VIEW \"ß;\" AS SELECT ';é'"


def test_another_encoding() -> None:
    content = json.dumps(json.loads(message("COMMENT ON TABLE t IS 'ü'", tag="COMMENT")), ensure_ascii=False)
    parsed = DdlEvent.parse(content.encode("latin-1"), encoding="latin-1")
    assert "IS ''ü''' \\gexec".encode("latin-1") in DdlReplay(encoding="latin-1").statement(parsed)


@pytest.mark.parametrize(
    ("query", "plain"),
    [
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CREATE UNIQUE INDEX  i ON t (a)"),
        ('CREATE INDEX i ON t (a) TABLESPACE "X y"', "CREATE INDEX i ON t (a) "),
        (
            "CREATE TABLE t (tablespace text, a int UNIQUE USING INDEX TABLESPACE Y) TABLESPACE x",
            "CREATE TABLE t (tablespace text, a int UNIQUE ) ",
        ),
        ("DROP INDEX CONCURRENTLY a.i, j CASCADE", "DROP INDEX IF EXISTS a.i, j CASCADE"),
    ],
)
def test_what_is_left_out(query: str, plain: str) -> None:
    dropped = {"object_type": "index", "object_identity": "public.i", "original": True}
    replay = DdlReplay()
    replay.statement(event(query, tag="DROP INDEX", ev="sql_drop", o=[dropped]))
    tag = " ".join(word for word in query.split()[:3] if word != "UNIQUE").split(" CONC")[0].split(" t")[0]
    assert statement_in(replay.statement(event(query, tag=" ".join(tag.split()[:2]))).decode()) == plain


def test_rights_are_lent_only_where_the_role_had_them() -> None:
    assert "DO '" not in replayed("CREATE TABLE t (a int)", dbc=True)
    assert "GRANT CREATE ON DATABASE" in replayed("CREATE SCHEMA s", tag="CREATE SCHEMA", dbc=True)
    assert 'ALTER ROLE "alice" SUPERUSER' in replayed("CREATE TABLE t (a int)", sup=True)
    members = {"owner": True, "later": False, "pg_monitor": True}
    assert "rolname IN (''later'', ''owner'')" in replayed("CREATE TABLE t (a int)", mem=members)
    assert "rolname IN (''owner'')" in replayed("GRANT SELECT ON t TO bob", tag="GRANT", mem=members)


def test_the_roles_that_must_be_there() -> None:
    replay = DdlReplay()
    replay.statement(event("GRANT SELECT ON t TO bob, PUBLIC, CURRENT_USER", tag="GRANT", o=[{"object_type": "TABLE"}]))
    assert replay.roles == {"alice", "bob"}


# --- which one ended ------------------------------------------------------------------------------------------------

TWO = "CREATE TABLE a (x int); INSERT INTO a VALUES (1); CREATE VIEW b AS TABLE a"


def test_the_same_string_may_be_sent_again() -> None:
    replay = DdlReplay()
    sent = [replay.statement(event(TWO, tag=tag)).decode() for tag in ("CREATE TABLE", "CREATE VIEW") * 2]
    replay.finish()
    assert [statement_in(sql) for sql in sent] == ["CREATE TABLE a (x int)", "CREATE VIEW b AS TABLE a"] * 2


def test_an_event_that_is_missing_shows_at_the_end() -> None:
    replay = DdlReplay()
    replay.statement(event(TWO))
    with pytest.raises(Inexact, match="of 2 DDL statements sent as one string, transaction 7 shows 1"):
        replay.finish()
    replay.finish()


def test_an_event_that_is_missing_shows_at_the_next_transaction() -> None:
    replay = DdlReplay()
    replay.statement(event(TWO))
    with pytest.raises(Inexact, match="transaction 7 shows 1"):
        replay.statement(event(TWO, tx=8))


def test_tags_must_agree() -> None:
    with pytest.raises(Inexact, match="its text is another command"):
        replayed("CREATE TABLE a (x int)", tag="CREATE INDEX")


def test_what_runs_inside_is_not_counted() -> None:
    replay = DdlReplay()
    temporary = [{"object_type": "table", "object_identity": "pg_temp.x"}]
    assert replay.statement(event(TWO, nested=True, o=temporary)) == b""
    assert statement_in(replay.statement(event(TWO)).decode()) == "CREATE TABLE a (x int)"


def test_a_drop_inside_does_not_take_what_was_said_of_the_outer_one() -> None:
    replay = DdlReplay()
    dropped = [{"object_type": "table", "object_identity": "public.t", "original": True}]
    replay.statement(event("DROP TABLE t", tag="DROP TABLE", ev="sql_drop", o=dropped))
    assert replay.statement(event("DROP TABLE t", tag="DROP TABLE", o=None, nested=True)) == b""
    assert statement_in(replay.statement(event("DROP TABLE t", tag="DROP TABLE", o=None)).decode()) == "DROP TABLE t"


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_a_rewrite_that_nothing_explains(bits: int) -> None:
    replay = DdlReplay()
    query = "ALTER TABLE t ALTER a TYPE bigint"
    replay.statement(event(query, tag="ALTER TABLE", ev="table_rewrite", o=[{"oid": 5, "reason": bits}]))
    with pytest.raises(Inexact, match="every row was written anew"):
        replay.statement(event(query, tag="ALTER TABLE"))


def test_a_conversion_by_a_volatile_cast() -> None:
    replay = DdlReplay()
    query = "ALTER TABLE t ALTER a TYPE bigint"
    replay.statement(event(query, tag="ALTER TABLE", ev="table_rewrite", o=[{"oid": 5, "reason": 4}]))
    with pytest.raises(Inexact, match="ALTER COLUMN a TYPE: an operator or cast"):
        replay.statement(event(query, tag="ALTER TABLE", vo=True))


# --- what is not understood -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        message(None),
        message("x", ev="else"),
        message("x", o=3),
        message("x", o=[3]),
        message("x", nested=None),
        message("x", sup="yes"),
        message("x", tx="seven"),
        message("x", set=[1]),
        message("x", mem=["owner"]),
    ],
)
def test_a_message_that_is_not_understood(content: bytes) -> None:
    with pytest.raises(Inexact, match=r"not understood.*: pgkeep init brings them up to date"):
        DdlEvent.parse(content)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("CREATE TABEL t (a int)", "is not understood: syntax error"),
        ("CREATE VIEW v AS SELECT " + " || ".join(["a"] * 60), "nested too deeply"),
        ("CREATE TABLE t (a int DEFAULT $1)", "it has parameters"),
        ("SELECT f()", "it ran inside a function"),
    ],
)
def test_a_text_that_is_not_understood(query: str, reason: str) -> None:
    with pytest.raises(Inexact, match=reason):
        replayed(query)


def test_commands_of_global_objects_fire_no_event() -> None:
    silent = (
        "COMMENT ON DATABASE d IS 'x'; GRANT CONNECT ON DATABASE d TO r; DROP EVENT TRIGGER e; ALTER ROLE r RENAME TO s"
    )
    assert not any(map(ddl_rules.fires, split(silent)))


def test_a_statement_knows_its_tag() -> None:
    (statement,) = split("CREATE OR REPLACE RECURSIVE VIEW v (n) AS SELECT 1")
    assert statement.is_tagged("CREATE VIEW")
    assert not statement.is_tagged("CREATE RULE")
    assert isinstance(statement, Statement)
