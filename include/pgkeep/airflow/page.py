"""The page "Backups": at a glance whether all is well, and what the journals of all databases say. Read-only.

The journals are read from the peers at each request, all at once, and what does not answer in time is said so.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import jinja2
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from pgkeep.airflow import last_runs
from pgkeep.airflow.hooks import SiteHook
from pgkeep.airflow.overview import Fact, at_a_glance, judged
from pgkeep.audit import ledger
from pgkeep.errors import PgkeepError, Unavailable
from pgkeep.freshness import Facts, judge
from pgkeep.journal import Journal
from pgkeep.journal_store import JournalStore
from pgkeep.losses import bereft
from pgkeep.model import Entry
from pgkeep.progress import human_size, human_time
from pgkeep.sentences import age, content, moment, verdict
from pgkeep.settings import Database

ANSWER_SECONDS = 20.0
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}

Journals = Callable[[], Mapping[str, JournalStore]]
Databases = Callable[[], Mapping[str, Database]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry, in words."""

    number: int
    kind: str
    time: str
    age: str
    content: str
    size: str
    copies: str
    holders: str
    proven: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One database: at a glance, and its entries, newest first; or why they cannot be shown. `more`: to be done."""

    name: str
    facts: tuple[Fact, ...] = ()
    more: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    error: PgkeepError | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """What somebody has to do."""
        refused = (f"{self.error.what}. Next: {self.error.next_step}",) if self.error else ()
        return (*refused, *self.more, *(fact.next_step for fact in self.facts if fact.next_step))


def create_app(
    journals: Journals | None = None, databases: Databases | None = None, *, seconds: float = ANSWER_SECONDS
) -> FastAPI:
    """The page's application. Airflow only mounts it: that a visitor may see plugins is asked for here.

    `databases`: their settings, which say how old what may be. `seconds`: how long a journal may take to answer.
    """
    app = FastAPI(
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    reader = JournalReader(seconds)

    @app.get("/", response_class=HTMLResponse)
    def backups() -> HTMLResponse:
        try:
            hook = SiteHook()
            limits = (databases or hook.databases)()
            sections, error = reader.sections((journals or hook.journals)(), limits), None
        except PgkeepError as problem:
            sections, error = [], problem
        return HTMLResponse(html(sections, error=error), headers=HEADERS)

    return app


class JournalReader:
    """Reads journals side by side, each at most once at a time, however often the page is asked for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="pgkeep-journal")
        self._running: dict[str, Future[Facts]] = {}
        self._asking = Lock()

    def sections(self, journals: Mapping[str, JournalStore], databases: Mapping[str, Database]) -> list[Section]:
        """One section per database, in the order of their names."""
        asked = {name: self._ask(name, journals[name], databases.get(name)) for name in sorted(journals)}
        wait(asked.values(), timeout=self._seconds)
        return [self._section(name, future, databases.get(name)) for name, future in asked.items()]

    def _ask(self, name: str, store: JournalStore, database: Database | None) -> Future[Facts]:
        with self._asking:
            running = self._running.get(name)
            if running is None or running.done():
                running = self._running[name] = self._pool.submit(known, store, database)
            return running

    def _section(self, name: str, future: Future[Facts], database: Database | None) -> Section:
        try:
            found = future.result(timeout=0)
            lost = bereft(found.journal, found.lost)
            lines = tuple(line(entry, found.journal, lost) for entry in reversed(found.journal.entries))
            shown, more = judged(at_a_glance(found), judge(found, database.limits) if database else ())
            failed = tuple(failures(database.slug, now=datetime.now(UTC))) if database else ()
            return Section(name=name, facts=shown, more=(*more, *failed), lines=lines)
        except TimeoutError:
            slow = Unavailable(
                f"the peers did not give the journal of {name} within {human_time(self._seconds)}",
                next_step="look again in a minute; if it stays so: pgkeep check",
            )
            return Section(name=name, error=slow)
        except PgkeepError as error:
            return Section(name=name, error=error)


def known(store: JournalStore, database: Database | None) -> Facts:
    """What the peers have of that database now; of what they do not show, the watch tells. Raises as
    `JournalStore.head`. `database`: its settings, if it has any.
    """
    listing = store.search.listing()
    head, audits = store.search.head(listing), ledger.known(store.search, listing)
    return Facts(
        head=head,
        now=datetime.now(UTC),
        remembered=(),
        lineage={head.journal.sequence: head.cid},
        audited=audits.ended,
        damage=audits.damaged(head.journal),
        lost=audits.lost,
        drills=database is not None and database.scratch is not None,
        retained=None,
        shortages=(),
        keys=(),
    )


def failures(slug: str, *, now: datetime) -> Iterator[str]:
    """What there is to be done by the last runs of the database's DAGs."""
    return last_runs.steps(slug, last_runs.last_runs(slug), now=now)


def line(entry: Entry, journal: Journal, lost: Collection[Entry] = ()) -> Line:
    """An entry in words; copies are those that were confirmed when it was recorded."""
    backup = entry.backup
    held = [{copy.name for copy in copies} for copies in entry.holders.values()]
    everywhere = set.intersection(*held) if held else set[str]()
    return Line(
        number=entry.sequence,
        kind=backup.kind,
        time=moment(backup.cut.time),
        age=age(backup.cut.time),
        content=content(backup),
        size=human_size(backup.size) if backup.parts else "-",
        copies=f"{min(map(len, held))} of {entry.copies}" if held else "-",
        holders=", ".join(sorted(everywhere)),
        proven=verdict(entry, journal, lost),
        by=f"{backup.origin.by} on {backup.origin.host}",
    )


def html(sections: list[Section], *, error: PgkeepError | None = None) -> str:
    """The whole page; jinja escapes all that comes from outside."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(text).render(sections=sections, error=error)
