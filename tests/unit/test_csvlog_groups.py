"""From rows of the log to transactions: what counts, what does not, and what cannot be told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_csvlog_groups import World, judge
from pgkeep import records
from pgkeep.adapters.postgres.csvlog.transactions.control import Control, Kind, control
from pgkeep.adapters.postgres.csvlog.transactions.groups import Collected, collect, counted
from pgkeep.adapters.postgres.csvlog.transactions.moments import LogMoment, Running, begun, sampled
from pgkeep.errors import Disturbed
from pgkeep.ports import Inexact
from pgkeep.positions import LogCut
from pgkeep.visibility import Visible

BEFORE = Visible(xmin=100, xmax=100, under_way=frozenset())
NOW = Visible(xmin=200, xmax=200, under_way=frozenset())
IDLE, INSIDE = "idle", "idle in transaction"


class Log(World):
    """A log that is written by hand, between a cut before its first row and one behind its last."""

    def __init__(self) -> None:
        super().__init__()
        first = self.note("1.1", "9/1", "DO", "1")
        self.start = self._moment(first, self.note("1.1", "9/1", "DO", "2"), BEFORE)

    def _moment(
        self, first: int, second: int, snapshot: Visible, running: tuple[Running, ...] = (), connected: str = "5.a 5.b"
    ) -> LogMoment:
        return sampled(
            (running, running, running),
            boot="boot",
            clock=1,
            snapshot=snapshot,
            first=first,
            second=second,
            connected=[name.encode() for name in connected.split()],
            own=[b"1.1"],
        )

    def stop(
        self, *, running: tuple[Running, ...] = (), between: tuple[str, str] | None = None, connected: str = "5.a 5.b"
    ) -> LogMoment:
        first = self.note("1.1", "9/2", "DO", "1")
        if between:
            self.simple("5.b", between[0], between[1])
        return self._moment(first, self.note("1.1", "9/2", "DO", "2"), NOW, running, connected)

    def simple(
        self, session: str, vxid: str, sql: str, *, tag: str = IDLE, xid: int = 0, reason: str | None = None
    ) -> None:
        self.note(session, vxid, tag, f"statement: {sql}", sql.encode(), xid=xid, reason=reason)

    def error(self, session: str, vxid: str, *, xid: int = 0, severity: str = "ERROR") -> None:
        self.note(session, vxid, "INSERT", "..", xid=xid, severity=severity)

    def block(self, session: str, vxid: str, *statements: str, xid: int = 100) -> None:
        """BEGIN and what follows; the xid is known from the second row after it on."""
        self.simple(session, vxid, "BEGIN")
        for number, sql in enumerate(statements):
            self.simple(session, vxid, sql, tag=INSIDE, xid=xid if number else 0)


def found(
    log: Log,
    now: LogMoment,
    *,
    begins_logged: bool = True,
    then: LogCut | None = None,
    rolled_back: tuple[int, ...] = (),
) -> Collected:
    then = then or replace(begun(log.start), lines={}, blind=0)
    return collect(
        log.log,
        judge=judge,
        committed=lambda xid: xid not in rolled_back,
        then=then,
        before=BEFORE,
        now=now,
        begins_logged=begins_logged,
    )


@pytest.fixture
def log() -> Log:
    return Log()


def statements(result: Collected) -> list[list[str]]:
    return [[statement.sql.decode() for statement in group.statements] for group in result.exact()]


# --- what counts ------------------------------------------------------------------------------------------------------


def test_statements_that_stand_alone_and_blocks_are_found_in_the_order_of_their_ends(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1", "look", "put b 2")
    log.simple("5.b", "2/1", "put c 3")
    log.simple("5.b", "2/2", "look")
    log.simple("5.a", "1/1", "COMMIT", tag=INSIDE, xid=100)
    assert statements(found(log, log.stop())) == [["put c 3"], ["put a 1", "put b 2"]]


@pytest.mark.parametrize("end", ["ROLLBACK", "ABORT", "rollback and no chain", None])
def test_what_was_not_committed_does_not_count(log: Log, end: str | None) -> None:
    log.block("5.a", "1/1", "put a 1", "doubt it", *filter(None, [end]))
    log.note("5.a", "", INSIDE, "disconnection: ..")
    assert statements(found(log, log.stop(connected=""), rolled_back=(100,))) == []


@pytest.mark.parametrize("severity", ["ERROR", "FATAL", "PANIC"])
def test_what_failed_alone_does_not_count(log: Log, severity: str) -> None:
    log.simple("5.a", "1/1", "put a 1")
    log.error("5.a", "1/1", severity=severity)
    log.simple("5.a", "1/2", "doubt it")
    log.error("5.a", "1/2")
    assert statements(found(log, log.stop())) == []


def test_only_what_was_undone_to_a_savepoint_does_not_count(log: Log) -> None:
    log.block(
        "5.a", "1/1", "put a 1", "SAVEPOINT s", "put b 2", "SAVEPOINT t", "doubt it", 'ROLLBACK TO "t"', "RELEASE t"
    )
    log.error("5.a", "1/1", xid=100)
    log.simple("5.a", "1/1", "rollback to S", tag="idle in transaction (aborted)", xid=100)
    log.simple("5.a", "1/1", "put c 3", tag=INSIDE, xid=100)
    log.simple("5.a", "1/1", "END", tag=INSIDE, xid=100)
    assert statements(found(log, log.stop())) == [["put a 1", "put c 3"]]


def test_a_block_that_has_no_xid_at_its_commit_wrote_nothing(log: Log) -> None:
    log.block("5.a", "1/1", "add z 1", "doubt it", "COMMIT", xid=0)
    assert statements(found(log, log.stop())) == []


def test_a_chained_transaction_is_a_block(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1", "COMMIT AND CHAIN")
    log.note("5.a", "1/2", "INSERT", "..", b"put b 2")
    log.note("5.a", "", INSIDE, "disconnection: ..")
    assert statements(found(log, log.stop(connected=""))) == [["put a 1"]]


def test_what_both_cuts_see_and_what_none_sees_is_of_another_window(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1", "COMMIT", xid=99)
    log.block("5.a", "1/2", "put a 1", "COMMIT", xid=200)
    result = found(log, log.stop(running=(Running(session=b"5.a", vxid=b"1/2", xid=200),)))
    assert statements(result) == []
    assert result.again == 50


def test_what_is_logged_when_it_has_succeeded_is_told_by_its_xid_only(log: Log) -> None:
    log.note("5.a", "1/1", "BEGIN", "..", b"BEGIN", after=True)
    log.note("5.a", "1/1", "INSERT", "..", b"put a 1", after=True, xid=100)
    log.note("5.a", "1/0", "COMMIT", "..", b"COMMIT", after=True)
    assert statements(found(log, log.stop())) == [["put a 1"]]
    log.log.pop()
    log.note("5.a", "1/0", "INSERT", "..", b"put b 2", after=True)
    assert found(log, log.stop()).reasons


# --- what cannot be told ----------------------------------------------------------------------------------------------


def test_reasons_are_counted_and_the_most_frequent_named(log: Log) -> None:
    for number, why in enumerate(["COPY", "DO", "COPY", "COPY"], start=1):
        log.simple("5.a", f"1/{number}", f"doubt {why}")
    with pytest.raises(Inexact) as caught:
        found(log, log.stop()).exact()
    assert caught.value.reason == "3 x COPY; 1 x DO"
    assert counted(dict.fromkeys("abcdefg", 1)) == "1 x a; 1 x b; 1 x c; 1 x d; 1 x e; 2 x for other reasons"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("BEGIN; put a 1; COMMIT", "BEGIN, COMMIT or like it in a string of several statements"),
        ("COMMIT PREPARED 'x'", "two-phase commit"),
    ],
)
def test_some_statements_end_it(log: Log, sql: str, reason: str) -> None:
    log.simple("5.a", "1/1", sql)
    assert found(log, log.stop()).reasons == {reason: 1}


def test_a_transaction_that_is_prepared_is_not_forgotten(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1", "PREPARE TRANSACTION 'x'", xid=100)
    now = replace(log.stop(), snapshot=Visible(xmin=100, xmax=200, under_way=frozenset({100})))
    assert found(log, now).reasons == {"two-phase commit": 1}


def test_a_statement_that_is_not_certain_is_not_undone_by_a_savepoint(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1", "SAVEPOINT s")
    log.simple("5.a", "1/1", "put b $1", tag=INSIDE, xid=100, reason="a parameter was cut off")
    log.simple("5.a", "1/1", "ROLLBACK TO s", tag=INSIDE, xid=100)
    log.simple("5.a", "1/1", "COMMIT", tag=INSIDE, xid=100)
    assert found(log, log.stop()).reasons == {"a parameter was cut off": 1}


def test_who_has_gone_without_a_sign_of_success_is_not_trusted(log: Log) -> None:
    log.simple("5.a", "1/1", "put a 1")
    log.note("5.b", "2/1", "INSERT", "..", b"put b 2")
    log.note("5.b", "", "INSERT", "disconnection: ..")  # it never ended its pipeline
    assert sum(found(log, log.stop(connected="")).reasons.values()) == 2
    assert sorted(statements(found(log, log.stop(connected="5.a 5.b")))) == [["put a 1"], ["put b 2"]]


def test_where_begin_is_not_logged_only_single_statements_are_told(log: Log) -> None:
    log.simple("5.a", "1/1", "put a 1")
    assert statements(found(log, log.stop(), begins_logged=False)) == [["put a 1"]]
    log.simple("5.b", "2/1", "put b 2", tag=INSIDE)
    log.simple("5.b", "2/1", "put c 3", tag=INSIDE, xid=100)
    log.note("5.a", "1/2", "INSERT", "..", b"put d 4")
    assert found(log, log.stop(), begins_logged=False).reasons == {
        "unknown outcome: savepoints are not logged": 2,
    }


def test_what_the_server_has_forgotten_is_not_guessed(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1", "COMMIT")
    now = log.stop()
    result = collect(
        log.log,
        judge=judge,
        committed=lambda _: None,
        then=replace(begun(log.start), lines={}, blind=0),
        before=BEFORE,
        now=now,
        begins_logged=True,
    )
    assert result.reasons == {"unknown outcome: the server does not know it any more": 1}


def test_a_log_in_another_language_is_not_trusted(log: Log) -> None:
    log.simple("5.a", "1/1", "put a 1")
    log.error("5.a", "1/1", severity="FEHLER")
    assert found(log, log.stop()).reasons == {"messages of the server in another language than English": 1}


def test_another_boot_ends_it(log: Log) -> None:
    assert found(log, replace(log.stop(), boot="another")).reasons


# --- at the cut -------------------------------------------------------------------------------------------------------


def test_what_wrote_at_the_very_moment_asks_for_another(log: Log) -> None:
    log.simple("5.a", "1/1", "put a 1")
    now = log.stop(between=("2/1", "put b 2"))
    with pytest.raises(Disturbed):
        found(log, now).exact()


def test_what_only_reads_at_that_moment_does_not(log: Log) -> None:
    assert statements(found(log, log.stop(between=("2/1", "look")))) == []


@pytest.mark.parametrize(("xid", "there"), [(199, True), (200, False)])
def test_a_sample_that_shows_the_xid_tells(log: Log, xid: int, there: bool) -> None:
    log.simple("5.a", "1/1", "put a 1")
    result = found(log, log.stop(running=(Running(session=b"5.a", vxid=b"1/1", xid=xid),)))
    assert statements(result) == ([["put a 1"]] if there else [])
    assert there or result.again == log.log[2][0].place


def test_who_kept_its_vxid_without_an_xid_is_not_seen(log: Log) -> None:
    log.simple("5.a", "1/1", "put a 1")
    result = found(log, log.stop(running=(Running(session=b"5.a", vxid=b"1/1", xid=0),)))
    assert statements(result) == []
    assert result.again == log.log[2][0].place


def test_the_second_sample_alone_does_not_tell(log: Log) -> None:
    log.simple("5.a", "1/1", "put a 1")
    one = Running(session=b"5.a", vxid=b"1/1", xid=0)
    now = sampled(([one], [one], []), boot="boot", clock=1, snapshot=NOW, first=30, second=40, connected=[b"5.a"])
    assert found(log, now).ambiguous == 1


# --- from cut to cut --------------------------------------------------------------------------------------------------


def test_a_missing_row_is_noticed(log: Log) -> None:
    log.simple("5.a", "1/1", "look")
    log.note("5.a", "1/2", IDLE, "..", b"look", line=3)
    assert list(found(log, log.stop()).reasons) == [
        "rows of the log are missing: a session's count of its rows has a gap"
    ]


def test_a_session_that_begins_late_has_lost_rows_unless_it_was_there_before(log: Log) -> None:
    log.note("5.a", "1/1", IDLE, "..", b"look", line=7)
    now = log.stop()
    then = replace(begun(log.start), blind=0)
    assert found(log, now, then=replace(then, lines={})).reasons
    assert not found(log, now, then=replace(then, lines={"5.a": 6})).reasons
    assert not found(log, now, then=replace(then, lines={"5.a": -1})).reasons
    assert found(log, now, then=replace(then, lines={"5.a": 5})).reasons


def test_a_session_that_is_being_let_in_has_no_database(log: Log) -> None:
    log.note("5.a", "", "", "connection received: ..", database="")
    log.note("5.a", "1/1", "authentication", "connection authorized: ..")
    log.simple("5.a", "1/2", "put a 1")
    assert statements(found(log, log.stop())) == [["put a 1"]]


def test_what_began_before_anything_was_read_ends_it(log: Log) -> None:
    log.note("5.a", "1/1", "INSERT", "..", b"put b 2", xid=150, line=5)
    log.note("5.a", "1/1", "COMMIT", "..", b"COMMIT", xid=150)
    then = replace(begun(log.start), lines={"5.a": -1}, blind=0)
    assert found(log, log.stop(), then=then).reasons == {"it had begun before the log was read": 1}


def test_what_was_unread_and_left_no_row_ends_it(log: Log) -> None:
    then = replace(begun(log.start), unread=("7/7",), blind=0)
    result = found(log, log.stop(), then=then)
    assert result.reasons == {"it had begun before the log was read": 1}
    assert result.carried.unread == ()
    assert found(log, replace(log.stop(), running={b"7/7": b"5.a"}), then=then).carried.unread == ("7/7",)


def test_the_next_window_goes_on_where_this_one_cannot_tell(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1", "put b 2", xid=300)
    first = found(log, log.stop(running=(Running(session=b"5.a", vxid=b"1/1", xid=300),)))
    assert statements(first) == []
    log.simple("5.a", "1/1", "COMMIT", tag=INSIDE, xid=300)
    later = log.note("1.1", "9/3", "DO", "1")
    now = replace(
        log._moment(later, log.note("1.1", "9/3", "DO", "2"), replace(NOW, xmin=400, xmax=400)),
        first=later - first.again,
        second=later - first.again + 10,
    )
    second = collect(
        log.since(first.again),
        judge=judge,
        committed=lambda _: True,
        then=first.carried,
        before=NOW,
        now=now,
        begins_logged=True,
    )
    assert statements(second) == [["put a 1", "put b 2"]]


def test_what_is_carried_travels(log: Log) -> None:
    log.block("5.a", "1/1", "put a 1")
    carried = found(log, log.stop(running=(Running(session=b"5.a", vxid=b"1/1", xid=7),))).carried
    assert records.from_bytes(LogCut, records.to_bytes(carried)) == carried


# --- statements that begin and end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("/* a */ begin isolation level serializable", Control(kind=Kind.BEGIN)),
        ("-- x\n START TRANSACTION;", Control(kind=Kind.BEGIN)),
        ("commit and chain", Control(kind=Kind.COMMIT, chain=True)),
        ("end work;  ", Control(kind=Kind.COMMIT)),
        ('savepoint "A b"', Control(kind=Kind.SAVEPOINT, name="A b")),
        ("ROLLBACK WORK TO SAVEPOINT x", Control(kind=Kind.ROLLBACK_TO, name="x")),
        ("select 1; commit", Control(kind=Kind.MIXED)),
        ("select 1; what is this", Control(kind=Kind.MIXED)),
        ("insert into t values ('; commit')", None),
        ("prepare x as select 1", None),
        ("select 1; select 2;", None),
        ("", None),
    ],
)
def test_control(sql: str, expected: Control | None) -> None:
    assert control(sql.encode()) == expected


@given(st.binary(max_size=300))
def test_control_never_fails(sql: bytes) -> None:
    control(sql)


def test_a_session_of_before_the_cut_may_go_on_at_any_line_and_its_transaction_is_not_known(log: Log) -> None:
    log.note("1.a", "1/1", "INSERT", "..", b"put a 1", line=7)
    log.note("1.b", "2/1", "INSERT", "..", b"put b 2")
    now = log.stop(connected="1.a 1.b")
    result = found(log, now)
    assert result.reasons == {"it had begun before the log was read": 1}
    assert [group.session for group in result.groups] == [b"1.b"]
