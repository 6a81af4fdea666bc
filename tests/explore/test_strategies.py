"""Strategies find races of known depth as often as they say, and replay what was seen."""

from itertools import pairwise
from random import Random

import pytest

from explore.controller import Rest, Standing
from explore.coverage import Coverage
from explore.following import Replay, Yields
from explore.points import Footprint, Statement
from explore.strategies import (
    PCT,
    Learning,
    PartialOrder,
    RandomWalk,
    StaleReads,
    bound,
    depth_of,
)
from reports.statistics import Rate
from tests.explore.toy import SHARED, run

LONG = 12
TWO = {"scheduler-1": [f"a{n}" for n in range(LONG)], "scheduler-2": [f"b{n}" for n in range(LONG)]}


def place(done: list[tuple[str, str]], step: str) -> int:
    return next(n for n, (_, point) in enumerate(done) if point == step)


def deep(done: list[tuple[str, str]]) -> bool:
    """A race of depth 2: b5 between a7 and a8, as a write between a read and its use."""
    return place(done, "a7") < place(done, "b5") < place(done, "a8")


def test_pct_keeps_its_bound_for_a_race_of_depth_2() -> None:
    rounds, steps = 2000, 2 * LONG
    shown = sum(deep(run(TWO, PCT(Random(seed), 2, steps))) for seed in range(rounds))
    promised = bound(2, steps, 2)
    assert Rate(shown, rounds).interval(0.999).high >= promised
    assert shown >= rounds * promised * 0.8


def test_pct_of_depth_1_never_preempts() -> None:
    for seed in range(20):
        done = run(TWO, PCT(Random(seed), 1, 2 * LONG))
        changes = sum(one[0] != other[0] for one, other in pairwise(done))
        assert changes == 1


def test_pct_finds_an_order_where_a_random_walk_hardly_does() -> None:
    """All of one thread before the other's first step, a race that patience alone shows."""

    def last(done: list[tuple[str, str]]) -> bool:
        return place(done, f"a{LONG - 1}") < place(done, "b0")

    by_pct = sum(last(run(TWO, PCT(Random(s), 2, 2 * LONG))) for s in range(100))
    by_walk = sum(last(run(TWO, RandomWalk(Random(s)))) for s in range(100))
    assert by_pct > 20 > by_walk


def test_pct_lets_the_holder_of_a_lock_go_first() -> None:
    """Whoever the most urgent one waits for inherits its priority."""
    for seed in range(20):
        strategy = PCT(Random(seed), 1, 10)
        strategy._priorities = {"scheduler-1": 0.1, "scheduler-2": 0.5, "scheduler-3": 0.9}
        threads = {"scheduler-1": ["holds"], "scheduler-2": ["free"]}
        done = run(threads, strategy, blocks=lambda process, _:
                   ("scheduler-3",) if process == "scheduler-1" else ())  # fmt: skip
        assert done[0] == ("scheduler-1", "holds")


@pytest.mark.parametrize("number", range(3))
def test_depth_grows_from_round_to_round(number: int) -> None:
    depths = [depth_of(n, 5) for n in range(100)]
    assert depths[:6] == [2, 2, 3, 2, 3, 4]
    assert max(depths) == 5
    assert depths.count(2) >= depths.count(5 - number)


def test_pos_shows_each_order_of_two_writes() -> None:
    both = {"scheduler-1": ["a"], "scheduler-2": ["b"]}
    firsts = [run(both, PartialOrder(Random(seed)))[0][1] for seed in range(200)]
    assert 60 < firsts.count("a") < 140


def test_learning_sees_all_pairs_in_fewer_rounds_than_a_walk() -> None:
    def rounds(learns: bool) -> int:
        coverage, rng = Coverage(), Random(7)
        for number in range(1, 500):
            strategy = Learning(rng, coverage, 3, 2 * LONG) if learns else RandomWalk(rng)
            run(TWO, strategy, coverage)
            coverage.end()
            if len(coverage.pairs) >= 2 * LONG * LONG - 40:
                return number
        return 500

    assert rounds(True) < 0.8 * rounds(False)


def test_a_replay_is_the_round_again() -> None:
    for seed in range(20):
        done = run(TWO, RandomWalk(Random(seed)))
        strategy = Replay(done)
        assert run(TWO, strategy) == done
        assert strategy.parted is None


def test_a_replay_says_where_it_parted() -> None:
    done = run(TWO, RandomWalk(Random(3)))
    missing = [*done[:9], ("scheduler-1", "never"), *done[9:]]
    strategy = Replay(missing)
    assert run(TWO, strategy) == done
    assert strategy.parted == 9


def test_a_replay_lets_pass_what_comes_too_much() -> None:
    done = run(TWO, RandomWalk(Random(3)))
    idle = {**TWO, "scheduler-1": ["idle", *TWO["scheduler-1"]]}
    again = run(idle, Replay(done))
    assert [step for step in again if step[1] != "idle"] == done


def test_what_a_replay_lets_past_too_much_is_no_step_of_its_schedule() -> None:
    strategy = Replay([("scheduler-1", "one"), ("scheduler-2", "two")], patience=0)
    idle, one = (
        Standing(n, n, f"scheduler-{n}", Statement(name, SHARED))
        for n, name in ((3, "idle"), (1, "one"))
    )
    assert strategy.choose([idle]) is idle
    assert strategy.step(1) == 0
    assert strategy.choose([idle, one]) is one
    assert strategy.step(2) == 1
    assert RandomWalk(Random(1)).step(7) == 7


def test_what_is_left_of_a_round_after_its_schedule_goes_on_by_points() -> None:
    assert Replay([]).step(5) == 5


@pytest.mark.parametrize("missing", [1, 20])
def test_a_replay_leaves_out_what_never_comes_though_others_idle_on(missing: int) -> None:
    """Two idle schedulers always stand where the schedule has nobody; the API server is not kept
    waiting for longer than it takes to see that."""
    idle = {name: ["idle"] * 200 for name in TWO}
    steps = [("api-server", f"never-{n}") for n in range(missing)]
    strategy = Replay([*steps, ("api-server", "comes")])
    done = run({**idle, "api-server": ["comes"]}, strategy)
    assert strategy.parted == 0
    assert done.index(("api-server", "comes")) <= Replay.EXTRA + missing


def test_a_replay_waits_for_who_is_late_though_others_idle_on() -> None:
    idle = {"scheduler-1": ["idle"] * 5, "scheduler-2": ["idle"] * 5 + ["late", "last"]}
    done = run(idle, Replay([("scheduler-2", "late"), ("scheduler-2", "last")]))
    assert done[-2:] == [("scheduler-2", "late"), ("scheduler-2", "last")]


def test_yields_preempts_there_alone() -> None:
    done = run(TWO, Yields({"scheduler-1": ["a7"]}))
    assert done == [
        *(("scheduler-1", f"a{n}") for n in range(7)),
        *(("scheduler-2", f"b{n}") for n in range(LONG)),
        *(("scheduler-1", f"a{n}") for n in range(7, LONG)),
    ]


def test_the_scheduler_that_comes_first_has_the_part_of_the_one_that_yields() -> None:
    strategy = Yields({"scheduler-2": ["a7"]})
    done = run(TWO, strategy)
    assert done == run(TWO, Yields({"scheduler-1": ["a7"]}))
    assert (strategy.plays("scheduler-2"), strategy.plays("api-server")) == (
        "scheduler-1", "api-server",
    )  # fmt: skip


def test_a_part_can_be_given_to_another() -> None:
    strategy = Yields({"scheduler-2": ["a7"]})
    run(TWO, strategy)
    strategy.cast("scheduler-2", "scheduler-2")
    assert strategy.plays("scheduler-2") == "scheduler-2"


def test_two_that_yield_are_two() -> None:
    strategy = Yields({"scheduler-2": ["a7"], "scheduler-1": ["a7", "b5"]})
    run(TWO, strategy)
    assert strategy.plays("scheduler-2") != strategy.plays("scheduler-1")


def test_without_a_yield_nobody_is_preempted() -> None:
    done = run(TWO, Yields({}))
    assert [process for process, _ in done] == ["scheduler-1"] * LONG + ["scheduler-2"] * LONG


READS = Statement("reads", Footprint(frozenset({"dag_run"})), "SELECT a FROM dag_run")
WRITES = Statement("writes", Footprint(frozenset({"dag_run"}), frozenset({"dag_run"})), "UPDATE ..")
ELSEWHERE = Statement("elsewhere", Footprint(frozenset({"log"}), frozenset({"log"})), "UPDATE ..")
COMMITS = Statement("commit-dag_run", Footprint(frozenset({"dag_run"}), frozenset({"dag_run"})))
KEPT = Standing(1, 1, "scheduler-1", READS)


def stale(monkeypatch: pytest.MonkeyPatch) -> StaleReads:
    monkeypatch.setattr(StaleReads, "KEPT", 1.0)
    return StaleReads(Random(1))


def other(number: int, statement: Statement) -> Standing:
    return Standing(number, 2, "scheduler-2", statement)


@pytest.mark.parametrize(
    ("statement", "reason", "goes"),
    [
        (WRITES, "idle", True),
        (WRITES, "arrived", False),
        (COMMITS, "arrived", True),
        (ELSEWHERE, "idle", False),
        (READS, "idle", False),
    ],
)
def test_one_that_reads_is_kept_until_another_has_written_that(
    monkeypatch: pytest.MonkeyPatch, statement: Statement, reason: str, goes: bool
) -> None:
    strategy = stale(monkeypatch)
    rival = other(2, statement)
    assert strategy.choose([KEPT, rival]) == rival
    strategy.rested(rival, Rest(reason, 0.0, ()))
    following = other(3, READS)
    assert strategy.choose([KEPT, following]) == (KEPT if goes else following)


def test_what_was_written_in_more_than_one_statement_counts_once_it_is_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strategy = stale(monkeypatch)
    for number, (statement, reason) in enumerate([(WRITES, "arrived"), (ELSEWHERE, "idle")], 2):
        rival = other(number, statement)
        assert strategy.choose([KEPT, rival]) == rival
        strategy.rested(rival, Rest(reason, 0.0, ()))
    assert strategy.choose([KEPT, other(9, READS)]) == KEPT


def test_one_that_is_kept_goes_on_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = stale(monkeypatch)
    assert [strategy.choose([KEPT]) for _ in range(StaleReads.LOOKS)] == [None] * StaleReads.LOOKS
    assert strategy.choose([KEPT]) == KEPT


def test_one_that_others_wait_for_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Standing(1, 1, "scheduler-1", READS, ("api-server",))
    assert stale(monkeypatch).choose([holder, other(2, READS)]) == holder


def test_a_commit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Standing(1, 1, "scheduler-1", COMMITS)
    assert stale(monkeypatch).choose([commit]) == commit
