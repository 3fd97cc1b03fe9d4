"""LPBM's files into real PostgreSQL: on good days, on bad ones, and never with somebody's data in what is said."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fix_lpbm import PASSWORD, Legacy, encrypted
from fix_postgres import SAMPLE, Database, children, eventually, new_database, no_database, quoted, server
from pgkeep import lpbm
from pgkeep.adapters.lpbm import Folder, LegacyOpener
from pgkeep.ancestry import newest, read_journal
from pgkeep.errors import ConfigError, Corrupted, NotRestorable, PgkeepError, Unavailable
from pgkeep.inventory import differences

SECRET = "hunter2"
NOTED = """
    CREATE TABLE noted (of bigint);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN IF NEW.name = 'refused' THEN RAISE 'not hunter2'; END IF;
          INSERT INTO public.noted VALUES (NEW.id); RETURN NEW; END$$;
    CREATE TRIGGER note BEFORE INSERT ON document FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TABLE secret (id int PRIMARY KEY CHECK (id > 0), word text);
    INSERT INTO secret VALUES (1, 'hunter2');
"""
DELTAS = (
    "INSERT INTO document (id, name) VALUES (1001, 'ü; -- no comment'); -- a comment\n;",
    "UPDATE document SET name = $$it's$$ WHERE id = 1001;\nCREATE TABLE later (x int);\nINSERT INTO later VALUES (1);",
)
FAILING = {
    "unique": f"INSERT INTO secret VALUES (1, '{SECRET}');",
    "type": f"INSERT INTO secret VALUES ('{SECRET}', '');",
    "syntax": f"INSERT INTO secret VALUES (7, {SECRET}');",
    "unterminated": f"INSERT INTO secret VALUES (7, '{SECRET});",
    "check": f"INSERT INTO secret VALUES (-1, '{SECRET}');",
    "raised": "INSERT INTO document (name) VALUES ('refused');",
    "column": f'INSERT INTO secret VALUES (7, "{SECRET}");',
    "copy": f"COPY secret FROM stdin;\n{SECRET}\tx\n\\.\n",
    "lines": f"INSERT INTO secret VALUES ('\n{SECRET}\n', '');",
    "no command": f"\\{SECRET} {SECRET}",
}


@pytest.fixture
def source(sandbox: Mapping[str, str]) -> Iterator[Database]:
    """What LPBM kept: a database with a trigger, which its deltas set off."""
    with new_database(server(sandbox, "source"), made=SAMPLE + NOTED) as database:
        yield database


@pytest.fixture
def place(sandbox: Mapping[str, str]) -> Iterator[Database]:
    with no_database(server(sandbox, "scratch")) as database:
        yield database


@pytest.fixture
def legacy(source: Database, sandbox: Mapping[str, str], tmp_path: Path) -> Legacy:
    """Its newest full and two deltas, after older ones whose files are not there any more."""
    found = Legacy(tmp_path)
    for kind in ("full", "delta"):
        found.add(kind, b"").unlink()
    found.add("full", dumped(source, sandbox, "-F", "c"), by_cid=True)
    for delta in DELTAS:
        found.add("delta", delta.encode())
    return found


def dumped(source: Database, sandbox: Mapping[str, str], *options: str) -> bytes:
    """LPBM has always used `-F c`."""
    command = ["pg_dump", *options, "-d", f"{sandbox['PGKEEP_SOURCE_URL']}/{source.name}"]
    return subprocess.run(command, env=dict(sandbox), capture_output=True, check=True).stdout


def replay(legacy: Legacy, place: Database, *, password: str = PASSWORD, keep_going: bool = False) -> lpbm.Replayed:
    way = newest(read_journal(legacy.journal.read_text(), path="journal.txt"), path="journal.txt")
    archive, opener = Folder(path=legacy.folder), LegacyOpener(password=password.encode())
    return lpbm.restore(way, archive, opener, place.target(), keep_going=keep_going)


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_it_holds_what_its_source_does(
    form: str, legacy: Legacy, source: Database, place: Database, sandbox: Mapping[str, str]
) -> None:
    if form == "plain":
        path = legacy.folder / legacy.lines[2].split()[0]
        path.write_bytes(encrypted(dumped(source, sandbox, "--no-owner")))
    replayed = replay(legacy, place)
    source.run(*DELTAS)
    assert [(file.kind, failures.count) for file, failures in replayed.files] == [
        ("full", 0),
        ("delta", 0),
        ("delta", 0),
    ]
    assert_equal(source, place)
    assert place.ask("SELECT name FROM document WHERE id = 1001") == [("it's",)]
    assert place.ask("SELECT count(*) FROM noted") == [(1,)], "the delta's trigger fired once, the full's never"
    assert place.beside() == set()


def assert_equal(source: Database, place: Database) -> None:
    with source.source().snapshot() as ours, place.source().snapshot() as theirs:
        for snapshot in (ours, theirs):
            for _ in snapshot.dump():
                pass
        assert differences(source=ours.inventory(), restored=theirs.inventory()) == ()


def test_the_empty_database_that_stands_there_says_what_it_is_to_be(legacy: Legacy, sandbox: Mapping[str, str]) -> None:
    with new_database(server(sandbox, "scratch")) as place:
        name = quoted(place.name)
        place.run(f"COMMENT ON DATABASE {name} IS 'ours'", f"ALTER DATABASE {name} SET work_mem = '5MB'")
        replay(legacy, place)
        assert place.ask(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        ) == [("ours",)]
        assert place.ask("SHOW work_mem") == [("5MB",)]
        assert place.beside() == set()


def test_a_database_that_is_not_empty_stays(legacy: Legacy, sandbox: Mapping[str, str]) -> None:
    with new_database(server(sandbox, "scratch"), made="CREATE TABLE mine (x int)") as place:
        with pytest.raises(ConfigError, match="is not empty"):
            replay(legacy, place, keep_going=True)
        assert place.ask("SELECT count(*) FROM mine") == [(0,)]


def refused(legacy: Legacy, place: Database, error: type[PgkeepError], *, says: str, password: str = PASSWORD) -> str:
    """What is said; and nothing is left behind."""
    with pytest.raises(error, match=says) as caught:
        replay(legacy, place, password=password)
    assert (place.exists(), place.beside()) == (False, set())
    return str(caught.value)


def test_a_wrong_password(legacy: Legacy, place: Database) -> None:
    said = refused(
        legacy, place, Corrupted, says="-full.sql.enc .*: wrong password, or the file is damaged", password="x"
    )
    assert PASSWORD not in said


def cut_in_a_block(cipher: bytes) -> bytes:
    return cipher[:-5]


def cut_to_nothing(cipher: bytes) -> bytes:
    return cipher[:40]


def flipped(cipher: bytes) -> bytes:
    """A bit of the padding's last byte."""
    return cipher[:-17] + bytes([cipher[-17] ^ 0x80]) + cipher[-16:]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut_in_a_block, "no multiple of 16"),
        (cut_to_nothing, "has 40 bytes; a file of LPBM has at least 48"),
        (flipped, "wrong password, or the file is damaged"),
    ],
)
@pytest.mark.parametrize("line", [2, 4], ids=["full", "delta"])
def test_damage(damage: Callable[[bytes], bytes], says: str, line: int, legacy: Legacy, place: Database) -> None:
    cid, name = legacy.lines[line].split()
    path = next(path for path in (legacy.folder / cid, legacy.folder / name) if path.exists())
    path.write_bytes(damage(path.read_bytes()))
    assert name in refused(legacy, place, Corrupted, says=says)


def test_a_file_that_is_not_there(legacy: Legacy, place: Database) -> None:
    cid, name = legacy.lines[4].split()
    (legacy.folder / name).unlink()
    refused(legacy, place, NotRestorable, says=f"lacks .*{cid}")


@pytest.mark.parametrize("why", FAILING)
def test_a_statement_that_fails_ends_it_and_shows_no_data(
    why: str, legacy: Legacy, place: Database, caplog: pytest.LogCaptureFixture
) -> None:
    legacy.add("delta", f"SELECT 1;\n{FAILING[why]}\nSELECT 2;\n".encode())
    cid, name = legacy.lines[-1].split()
    says = "COPY .. FROM STDIN without its rows" if why == "copy" else r": line \d+: .*"
    said = refused(legacy, place, NotRestorable, says=says + "; nothing was left behind")
    assert name in said
    assert f"pgkeep lpbm decrypt {cid}" in said
    assert SECRET not in said + caplog.text


def test_the_line_and_the_reason_are_said(legacy: Legacy, place: Database) -> None:
    legacy.add("delta", f"SELECT 1;\n{FAILING['unique']}\n".encode())
    says = (
        r'line 6 of LPBM\'s journal, .*: line 2: duplicate key value violates unique constraint "secret_pkey" \(23505\)'
    )
    refused(legacy, place, NotRestorable, says=says)


def test_going_on_counts_what_fails(legacy: Legacy, place: Database, caplog: pytest.LogCaptureFixture) -> None:
    legacy.add("delta", "".join(f"{statement}\n" for statement in (*FAILING.values(),)[:3]).encode())
    legacy.add("delta", (FAILING["unique"] + "\n").encode() * 20 + b"INSERT INTO later VALUES (2);\n")
    replayed = replay(legacy, place, keep_going=True)
    assert [failures.count for _, failures in replayed.files][:3] == [0, 0, 0]
    assert [failures.count for _, failures in replayed.files][-1] == 20
    assert place.ask("SELECT count(*) FROM later") == [(2,)], "what came after a failure is there"
    with pytest.raises(NotRestorable, match="20 failed") as caught:
        lpbm.require_success(replayed, label="here")
    assert str(caught.value).count("duplicate key") == 1 + lpbm.FIRST
    assert SECRET not in str(caught.value) + caplog.text


def test_a_full_that_was_cut_off_between_two_blocks(
    legacy: Legacy, sandbox: Mapping[str, str], source: Database, place: Database
) -> None:
    """psql takes the end of its input for the end of COPY, and CBC knows no length."""
    dump = dumped(source, sandbox)
    legacy.add("full", dump[: dump.index(b"\\.")])
    refused(legacy, place, NotRestorable, says="it does not end as pg_dump ends its scripts")


@pytest.mark.parametrize("keep_going", [False, True])
def test_an_archive_that_was_cut_off_between_two_blocks(
    keep_going: bool, legacy: Legacy, sandbox: Mapping[str, str], source: Database, place: Database
) -> None:
    dump = dumped(source, sandbox, "-F", "c", "-Z", "0")
    legacy.add("full", dump[: len(dump) - 4000])
    if not keep_going:
        refused(legacy, place, NotRestorable, says=r"cannot be replayed: .*(end of file|input file)")
        return
    with pytest.raises(NotRestorable, match="failed"):
        lpbm.require_success(replay(legacy, place, keep_going=True), label="here")


@pytest.fixture
def owned(source: Database) -> Iterator[str]:
    """A role that the target does not have owns two tables."""
    role = f"owner_of_{source.name}"
    source.run(f"CREATE ROLE {quoted(role)}", f"ALTER TABLE secret OWNER TO {quoted(role)}")
    source.run(f"ALTER TABLE noted OWNER TO {quoted(role)}")
    yield role
    source.run(f"REASSIGN OWNED BY {quoted(role)} TO CURRENT_USER", f"DROP ROLE {quoted(role)}")


def test_an_archive_whose_roles_are_missing(
    legacy: Legacy, owned: str, source: Database, place: Database, sandbox: Mapping[str, str]
) -> None:
    legacy.add("full", dumped(source, sandbox, "-F", "c"))
    refused(legacy, place, NotRestorable, says=f'cannot be replayed: role "{owned}" does not exist; nothing was left')
    replayed = replay(legacy, place, keep_going=True)
    assert [failures.count for _, failures in replayed.files] == [2]
    assert place.ask("SELECT word FROM secret") == [(SECRET,)]
    with pytest.raises(NotRestorable, match=f'2 failed .*role "{owned}" does not exist') as caught:
        lpbm.require_success(replayed, label="here")
    assert SECRET not in str(caught.value)


def test_an_archive_whose_rows_are_refused_shows_none(
    legacy: Legacy, source: Database, place: Database, sandbox: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A materialised view that can be computed no more, of somebody's secret."""
    source.run(
        "CREATE TABLE number (word text); INSERT INTO number VALUES ('1')",
        "CREATE MATERIALIZED VIEW sums AS SELECT word::int FROM number",
        f"UPDATE number SET word = '{SECRET} already exists'",
    )
    legacy.add("full", dumped(source, sandbox, "-F", "c"))
    said = refused(legacy, place, NotRestorable, says="invalid input syntax for type integer: ...;")
    assert SECRET not in said + caplog.text


def test_a_full_that_leaves_for_another_database(
    legacy: Legacy, sandbox: Mapping[str, str], source: Database, place: Database
) -> None:
    legacy.add("full", dumped(source, sandbox, "--create"))
    refused(legacy, place, NotRestorable, says="it leaves for another database")
    assert not Database(server=place.server, name=source.name).exists()


def test_psql_that_is_killed_is_no_refusal(place: Database) -> None:
    def script() -> Iterator[bytes]:
        yield b"SELECT pg_sleep(60);\n"
        assert eventually(lambda: bool(children("psql")))
        os.kill(children("psql")[0].pid, signal.SIGKILL)
        yield b"SELECT 1;\n"

    with place.target().blank() as blank, pytest.raises(Unavailable, match="killed"):
        blank.run(script(), keep_going=True)
    assert (place.exists(), place.beside()) == (False, set())


def test_what_the_file_raises_comes_out_unchanged(place: Database) -> None:
    error = Corrupted("damaged", next_step="look")

    def script() -> Iterator[bytes]:
        yield b"CREATE TABLE t (x int);\n"
        raise error

    with pytest.raises(Corrupted) as caught, place.target().blank() as blank:
        blank.run(script(), keep_going=False)
    assert caught.value is error
    assert (place.exists(), place.beside()) == (False, set())
