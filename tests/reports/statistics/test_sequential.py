"""The sequential test errs no more often than asked, and asks less than a fixed number would."""

import numpy as np
import pytest
from scipy.stats import binom

from reports.statistics import Decision, Sequential


@pytest.mark.parametrize(
    ("rate", "confidence", "needed"),
    [(0.01, 0.95, 299), (0.05, 0.95, 59), (0.5, 0.95, 5), (0.01, 0.99, 459), (1.0, 0.95, 1)],
)
def test_so_many_trials_without_a_hit_are_needed(
    rate: float, confidence: float, needed: int
) -> None:
    test = Sequential(rate, confidence)
    assert test.needed == needed
    assert test.feed(0, needed - 1) == "open"
    assert test.feed(0, 1) == "clean"


def test_a_violation_is_proof_and_no_clean_run_washes_it_away() -> None:
    test = Sequential(0.5)
    assert test.feed(1, 1) == "shown"
    assert test.feed(0, 100) == "shown"
    late = Sequential(0.5)
    assert late.feed(0, 5) == "clean"
    assert late.feed(1, 1) == "shown"


def test_with_a_background_one_hit_is_no_proof_and_a_decision_stands() -> None:
    test = Sequential(0.5, background=0.05)
    assert test.feed(1, 1) == "open"
    assert test.feed(1, 1) == "shown"
    assert test.feed(0, 50) == "shown"


def simulated(truth: float, rate: float, background: float, sims: int) -> tuple[list[str], float]:
    random = np.random.default_rng(4)
    ends: list[str] = []
    trials = 0
    for _ in range(sims):
        test = Sequential(rate, 0.95, background)
        decision: Decision = "open"
        while decision == "open":
            decision = test.feed(int(random.random() < truth), 1)
        ends.append(decision)
        trials += test.seen.trials
    return ends, trials / sims


def fixed(rate: float, background: float) -> int:
    """Return the smallest fixed number of trials that tells both apart at 95 %."""
    return next(
        n for n in range(1, 1000) if binom.cdf(binom.isf(0.05, n, background), n, rate) <= 0.05
    )


def test_both_errors_stay_below_what_was_asked_with_fewer_trials() -> None:
    rate, background = 0.3, 0.05
    of_none, trials_of_none = simulated(background, rate, background, 1500)
    of_race, trials_of_race = simulated(rate, rate, background, 1500)
    assert of_none.count("shown") / len(of_none) <= 0.05
    assert of_race.count("clean") / len(of_race) <= 0.05
    number = fixed(rate, background)
    assert number > 20
    assert trials_of_none < number
    assert trials_of_race < number


def test_a_race_of_the_rate_is_missed_as_seldom_as_asked_and_found_much_sooner() -> None:
    ends, trials = simulated(0.05, 0.05, 0.0, 2000)
    missed = ends.count("clean") / len(ends)
    assert 0.03 < missed <= 0.06, "0.95^59 is 4.8 %"
    assert trials < 0.5 * Sequential(0.05).needed


def test_the_answer_is_told_in_words() -> None:
    test = Sequential(0.01)
    test.feed(0, 100)
    assert test.text() == "0 of 100: not yet clear whether 1.0 % at 95 %"
    test.feed(0, 199)
    assert test.text() == "0 of 299: at most 1.0 % at 95 %"
    test.feed(2, 2)
    assert test.text() == "2 of 301: it shows itself"


@pytest.mark.parametrize(
    ("rate", "confidence", "background"),
    [(0.0, 0.95, 0.0), (0.1, 0.95, 0.1), (1.1, 0.95, 0.0), (0.1, 1.0, 0.0)],
)
def test_what_cannot_be_decided_is_refused(
    rate: float, confidence: float, background: float
) -> None:
    with pytest.raises(ValueError):
        Sequential(rate, confidence, background)
