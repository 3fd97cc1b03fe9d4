"""A restore with approval, as Airflow operators: plan, approve, restore. What each means is in `pgkeep.approval`."""

import base64
import binascii
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
from airflow.sdk.execution_time.hitl import HITLUser

from pgkeep import approval, records, sentences
from pgkeep.airflow import alerts
from pgkeep.airflow.hooks import SiteHook, Sites
from pgkeep.airflow.operators import BackupStep, Record
from pgkeep.airflow.outcomes import airflow_outcome
from pgkeep.approval import Approved, Person, Proposal, Rules, SwapNote, Wish
from pgkeep.errors import ConfigError, Corrupted
from pgkeep.model import Instant, instant
from pgkeep.progress import log_lines
from pgkeep.sentences import question

if TYPE_CHECKING:
    from uuid import UUID

    from airflow.sdk import Context

    from pgkeep.site import Site

log = logging.getLogger(__name__)

SWAPPED, TOLD = "pgkeep_database_that_takes_the_place", "pgkeep_told_that_it_waits"
"""Keys of Airflow's state store, which keeps them for a task of a run."""


class PlanRestoreOperator(BackupStep):
    """What a restore by this run's Params would do and replace. Hands on the `Proposal`; nothing is touched."""

    def execute(self, context: "Context") -> Record:
        with airflow_outcome():
            _require_known(context)
            proposal = self.site().propose(_wish(context))
            log.info("%s\n%s", question.subject(proposal), question.body(proposal, triggered_by=_triggered_by(context)))
            return records.encode(proposal)


class ApproveRestoreOperator(ApprovalOperator):
    """A person looks at the proposal and answers; waits without a worker. Hands on the approval, sealed by this node.

    What is asked is made here, of the run's Params: what `plan` has handed on, whoever may edit XComs could change.
    Rejected, or unanswered for `hours`: green, and what follows is skipped. An approval that does not count is said in
    the log, and asked for again.
    """

    template_fields = ()

    def __init__(self, *, database: str, hours: float = 24.0, sites: Sites | None = None, **kwargs: Any) -> None:
        super().__init__(
            subject="",
            defaults=self.REJECT,
            ignore_downstream_trigger_rules=True,
            **kwargs,
        )
        self.database = database
        self.hours = hours
        self._sites = sites

    def site(self) -> "Site":
        """The adapters of this node for the database. Raises ConfigError."""
        return (self._sites or SiteHook().site)(self.database)

    def execute(self, context: "Context") -> NoReturn:
        with airflow_outcome():
            until = self._until(context)
            site, asker = self.site(), _triggered_by(context)
            proposal, rules = site.propose(_wish(context)), site.rules
            rules.require_askable(proposal, triggered_by=asker)
            _tell(context, proposal)  # before, not while it is answered
            self._ask(context, proposal, rules, until=until)

    def _until(self, context: "Context") -> datetime:
        """When the time is over, counted from when the run was triggered: who clears it later does not ask anew.

        Raises ConfigError: it is.
        """
        until: datetime = context["dag_run"].run_after + timedelta(hours=self.hours)
        if until <= datetime.now(UTC):
            raise ConfigError(
                f"this restore was asked for more than {self.hours:g} hours ago (approval_hours)",
                next_step="trigger a new run",
            )
        return until

    def _ask(self, context: "Context", proposal: Proposal, rules: Rules, *, until: datetime) -> NoReturn:
        asker = _triggered_by(context)
        self.subject = question.subject(proposal)
        self.body = question.body(proposal, triggered_by=asker)
        who = rules.respondents(proposal, triggered_by=asker)
        self.assigned_users = [HITLUser(id=id_, name=id_) for id_ in who]
        self.response_timeout = max(until - datetime.now(UTC), timedelta(seconds=1))
        _require_shown(proposal, put_question(context["ti"].id, self))
        # The answer is to this proposal, whatever stands in the XCom when it comes.
        kwargs = {"proposal": records.encode(proposal), "until": instant(until)}
        raise TaskAwaitingInput(method_name="answered", kwargs=kwargs, timeout=self.response_timeout)

    def answered(self, context: "Context", proposal: Record, until: Instant, event: dict[str, Any]) -> dict[str, Any]:
        """Called when somebody has answered, or the time is over. `until`: the time there is for all answers."""
        with airflow_outcome():
            asked, by = records.decode(Proposal, proposal), _person(event.get("responded_by_user"))
            if event.get("chosen_options") != [self.APPROVE]:
                for line in question.declined(asked, by=by.name if by else None):
                    log.warning(line)
                self.execute_complete(context, event)  # which skips what follows
                return {"approved": False, "by": by.name if by else None}
            asker, site = _triggered_by(context), self.site()
            objection = site.rules.objection(asked, triggered_by=asker, by=by)
            if objection or by is None:
                log.warning("This approval does not count: %s. Nothing has happened; asking again.", objection)
                self._ask(context, asked, site.rules, until=datetime.fromisoformat(until))
            yes = Approved(
                proposal=asked, run=_run(context), triggered_by=asker, by=by, time=instant(event["responded_at"])
            )
            log.info(question.approved(yes))
            seal = base64.b64encode(approval.sealed(yes, site.sealer)).decode("ascii")
            return {"approved": True, "by": by.name, "at": yes.time, "seal": seal}


class RestoreOperator(BackupStep):
    """Carries out what was approved, once. Hands on what came back, in a sentence. Needs a recipient's private key.

    Killed, it is tried again: what was half-made is dropped; what had taken its place already stays.
    """

    template_fields = ("approved",)

    def __init__(self, *, approved: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approved = approved

    def execute(self, context: "Context") -> str:
        with airflow_outcome():
            site = self.site()
            yes = approval.unsealed(_sealed(self.approved), site.sealer, run=_run(context))
            log.info(question.approved(yes))
            done = site.carry_out(yes, note=_note(context), watch=log_lines(log))
            said = question.already(yes) if done is None else sentences.restored_line(done, yes.proposal.label)
            log.info(said)
            return said


def put_question(ti_id: "UUID", asking: ApprovalOperator) -> str:
    """Lets Airflow ask, and gives what it shows: the first question of this task in this run, also after a clear.

    (The operator's own way of asking, `upsert_hitl_detail`, does not say what is shown.)
    """
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    asked = {
        "ti_id": ti_id,
        "options": asking.options,
        "subject": asking.subject,
        "body": asking.body,
        "defaults": asking.defaults,
        "params": asking.serialized_params,
        "assigned_users": asking.assigned_users or [],
    }
    shown = SUPERVISOR_COMMS.send(CreateHITLDetailPayload.model_validate(asked))
    return str(getattr(shown, "body", None) or "")


def _require_shown(proposal: Proposal, shown: str) -> None:
    """Raises ConfigError: an answer would be one to another question."""
    if approval.mark(proposal) not in shown:
        raise ConfigError(
            "this run has asked before, and what it would do has changed since (later backups, say, or another "
            "database stands there); Airflow goes on showing the first question",
            next_step="trigger a new run",
        )


def _tell(context: "Context", proposal: Proposal) -> None:
    """Once a run: the task may be tried again."""
    ti, store = context["ti"], context["task_state_store"]
    if not store.get(TOLD):
        alerts.restore_waits(ti.dag_id, ti.run_id, question.subject(proposal))
        store.set(TOLD, proposal.label)


def _require_known(context: "Context") -> None:
    """Raises ConfigError: somebody has asked for something that this DAG does not know, and would be misunderstood."""
    known = context["dag"].params  # not those of the run, among which Airflow puts whatever was asked for
    if unknown := sorted(set(context["params"]) - set(known)):
        raise ConfigError(
            f"this DAG does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}",
            next_step="trigger a new run",
        )


def _wish(context: "Context") -> Wish:
    """Of the run's Params, as Airflow has recorded them."""
    asked = context["params"]
    return Wish(
        point=approval.point(asked["moment"]),
        where=asked["server"],
        dbname=asked["dbname"],
        replace=asked["replace"],
        stale=asked["stale"],
    )


def _sealed(approved: Any) -> bytes:
    """Raises ConfigError: `approve` was marked as a success by hand, say; Corrupted."""
    if not isinstance(approved, dict) or not approved.get("seal"):
        raise ConfigError("nobody has approved this restore", next_step="clear the task approve, and answer it")
    try:
        return base64.b64decode(str(approved["seal"]), validate=True)
    except binascii.Error as error:
        raise Corrupted("the approval is damaged", next_step="clear the task approve, and answer it") from error


def _note(context: "Context") -> SwapNote:
    """Airflow keeps it for this task of this run, from try to try."""
    store = context["task_state_store"]

    def recall() -> str | None:
        found = store.get(SWAPPED)
        return None if found is None else str(found)

    return SwapNote(recall=recall, remember=lambda identity: store.set(SWAPPED, identity))


def _triggered_by(context: "Context") -> str | None:
    """The user's name, as Airflow has recorded it with the run."""
    return getattr(context["dag_run"], "triggering_user_name", None) or None


def _run(context: "Context") -> str:
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}"


def _person(user: Any) -> Person | None:
    """Who has answered, as Airflow has recorded it; None for nobody."""
    if isinstance(user, dict):
        id_, name = user.get("id"), user.get("name")
    else:
        id_, name = getattr(user, "id", None), getattr(user, "name", None)
    return Person(id=str(id_), name=str(name or id_)) if id_ else None
