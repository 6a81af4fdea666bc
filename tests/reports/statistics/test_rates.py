"""A rate's interval is exact: the values that are known, and never less cover than it says."""

import numpy as np
import pytest
from scipy.stats import binom

from reports.statistics import Rate, percent


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(3, 20, 0.0321, 0.3789), (7, 20, 0.1539, 0.5922), (1, 1000, 0.0000253, 0.005558)],
)
def test_the_interval_is_clopper_and_pearsons(
    hits: int, trials: int, low: float, high: float
) -> None:
    assert Rate(hits, trials).interval() == pytest.approx((low, high), rel=2e-3)


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (Rate(3, 20), "3 of 20 (3.2 % to 37.9 %)"),
        (Rate(0, 20), "0 of 20 (at most 13.9 %)"),
        (Rate(20, 20), "20 of 20 (at least 86.1 %)"),
        (Rate(0, 0), "0 of 0 (nothing is known)"),
        (Rate(0, 100_000), "0 of 100000 (at most 0.0030 %)"),
    ],
)
def test_a_rate_says_how_much_it_is_worth(rate: Rate, said: str) -> None:
    assert rate.text() == said


def test_no_hit_in_n_follows_the_rule_of_three() -> None:
    assert Rate(0, 1000).at_most(0.95) == pytest.approx(3 / 1000, rel=0.01)
    assert Rate(1000, 1000).at_least(0.95) == pytest.approx(1 - 3 / 1000, rel=0.01)


@pytest.mark.parametrize("trials", [5, 20])
def test_an_interval_never_covers_less_than_it_says(trials: int) -> None:
    intervals = [Rate(hits, trials).interval(0.9) for hits in range(trials + 1)]
    covers = []
    for truth in np.linspace(0.01, 0.99, 50):
        chances = binom.pmf(np.arange(trials + 1), trials, truth)
        inside = [low <= truth <= high for low, high in intervals]
        covers.append(float(chances[inside].sum()))
    assert min(covers) >= 0.9
    assert np.mean(covers) < 0.985, "an interval that holds everything would tell nothing"


@pytest.mark.parametrize(("hits", "trials"), [(2, 1), (-1, 3), (0, -1)])
def test_hits_are_part_of_the_trials(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        Rate(hits, trials)


def test_rates_add_up() -> None:
    assert Rate(1, 4) + Rate(2, 5) == Rate(3, 9)


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "0.0 %"), (1.0, "100.0 %"), (0.001, "0.1 %"), (0.00034, "0.034 %")]
)
def test_a_small_share_does_not_read_as_nothing(share: float, said: str) -> None:
    assert percent(share) == said
