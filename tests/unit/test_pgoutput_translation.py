"""pgoutput's messages, built here by the manual; the SQL is read here as psql and COPY would read it."""

import re
from struct import pack

import pytest

from fix_pgoutput_messages import (
    COMMIT,
    LOG,
    NONCE,
    OID,
    OTHER,
    TYPE,
    Run,
    begin,
    delete,
    insert,
    relation,
    row,
    said,
    truncate,
    update,
)
from pgkeep.adapters.postgres.pgoutput.translation import Column, Decision, Message, Relation, Transaction
from pgkeep.errors import Corrupted
from pgkeep.ports import Inexact


def changed(*messages: bytes, **parts: str) -> list[str]:
    """The statements of one transaction."""
    body = Run(messages=[begin(), relation(columns=parts.get("columns", "id* v")), *messages, COMMIT]).body()
    assert body.startswith(f"BEGIN;\n-- pgkeep {NONCE} transaction 7 1/FF 2000-01-01T00:00:01.500000Z\n"), body
    assert body.endswith(";\nCOMMIT;\n")
    return [line.removesuffix("\\;") for line in body.splitlines()[2:-2]]


T = '"s"."t"'


def test_head() -> None:
    lines = Run(messages=[], encoding="LATIN1").sql().decode().splitlines()
    assert lines[:3] == [f"-- pgkeep changes 1 {NONCE}", "-- from PostgreSQL 15.4", "SET client_encoding = 'LATIN1';"]
    assert all(re.fullmatch(r"SET \w+ = '\w+';", line) for line in lines[2:-1])
    assert "search_path" in lines[-1]
    assert "SET session_replication_role = 'replica';" in lines


def test_statements() -> None:
    assert changed(insert(b"1", None)) == [f'INSERT INTO {T} ("id", "v") OVERRIDING SYSTEM VALUE VALUES (\'1\', NULL)']
    assert changed(update(b"1", b"it's")) == [f"UPDATE ONLY {T} SET \"v\" = 'it''s' WHERE \"id\" = '1'"]
    assert changed(update(b"1", None)) == [f'UPDATE ONLY {T} SET "v" = NULL WHERE "id" = \'1\'']
    assert changed(delete(b"1", None)) == [f"DELETE FROM ONLY {T} WHERE \"id\" = '1'"]
    moved = update(b"2", "u", old=(b"1", None))
    assert changed(moved) == [f"UPDATE ONLY {T} SET \"id\" = '2' WHERE \"id\" = '1'"]


def test_an_unchanged_value_is_left_alone() -> None:
    wide = changed(update(b"1", "u", b"x"), update(b"1", b"y", "u"), columns="id* v w")
    assert wide == [
        f"UPDATE ONLY {T} SET \"w\" = 'x' WHERE \"id\" = '1'",
        f"UPDATE ONLY {T} SET \"v\" = 'y' WHERE \"id\" = '1'",
    ]


def test_what_changes_nothing_leaves_no_trace() -> None:
    nothing = Run(messages=[begin(), relation(), update(b"1", "u"), COMMIT, begin(), b"O" + bytes(8) + b"x\0", COMMIT])
    assert nothing.body() == ""
    assert (nothing.translation.transactions, nothing.translation.changes) == (0, 0)


def test_full_identity_finds_one_row_by_its_texts() -> None:
    described = relation(identity=b"f", columns="a* b* c*", of=114)
    messages = [begin(), described, update(b"1", None, b"", old=(b"1", b"x", b""), kind=b"O"), COMMIT]
    (statement,) = Run(messages=messages).body().splitlines()[2:-2]
    image = '"{0}" IS DISTINCT FROM NULL AND concat("{0}") COLLATE "C" = \'{1}\''
    where = " AND ".join([image.format("a", "1"), image.format("b", "x"), image.format("c", "")])
    found = f"ctid = (SELECT ctid FROM ONLY {T} WHERE {where} LIMIT 1)"
    assert statement == f'UPDATE ONLY {T} SET "b" = NULL WHERE {found}\\;'


def test_keys_of_user_types_are_cast() -> None:
    described = b"Y" + pack(">I", TYPE) + b'my "s\0it%s\0'
    messages = [begin(), described, relation(columns="id*", of=TYPE), delete(b"(1,2)"), COMMIT]
    assert f'DELETE FROM ONLY {T} WHERE "id" = \'(1,2)\'::"my ""s"."it%s"\\;' in Run(messages=messages).body()


def test_a_column_generated_always_is_inserted_anew() -> None:
    messages = [begin(), relation(columns="id* n big"), update(b"1", b"5", "u"), COMMIT]
    assert Run(messages=messages, always={OID: ["n"]}).body().splitlines()[2:-2] == [
        (
            f"WITH pgkeep_old AS (DELETE FROM ONLY {T} WHERE \"id\" = '1' RETURNING *) INSERT INTO {T} "
            '("id", "n", "big")'
            ' OVERRIDING SYSTEM VALUE SELECT pgkeep_old."id", \'5\', pgkeep_old."big" FROM pgkeep_old\\;'
        )
    ]
    assert "UPDATE ONLY" in Run(messages=messages, always={OID: ["id"]}).body()


def test_truncate_names_all_tables_but_ours() -> None:
    described = [relation(), relation(b"it's", oid=OTHER), relation(b"other", schema=b"_pgkeep", oid=LOG)]
    body = Run(messages=[begin(), *described, truncate(OID, LOG, OTHER, options=3), truncate(LOG), COMMIT]).body()
    assert body.splitlines()[2:-2] == [
        (
            f'DO \'BEGIN TRUNCATE ONLY {T}, ONLY "s"."it\'\'s" RESTART IDENTITY; EXCEPTION WHEN feature_not_supported '
            f'THEN DELETE FROM ONLY {T}; DELETE FROM ONLY "s"."it\'\'s"; END\'\\;'
        )
    ]


def test_a_relation_described_while_others_change_it() -> None:
    messages = [begin(1), relation(columns="id* old"), insert(b"1", b"a"), COMMIT]
    messages += [begin(2), relation(b"new", columns="id* v w"), insert(b"1", b"a", b"b"), COMMIT]
    messages += [begin(3), insert(b"2", b"c", b"d"), COMMIT]
    skipped = Run(messages=messages, verdicts=lambda t: Decision.EMIT if t.xid == 3 else Decision.SKIP)
    assert '"s"."new" ("id", "v", "w")' in skipped.body()
    assert skipped.translation.touched == {("s", "new")}
    whole = Run(messages=messages)
    assert whole.sql()
    assert whole.translation.touched == {("s", "t"), ("s", "new")}
    columns = tuple(Column(name=name, type_oid=25, type_mod=-1, is_key=name == "id") for name in ("id", "v", "w"))
    assert whole.translation.relations == {
        OID: Relation(oid=OID, schema="s", name="new", identity="d", columns=columns)
    }


def test_what_is_said_stands_in_its_place() -> None:
    messages = [begin(), relation(), insert(b"1", b"a"), said(b"pgkeep:ddl", b"{}"), insert(b"2", b"b"), COMMIT]
    run = Run(messages=messages, answer=b"ALTER TABLE x;")
    kinds = re.findall(r"^(BEGIN|COMMIT|INSERT|ALTER|--)", run.body(), re.MULTILINE)
    assert kinds == ["BEGIN", "--", "INSERT", "COMMIT", "BEGIN", "ALTER", "COMMIT", "BEGIN", "INSERT", "COMMIT"]
    transaction = Transaction(xid=7, commit_lsn=0x1_0000_00FF, time=1_500_000)
    assert run.heard == [Message(transaction=transaction, prefix="pgkeep:ddl", content=b"{}")]
    alone = Run(messages=[begin(), said(b"pgkeep:ddl", b"{}"), COMMIT], answer=b"ALTER TABLE x;").body()
    assert re.findall(r"^(BEGIN|COMMIT|ALTER|--)", alone, re.MULTILINE) == ["BEGIN", "--", "ALTER", "COMMIT"]


def test_only_what_is_for_us_is_heard() -> None:
    log = relation(b"log", schema=b"_pgkeep", oid=LOG, columns="id* prefix content")
    messages = [said(b"pgkeep:cut", b"loose", flags=0), begin(), log]
    messages += [insert(b"1", b"pgkeep:cut", b"row", oid=LOG), insert(b"2", b"pgkeep:ddl", b"row", oid=LOG)]
    messages += [said(b"pgkeep:cut", b"message"), said(b"mine", b"x"), said(b"pgkeep:", b"y"), COMMIT]
    emitted, held = Run(messages=messages), Run(messages=messages, verdicts=lambda _: Decision.HOLD, answer=b"X;")
    assert emitted.body() == held.body() == ""
    assert [m.prefix for m in emitted.heard] == ["pgkeep:cut", "pgkeep:ddl", "pgkeep:cut", "pgkeep:"]
    assert [m.content for m in held.heard] == [b"row", b"message"]
    assert held.translation.held == 0x1_0000_00FF
    assert emitted.translation.touched == frozenset()


@pytest.mark.parametrize(
    "messages",
    [
        [relation(identity=b"n", columns="id v"), update(b"1", b"2")],
        [relation(identity=b"n", columns="id v"), delete(b"1", b"2")],
        [relation(), update("u", b"2")],
        [relation(), insert(b"1", "u")],
        [relation(identity=b"f"), delete(b"1", "u", kind=b"O")],
    ],
)
def test_what_cannot_be_written_exactly_is_said(messages: list[bytes]) -> None:
    with pytest.raises(Inexact, match=r"^s\.t: "):
        Run(messages=[begin(), *messages, COMMIT]).sql()
    assert Run(messages=[begin(), *messages, COMMIT], verdicts=lambda _: Decision.HOLD).body() == ""


WORDS = [
    begin(),
    COMMIT,
    relation(),
    insert(b"1", b"a"),
    update(b"1", b"b", old=(b"2", None)),
    truncate(OID),
    delete(b"1", None),
]


@pytest.mark.parametrize(
    "messages",
    [
        [COMMIT],
        [begin()],
        [begin(), begin()],
        [begin(), relation(), b"Z"],
        [begin(), insert(b"1", b"a"), COMMIT],
        [begin(), relation(), insert(b"1"), COMMIT],
        [begin(), relation(), b"I" + pack(">I", OID) + b"K" + row(b"1", b"a"), COMMIT],
        [begin(), relation(), insert(b"1", b"a")[:-6] + b"b\0\0\0\1a", COMMIT],
        [begin(), relation(), b"U" + pack(">I", OID) + b"K" + row(b"1", b"a"), COMMIT],
        [begin(), relation(), b"D" + pack(">I", OID) + b"N" + row(b"1", b"a"), COMMIT],
        *([begin(), relation(), word[:-1], COMMIT] for word in WORDS[2:]),
        *([begin(), relation(), word + b"x", COMMIT] for word in WORDS[3:]),
        [begin()[:-1]],
        [begin(), said(b"pgkeep:cut", b"x") + b"y", COMMIT],
    ],
)
def test_a_stream_that_is_none_is_refused(messages: list[bytes]) -> None:
    with pytest.raises(Corrupted):
        Run(messages=messages).sql()
