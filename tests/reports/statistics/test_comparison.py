"""Versions are compared by one exact test that is Fisher's and McNemar's where those apply."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from reports.statistics import Comparison, Rate, compare_outcomes

Runs = list[tuple[str, int, bool]]


def compare(a: Rate, b: Rate) -> Comparison:
    """Compare runs that have nothing but their test in common."""
    ours, theirs = (
        [("t", first + n, n < rate.hits) for n in range(rate.trials)]
        for first, rate in ((0, a), (1_000, b))
    )
    return compare_outcomes(ours, theirs)


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (1, 4)), ((20, 20), (0, 20)), ((5, 30), (1, 9)), ((0, 3), (0, 8))]
)
def test_without_seeds_it_is_fishers_exact_test(a: tuple[int, int], b: tuple[int, int]) -> None:
    table = [[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]
    assert compare(Rate(*a), Rate(*b)).p == pytest.approx(fisher_exact(table).pvalue)


def test_one_run_of_each_seed_is_mcnemars_exact_test() -> None:
    ours: Runs = [("t", seed, seed < 8 or seed > 20) for seed in range(30)]
    theirs: Runs = [("t", seed, seed == 9 or seed > 20) for seed in range(30)]
    found = compare_outcomes(ours, theirs)
    assert found.p == pytest.approx(binomtest(8, 9).pvalue)
    assert found.paired == 30


def test_repetitions_of_seeds_are_compared_within_them() -> None:
    counts = {1: ((3, 4), (1, 4)), 2: ((2, 2), (1, 3)), 3: ((1, 3), (0, 2))}
    ours, theirs = [
        [
            ("t", seed, n < hits[side][0])
            for seed, hits in counts.items()
            for n in range(hits[side][1])
        ]
        for side in (0, 1)
    ]
    assert compare_outcomes(ours, theirs).p == pytest.approx(by_enumeration(counts))


def by_enumeration(counts: dict[int, tuple[tuple[int, int], tuple[int, int]]]) -> float:
    """Go through every way in which the versions could have been dealt to the runs."""
    ways: dict[int, int] = {}
    each = []
    for (hits, trials), (others, more) in counts.values():
        total = hits + others
        each.append(
            [
                (k, math.comb(total, k) * math.comb(trials + more - total, trials - k))
                for k in range(min(total, trials) + 1)
                if trials - k <= trials + more - total
            ]
        )
    for dealt in itertools.product(*each):
        hits = sum(k for k, _ in dealt)
        ways[hits] = ways.get(hits, 0) + math.prod(way for _, way in dealt)
    seen = ways[sum(a[0] for a, _ in counts.values())]
    return sum(way for way in ways.values() if way <= seen) / sum(ways.values())


def test_seeds_that_only_one_has_are_compared_within_their_test() -> None:
    ours: Runs = [("t", seed, True) for seed in range(10)]
    theirs: Runs = [("t", seed, False) for seed in range(100, 110)]
    found = compare_outcomes(ours, theirs)
    assert found.paired == 0
    assert found.p == pytest.approx(compare(Rate(10, 10), Rate(0, 10)).p)


def test_a_test_that_only_one_has_run_tells_nothing() -> None:
    found = compare_outcomes([("a", 1, True)], [("b", 1, False)])
    assert (found.a, found.b, found.p) == (Rate(0, 0), Rate(0, 0), 1.0)


def test_the_difference_is_told_in_words() -> None:
    told = compare(Rate(20, 20), Rate(0, 20)).text("3.0.6", "3.3.2")
    assert told == "3.0.6 shows it more often than 3.3.2: 20 of 20 against 0 of 20, p < 1e-10"
    told = compare(Rate(0, 20), Rate(20, 20)).text("3.3.2", "3.0.6")
    assert told == "3.0.6 shows it more often than 3.3.2: 20 of 20 against 0 of 20, p < 1e-10"
    told = compare(Rate(3, 20), Rate(1, 20)).text("3.0.6", "3.3.2")
    assert told == "3.0.6 and 3.3.2 cannot be told apart: 3 of 20 against 1 of 20, p = 0.6"


def test_alike_versions_are_told_apart_no_more_often_than_asked() -> None:
    random = np.random.default_rng(5)
    found = 0
    for _ in range(400):
        runs = [
            [(test, seed, bool(random.random() < rate)) for test, rate in odds for seed in range(6)]
            for odds in ([("a", 0.3), ("b", 0.8)],) * 2
        ]
        found += compare_outcomes(*runs).differs(0.95)
    assert found / 400 <= 0.05
