"""What is told to people, and when: one letter when something goes wrong, and one when it is over. Pure.

A letter lies in its incident's outbox until every way has taken it: a mail server that is down loses none.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pgkeep.model import Instant

MOST_LETTERS = 20
"""That many wait, at most, for a way that takes none: the newest."""
MOST_WORDS = 10
"""Of that many tries, the last ones, it is known why they have failed."""
QUIET = timedelta(hours=24)
"""So long after it has passed, a topic of an incident that goes on is no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """`ways`: over which it has still to go."""

    subject: str
    text: str
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """Why a try of a task failed, in its own words, and on which topics. The DAG's callbacks see no exception."""

    run: str
    task: str
    attempt: int
    what: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the tries of a DAG that have failed last have said, for the callbacks that are still to come."""

    words: tuple[LastWords, ...] = ()

    def of(self, *, run: str, task: str | None, attempt: int | None) -> LastWords | None:
        """What that very try of the task has said, or None: it was killed, say."""
        found = (words for words in self.words if (words.run, words.task, words.attempt) == (run, task, attempt))
        return next(found, None)

    def without(self, run: str) -> "Said":
        """That run has ended well; what others have said is still to be told."""
        return Said(words=tuple(words for words in self.words if words.run != run))

    def and_then(self, words: LastWords) -> "Said":
        """Another try has said why it fails."""
        return Said(words=(*self.words, words)[-MOST_WORDS:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A topic of an incident that goes on without it. `time`: when a run first failed because of others only."""

    topic: str
    time: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What is wrong with a DAG. `since`: when somebody first heard of it, None: all is well; `topics`: what of."""

    dag: str
    since: Instant | None
    topics: tuple[str, ...]
    outbox: tuple[Letter, ...]
    passed: tuple[Passed, ...] = ()

    @property
    def forgettable(self) -> bool:
        """Nothing is wrong, and there is nothing to say."""
        return self.since is None and not self.outbox


Ways = Collection[str]
Write = Callable[[], tuple[str, str]]
"""Writes a letter: its subject and text. Called only if there is one to write."""


def nothing(dag: str) -> Incident:
    """All is well."""
    return Incident(dag=dag, since=None, topics=(), outbox=())


def wrong(incident: Incident, topics: Collection[str], *, ways: Ways, now: Instant, write: Write) -> Incident:
    """A run has failed, because of `topics`. There is a letter only if one of these is new.

    What is no topic any more is told again when it comes back, but not within QUIET: topics may take turns.
    """
    passed = {past.topic: past for past in incident.passed if _since(past.time, now) < QUIET}
    if not set(topics) <= {*incident.topics, *passed}:
        incident = _with_letter(incident, write(), ways)
    passed |= {topic: Passed(topic=topic, time=now) for topic in incident.topics}
    left = tuple(past for topic, past in sorted(passed.items()) if topic not in topics)
    return replace(incident, since=incident.since or now, topics=tuple(sorted(topics)), passed=left)


def late(incident: Incident, topic: str, *, ways: Ways, now: Instant, write: Write) -> Incident:
    """A run has not ended in time: beside what is wrong already."""
    return wrong(incident, {*incident.topics, topic}, ways=ways, now=now, write=write)


def over(incident: Incident, *, ways: Ways, write: Write) -> Incident:
    """A run has ended well. There is a letter only if something was wrong."""
    if incident.since is not None:
        incident = _with_letter(incident, write(), ways)
    return replace(incident, since=None, topics=(), passed=())


def by_hand(incident: Incident, *, ways: Ways, write: Write) -> Incident:
    """Of a run that somebody has begun by hand: each is told, and no other run's end is the end of it."""
    return _with_letter(incident, write(), ways)


def delivered(incident: Incident, letter: Letter, ways: Ways) -> Incident:
    """That letter has gone over these ways."""
    left = replace(letter, ways=tuple(way for way in letter.ways if way not in ways))
    outbox = (left if waiting == letter else waiting for waiting in incident.outbox)
    return replace(incident, outbox=tuple(waiting for waiting in outbox if waiting.ways))


def _since(time: Instant, now: Instant) -> timedelta:
    return abs(datetime.fromisoformat(now) - datetime.fromisoformat(time))


def _with_letter(incident: Incident, written: tuple[str, str], ways: Ways) -> Incident:
    subject, text = written
    outbox = (*incident.outbox, Letter(subject=subject, text=text, ways=tuple(ways)))
    return replace(incident, outbox=outbox[-MOST_LETTERS:])
