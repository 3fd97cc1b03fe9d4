"""Plan, approve, restore as tasks, over the doubles: what they ask, whose answer counts, and what they do then."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Context
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from in_airflow.steps import Record, collect, record, replicated
from in_airflow.world import World
from pgkeep import records
from pgkeep.airflow.restoring import ApproveRestoreOperator, PlanRestoreOperator, RestoreOperator
from pgkeep.approval import Proposal
from pgkeep.errors import Unavailable
from pgkeep.model import Instant, instant
from pgkeep.testing import NODE, MemoryCapture, MemoryTarget, sample_inventory

ASKED = {"moment": "latest", "server": "production", "dbname": "shop", "replace": True, "stale": False}
NOW = datetime.now(UTC).replace(microsecond=0)
ADMIN, VERA = {"id": "admin", "name": "admin"}, {"id": "vera", "name": "vera"}


class Store(dict[str, object]):
    """What Airflow keeps for a task, from try to try."""

    def set(self, key: str, value: object) -> None:
        self[key] = value


@pytest.fixture
def kept(world: World) -> World:
    """A full backup, and a database in production that is not what it was."""
    world.capture = MemoryCapture(world.source)
    record(world, replicated(world, collect(world)))
    world.production.database = sample_inventory(rows=1)
    return world


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Airflow is told to ask: there is no supervisor here."""
    asked: list[dict[str, Any]] = []
    shown = dict[object, str]()

    def put(ti_id: object, asking: ApproveRestoreOperator) -> str:
        names = ("options", "subject", "body", "defaults", "assigned_users")
        asked.append({name: getattr(asking, name) for name in names})
        return shown.setdefault(ti_id, str(asking.body))

    monkeypatch.setattr("pgkeep.airflow.restoring.put_question", put)
    return asked


def context(
    *,
    params: Mapping[str, object] = ASKED,
    triggered_by: str | None = "admin",
    store: Store | None = None,
    ago: timedelta = timedelta(0),
) -> Context:
    ti = SimpleNamespace(id="1", dag_id="pgkeep_shop_restore", run_id="manual__1", try_number=1)
    run = SimpleNamespace(triggering_user_name=triggered_by, run_after=datetime.now(UTC) - ago)
    store = Store() if store is None else store
    found = {"ti": ti, "task_instance": ti, "dag_run": run, "params": params, "task_state_store": store}
    return cast(Context, found | {"dag": SimpleNamespace(params=ASKED)})


def plan(world: World, **asked: object) -> Record:
    step = PlanRestoreOperator(task_id="plan", database="shop", sites=world.site)
    return step.execute(context(params=ASKED | asked))


def approve(world: World) -> ApproveRestoreOperator:
    return ApproveRestoreOperator(task_id="approve", database="shop", sites=world.site)


def restore(world: World, approved: Any) -> RestoreOperator:
    return RestoreOperator(task_id="restore", database="shop", approved=approved, sites=world.site)


def answered(
    world: World,
    proposal: Record,
    *,
    by: dict[str, str] | None,
    option: str = "Approve",
    ago: timedelta = timedelta(0),
    until: Instant | None = None,
) -> dict[str, Any]:
    event = {"chosen_options": [option], "params_input": {}, "responded_at": NOW - ago, "responded_by_user": by}
    until = Instant("2099-01-01T00:00:00.000000Z") if until is None else until
    return approve(world).answered(context(), proposal, until, event)


def test_the_plan_is_handed_on_and_nothing_is_touched(kept: World) -> None:
    proposal = records.decode(Proposal, plan(kept))
    assert (proposal.production, proposal.replace, proposal.label) == (True, True, "memory/shop")
    assert kept.production.made == 0


@pytest.mark.parametrize(("server", "production"), [("memory", True), ("another", False)])
def test_production_is_a_server_and_not_its_address(kept: World, server: str, production: bool) -> None:
    kept.scratch.label, kept.scratch.server = "other-address/shop", server
    assert records.decode(Proposal, plan(kept, server="scratch")).production is production


def test_a_server_that_answers_is_not_the_one_that_does_not(kept: World) -> None:
    class Lost(MemoryTarget):
        def system(self) -> str:
            raise Unavailable("memory does not answer", next_step="start it")

    kept.production, kept.scratch.label = Lost(), "other-address/shop"
    assert records.decode(Proposal, plan(kept, server="scratch")).production is False


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"moment": "2026-02-30T00:00:00Z"}, "is no moment to restore. Next: write latest"),
        ({"moment": "entry 77"}, "entry 77"),
        ({"replace": False}, "is not empty"),
        (
            {"server": "elsewhere"},
            "no server is named as elsewhere of shop. Next: trigger a new run whose server is production or scratch",
        ),
    ],
)
def test_what_cannot_be_planned_fails_at_once_with_a_sentence(kept: World, asked: dict[str, object], said: str) -> None:
    with pytest.raises(AirflowFailException) as failed:
        plan(kept, **asked)
    assert said in str(failed.value)
    assert "Next:" in str(failed.value)


def test_what_it_does_not_know_is_refused(kept: World) -> None:
    """Airflow puts whatever somebody asks for among the run's Params."""
    with DAG("restores", schedule=None, params=dict(ASKED)) as dag:
        step = PlanRestoreOperator(task_id="plan", database="shop", sites=kept.site)
    conf = {"moment": "latest", "serverr": "scratch"}
    params = process_params(dag, step, conf, suppress_exception=False)
    asked = cast(Context, {**context(params=params), "dag": dag})
    with pytest.raises(AirflowFailException, match="does not know serverr; it knows dbname, moment"):
        step.execute(asked)


def test_the_question_says_what_is_at_stake(kept: World, questions: list[dict[str, Any]]) -> None:
    with pytest.raises(TaskAwaitingInput) as parked:
        approve(kept).execute(context())
    (question,) = questions
    assert question["subject"] == "Restore shop into PRODUCTION, as memory/shop?"
    assert "1 table with about 1 row" in question["body"]
    assert (question["options"], question["defaults"]) == (["Approve", "Reject"], ["Reject"])
    assert question["assigned_users"] == []
    assert parked.value.method_name == "answered"
    assert parked.value.timeout
    assert timedelta(hours=23) < parked.value.timeout <= timedelta(hours=24)
    assert parked.value.kwargs
    assert parked.value.kwargs["proposal"] == plan(kept)
    assert datetime.fromisoformat(parked.value.kwargs["until"]) > datetime.now(UTC) + timedelta(hours=23)


@pytest.mark.usefixtures("questions")
def test_somebody_is_told_that_a_restore_waits(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[tuple[str, ...]]()
    monkeypatch.setattr("pgkeep.airflow.alerts.restore_waits", lambda *letter: told.append(letter))
    with pytest.raises(TaskAwaitingInput):
        approve(kept).execute(context())
    assert told == [("pgkeep_shop_restore", "manual__1", "Restore shop into PRODUCTION, as memory/shop?")]


@pytest.mark.usefixtures("questions")
def test_asked_again_it_is_the_question_that_is_shown_or_none(kept: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow shows the first question of a task in a run as long as the run is there."""
    told = list[tuple[str, ...]]()
    monkeypatch.setattr("pgkeep.airflow.alerts.restore_waits", lambda *letter: told.append(letter))
    store = Store()
    for _ in range(2):
        with pytest.raises(TaskAwaitingInput):
            approve(kept).execute(context(store=store))
    kept.production.standing = "another"
    with pytest.raises(AirflowFailException, match="what it would do has changed since"):
        approve(kept).execute(context(store=store))
    assert len(told) == 1, "a letter tells of a run, not of a try"


def test_who_clears_an_old_run_does_not_ask_anew(kept: World, questions: list[dict[str, Any]]) -> None:
    """Airflow does not say who has cleared it: one person alone could revive what another has asked for."""
    with pytest.raises(AirflowFailException, match=r"more than 24 hours ago \(approval_hours\).*trigger a new run"):
        approve(kept).execute(context(ago=timedelta(hours=25)))
    with pytest.raises(TaskAwaitingInput) as parked:
        approve(kept).execute(context(ago=timedelta(hours=23)))
    assert parked.value.timeout
    assert parked.value.timeout <= timedelta(hours=1)
    assert len(questions) == 1


def test_airflow_lets_only_those_answer_who_may(kept: World, questions: list[dict[str, Any]]) -> None:
    kept.settings = {"approval_by_another": True, "approvers": ("admin", "vera")}
    with pytest.raises(TaskAwaitingInput):
        approve(kept).execute(context())
    assert questions[0]["assigned_users"] == [VERA]


def test_nobody_is_asked_where_nobody_knows_who_has_triggered_it(kept: World, questions: list[dict[str, Any]]) -> None:
    kept.settings = {"approval_by_another": True}
    with pytest.raises(AirflowFailException, match="does not know who triggered this run"):
        approve(kept).execute(context(triggered_by=None))
    assert questions == []


def test_the_one_who_triggered_it_is_asked_in_vain(
    kept: World, questions: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    kept.settings = {"approval_by_another": True, "approvers": ("17", "admin", "vera")}
    proposal, until = plan(kept), instant(datetime.now(UTC) + timedelta(hours=3))
    for by in (ADMIN, {"id": "17", "name": "admin"}, None):
        with pytest.raises(TaskAwaitingInput) as parked:
            answered(kept, proposal, by=by, until=until)
        assert parked.value.kwargs == {"proposal": proposal, "until": until}
        assert parked.value.timeout <= timedelta(hours=3), "whose answer does not count makes no more time"
    assert [question["assigned_users"] for question in questions] == [[{"id": "17", "name": "17"}, VERA]] * 3
    assert "admin has triggered this run, and somebody else has to approve it" in caplog.text
    assert "does not say who approved" in caplog.text
    assert answered(kept, proposal, by=VERA)["by"] == "vera"


@pytest.mark.parametrize(("by", "said"), [(ADMIN, "admin has rejected it"), (None, "Nobody has answered in time")])
def test_rejected_or_unanswered_nothing_has_happened(
    kept: World, by: dict[str, str] | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    done = answered(kept, plan(kept), by=by, option="Reject")
    assert done == {"approved": False, "by": by and by["name"]}
    assert said in caplog.text
    assert "Nothing has happened at memory/shop" in caplog.text
    with pytest.raises(AirflowFailException, match="nobody has approved this restore"):
        restore(kept, done).execute(context())
    assert (kept.production.made, kept.production.database) == (0, sample_inventory(rows=1))


def test_what_was_approved_comes_back(kept: World) -> None:
    yes = answered(kept, plan(kept), by=VERA)
    said = restore(kept, yes).execute(context())
    assert said.startswith("memory/shop: restored from entry 2")
    assert said.endswith("what was there is now shop_before")
    assert kept.production.database
    assert kept.production.database.totals.rows == 3


def test_an_old_approval_counts_no_more(kept: World) -> None:
    """Days later somebody clears a red task: what stands there now may be newer than what was approved."""
    assert restore(kept, answered(kept, plan(kept), by=VERA, ago=timedelta(hours=23))).execute(context())
    old = answered(kept, plan(kept), by=VERA, ago=timedelta(hours=25))
    with pytest.raises(AirflowFailException, match=r"more than 24 hours ago \(approval_hours\).*trigger a new run"):
        restore(kept, old).execute(context())


def test_a_second_try_finds_the_work_done(kept: World) -> None:
    store, yes = Store(), answered(kept, plan(kept), by=VERA)
    restore(kept, yes).execute(context(store=store))
    kept.production.database = sample_inventory(rows=50)
    assert "had brought it there already" in restore(kept, yes).execute(context(store=store))
    assert kept.production.database == sample_inventory(rows=50)


def test_cleared_when_airflow_has_forgotten_it_replaces_nothing_either(kept: World) -> None:
    yes = answered(kept, plan(kept), by=VERA)
    restore(kept, yes).execute(context())
    with pytest.raises(AirflowFailException, match="not what was shown for approval"):
        restore(kept, yes).execute(context())


@pytest.mark.parametrize("forged", [None, {}, {"approved": True, "by": "vera"}, {"seal": "%"}, {"seal": "QUJD"}])
def test_without_the_seal_of_a_node_nobody_has_approved(kept: World, forged: object) -> None:
    with pytest.raises(AirflowFailException):
        restore(kept, forged).execute(context())
    assert kept.production.made == 0


def test_a_worker_without_the_key_fails_at_once(kept: World) -> None:
    yes = answered(kept, plan(kept), by=VERA)
    kept.sealer.holds = frozenset({NODE})
    with pytest.raises(AirflowFailException, match="no private key"):
        restore(kept, yes).execute(context())


def test_a_server_that_is_away_is_asked_again(kept: World) -> None:
    proposal = plan(kept)

    class Away(MemoryTarget):
        def occupant(self) -> Any:
            raise Unavailable("memory does not answer", next_step="again")

    yes = answered(kept, proposal, by=VERA)
    kept.production = Away()
    with pytest.raises(Unavailable):
        restore(kept, yes).execute(context())
