"""The bootstrap's interval holds the truth about as often as it says, runs being the unit."""

import numpy as np
import pytest

from reports import resampling
from reports.resampling import Statistic, bootstrap_ratio, figure


def runs(
    random: np.random.Generator, number: int, samples: int, between: float, factor: float = 1.0
) -> list[list[float]]:
    """Return runs whose samples share their run's pace."""
    paces = factor * np.exp(random.normal(0, between, number))
    return [list(pace * np.exp(random.normal(0, 0.5, samples))) for pace in paces]


@pytest.mark.parametrize(
    ("number", "samples", "statistic"),
    [(3, 1, "mean"), (5, 20, "p50"), (5, 20, "p95"), (8, 20, "mean")],
)
def test_the_truth_is_inside_about_as_often_as_promised(
    number: int, samples: int, statistic: Statistic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "RESAMPLES", 200)
    random = np.random.default_rng(6)
    times, inside = 200, 0
    for _ in range(times):
        base = runs(random, number, samples, 0.4)
        new = runs(random, number, samples, 0.4, factor=1.5)
        found = bootstrap_ratio(base, new, statistic, 0.9)
        assert found is not None
        inside += found.low <= 1.5 <= found.high
    assert 0.85 <= inside / times <= 0.98


def test_the_samples_of_a_run_are_not_taken_for_independent() -> None:
    random = np.random.default_rng(7)
    base, new = runs(random, 4, 300, 0.5), runs(random, 4, 300, 0.5)
    whole = bootstrap_ratio(base, new, "p50")
    alone = [[[sample] for run in group for sample in run] for group in (base, new)]
    each = bootstrap_ratio(alone[0], alone[1], "p50")
    assert whole is not None
    assert each is not None
    assert whole.high / whole.low > 2 * each.high / each.low


def test_a_slowdown_is_seen_where_runs_agree() -> None:
    random = np.random.default_rng(8)
    base, new = runs(random, 6, 100, 0.05), runs(random, 6, 100, 0.05, factor=1.5)
    found = bootstrap_ratio(base, new, "p95")
    assert found is not None
    assert 1.2 < found.low < 1.5 < found.high


def test_the_same_seed_gives_the_same_interval() -> None:
    random = np.random.default_rng(9)
    base, new = runs(random, 3, 10, 0.2), runs(random, 3, 12, 0.2)
    assert bootstrap_ratio(base, new, "p50", seed=1) == bootstrap_ratio(base, new, "p50", seed=1)
    assert bootstrap_ratio(base, new, "p50", seed=1) != bootstrap_ratio(base, new, "p50", seed=2)


def test_a_long_run_weighs_no_more_than_a_short_one() -> None:
    found = bootstrap_ratio([[1.0], [1.0]], [[1.0] * 99, [3.0]], "mean")
    assert found is not None
    assert found.estimate == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("base", "new"),
    [([[1.0]], [[1.0], [2.0]]), ([[1.0], []], [[1.0], [2.0]]), ([[0.0], [0.0]], [[1.0], [2.0]])],
)
def test_what_cannot_be_told_is_not_told(base: list[list[float]], new: list[list[float]]) -> None:
    assert bootstrap_ratio(base, new, "p50") is None


def test_many_large_runs_give_a_narrow_interval() -> None:
    base = runs(np.random.default_rng(10), 60, 5000, 0.1)
    found = bootstrap_ratio(base, [[1.5 * x for x in run] for run in base], "p95")
    assert found is not None
    assert found.estimate == pytest.approx(1.5)
    assert found.high / found.low < 1.2


def test_a_quantile_is_a_value_that_was_seen() -> None:
    assert figure([3.0, 1.0, 2.0, 4.0], "p50") == 2.0
    assert figure([3.0, 1.0, 2.0, 4.0], "p95") == 4.0
