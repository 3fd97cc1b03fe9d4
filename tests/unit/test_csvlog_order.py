"""Transactions that are run again in the order of their ends give the rows that there were, or it is said that they
would not: in any interleaving of sessions that lock rows as PostgreSQL does, over several windows.
"""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fix_csvlog_groups import Rows, Script, Steps, World, judge, run_again
from pgkeep.adapters.postgres.csvlog.model import Exact, Group, Write
from pgkeep.adapters.postgres.csvlog.transactions.groups import collect
from pgkeep.adapters.postgres.csvlog.transactions.moments import LogMoment, begun
from pgkeep.adapters.postgres.csvlog.transactions.order import ordered, overlaps
from pgkeep.positions import LogCut
from pgkeep.visibility import Visible

keys = st.sampled_from("abc")
words = st.one_of(
    st.tuples(st.just("put"), keys),
    st.tuples(st.just("add"), st.one_of(keys, keys, st.just("*"))),
    st.tuples(st.just("drop"), keys),
    st.just(("look",)),
    st.just(("SAVEPOINT", "s")),
    st.just(("ROLLBACK", "TO", "s")),
)


@st.composite
def scripts(draw: st.DrawFn, number: int) -> Script:
    """A session's life; each statement that changes leaves a mark of its own."""
    transactions = list[tuple[str, ...]]()
    for t in range(draw(st.integers(1, 4))):
        statements = list[str]()
        saved = False
        for s, found in enumerate(draw(st.lists(words, min_size=1, max_size=4))):
            saved |= found[0] == "SAVEPOINT"
            if found[0] != "ROLLBACK" or saved:
                mark = (f"{number}{t}{s},",) if found[0] in {"put", "add"} else ()
                statements.append(" ".join((*found, *mark)))
        if len(statements) == 1 and statements[0].startswith(("SAVEPOINT", "ROLLBACK")):
            statements.append("look")
        transactions.append(tuple(statements) or ("look",))
    return Script(
        number=number,
        transactions=tuple(transactions),
        extended=draw(st.booleans()),
        durations=draw(st.booleans()),
        repeatable=draw(st.booleans()),
        leaves=draw(st.booleans()),
    )


class Keeper:
    """Keeps a copy, window by window. `world`: what is copied."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows: Rows = {}
        self.base = 0
        self.then: LogCut | None = None
        self.before: Visible | None = None
        self.results = Counter[str]()

    def take(self, now: LogMoment, rows: Rows, size: int) -> None:
        if self.then is None or self.before is None:
            self.results["first"] += 1
            again, self.then, self.rows = now.first, begun(now), rows
        else:
            found = collect(
                (pair for pair in self.world.since(self.base) if pair[0].place < 10 * size - self.base),
                judge=judge,
                committed=self.world.done.get,
                then=self.then,
                before=self.before,
                now=now,
                begins_logged=True,
            )
            if found.ambiguous:
                self.results["disturbed"] += 1
                return
            again, self.then = found.again, found.carried
            if found.reasons:
                self.results["inexact"] += 1
                self.rows = rows
            else:
                self.results["exact with groups" if found.groups else "exact"] += 1
                self.rows = run_again(self.rows, found.groups)
                assert self.rows == rows
        self.base += again
        self.before = now.snapshot


def play(world: World, sessions: list[Steps], keeper: Keeper, choose: Callable[[int], int]) -> None:
    """Lets the sessions and the cuts take their steps in the order that is chosen, until all is over."""
    cuts = 5
    at_work = [*sessions, world.cut(keeper.take, lambda: keeper.base)]
    cutting, waiting = at_work[-1], 0
    while at_work:
        steps = at_work[choose(len(at_work))]
        went = world.go_on(steps)
        waiting = 0 if went else waiting + 1
        if waiting > 20 * len(at_work):
            world.stuck, waiting = True, 0
        if went is None:
            at_work.remove(steps)
            if steps is cutting and (cuts := cuts - 1) and len(at_work):
                cutting = world.cut(keeper.take, lambda: keeper.base)
                at_work.append(cutting)
    for _ in world.cut(keeper.take, lambda: keeper.base):
        pass


@settings(max_examples=150)
@given(data=st.data())
def test_what_is_run_again_gives_the_same_rows_or_nothing_is_run(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    world = World(rows={"a": "a,", "b": "b,"})
    keeper = Keeper(world)
    sessions = [world.session(data.draw(scripts(number))) for number in range(2, 2 + count)]
    random = data.draw(st.randoms(use_true_random=False))
    play(world, sessions, keeper, random.randrange)
    for result in sorted(keeper.results):
        event(result)


def some_script(number: int, names: str, random: Random) -> Script:
    """As `scripts`, quicker and longer."""
    transactions = list[tuple[str, ...]]()
    for t in range(random.randint(1, 5)):
        statements = list[str]()
        for s in range(random.choice([1, 1, 1, 2, 3, 4])):
            key, mark = random.choice(names), f"{number}{t}{s},"
            kinds = [f"put {key} {mark}", f"add {key} {mark}", f"add * {mark}", f"drop {key}", "look", "SAVEPOINT s"]
            undo = ["ROLLBACK TO s"] if "SAVEPOINT s" in statements else []
            statements.append(random.choices([*kinds, *undo], [4, 6, 1, 3, 3, 3, *(4 for _ in undo)])[0])
        transactions.append((*statements, "look") if statements == ["SAVEPOINT s"] else tuple(statements))
    return Script(
        number=number,
        transactions=tuple(transactions),
        extended=random.random() < 0.5,
        durations=random.random() < 0.6,
        repeatable=random.random() < 0.3,
        leaves=random.random() < 0.2,
    )


class Bursts:
    """Chooses who goes on: mostly the same for a while."""

    def __init__(self, random: Random) -> None:
        self.random, self.longest, self.left, self.last = random, random.choice([1, 1, 3, 10]), 0, 0

    def __call__(self, count: int) -> int:
        if self.left == 0 or self.last >= count:
            self.last, self.left = self.random.randrange(count), self.random.randint(1, self.longest)
        self.left -= 1
        return self.last


@pytest.mark.parametrize("first", range(0, 2000, 500))
def test_so_it_is_in_thousands_of_interleavings(first: int) -> None:
    results = Counter[str]()
    for seed in range(first, first + 500):
        random = Random(seed)
        names = random.choice(["abc", "abcdefghijklmnop"])
        world = World(rows={key: f"{key}," for key in names[::2]})
        keeper = Keeper(world)
        numbers = range(2, 3 + random.randrange(4))
        sessions = [world.session(some_script(number, names, random)) for number in numbers]
        try:
            play(world, sessions, keeper, Bursts(random))
        except (AssertionError, KeyError) as error:
            raise AssertionError(f"seed {seed}") from error
        results += keeper.results
    assert results["exact with groups"] > 100, results


def group(session: str, begins: int, ends: int, *keys: str, whole: bool = False) -> Group:
    write = Write(schema="public", name="t", keys=None if whole else keys, inserted=0)
    return Group(
        session=session.encode(),
        vxid=b"1/1",
        xid=0,
        time=b"",
        begun=begins,
        said=ends,
        ended=ends,
        statements=(Exact(sql=b"..", writes=(write,)),),
        first_write={("public", "t"): begins},
    )


def test_who_writes_the_same_row_while_another_does_is_not_put_in_order() -> None:
    found = overlaps([group("a", 1, 5, "x"), group("b", 4, 8, "x")])
    assert found == {
        "two sessions wrote the same rows of public.t at the same time, and the log does not show which was last": 1
    }


def test_other_rows_other_times_and_what_was_settled_do_not_matter() -> None:
    assert not overlaps([group("a", 1, 5, "x"), group("b", 4, 8, "y")])
    assert not overlaps([group("a", 1, 5, "x"), group("b", 5, 8, "x")])
    assert not overlaps([], settled=[group("a", 1, 5, "x"), group("b", 4, 8, "x")])


def test_a_whole_table_meets_each_of_its_rows_and_the_settled_ones() -> None:
    assert overlaps([group("a", 1, 5, "x"), group("b", 4, 8, whole=True)])
    assert overlaps([group("a", 1, 5, whole=True), group("b", 4, 8, "x")])
    assert overlaps([group("a", 1, 5, "x")], settled=[group("b", 4, 8, "x")])


spans = st.tuples(st.integers(0, 60), st.integers(1, 20), st.one_of(st.none(), st.frozensets(keys, max_size=2)))


@given(st.lists(spans, max_size=12))
def test_the_sweep_finds_what_comparing_each_two_finds(found: list[tuple[int, int, frozenset[str] | None]]) -> None:
    groups = [
        group(str(i), begins, begins + size, *sorted(of or ()), whole=of is None)
        for i, (begins, size, of) in enumerate(found)
    ]
    pairs = [(a, b) for i, a in enumerate(found) for b in found[i + 1 :]]
    meet = any(
        a[0] < b[0] + b[1] and b[0] < a[0] + a[1] and (a[2] is None or b[2] is None or a[2] & b[2]) for a, b in pairs
    )
    assert bool(overlaps(groups)) == meet
    assert [one.ended for one in ordered(groups)] == sorted(one.ended for one in groups)
