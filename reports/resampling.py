"""How much slower something became, and how sure that is: ratios of times, by resampling.

Numbers in, numbers out: nothing here knows of runs, tests or Airflow. Student's distribution is
scipy's; its bootstrap resamples single samples, not runs of them.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Statistic = Literal["p50", "p95", "p99", "mean"]

RESAMPLES = 1000
LEAST_RUNS = 2
_LARGEST = 400
_AT_ONCE = 2_000_000

_Numbers = NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True):
    """An estimate, and between which bounds the truth lies."""

    low: float
    estimate: float
    high: float


def bootstrap_ratio(
    base: Sequence[Sequence[float]],
    new: Sequence[Sequence[float]],
    statistic: Statistic,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Return new / base of a statistic, with its interval; each sequence is one run's samples.

    None where it is not known: a group has fewer than two runs, or its statistic is not above 0.

    The samples of one run share its machine, its lab and its moment: they are not independent,
    and an interval that takes them to be is several times too narrow. Therefore whole runs are
    resampled first, and then samples within them (the hierarchical bootstrap: Davison and Hinkley
    1997, 3.8; for performance, Kalibera and Jones, ISMM 2013). Every run weighs the same.

    The resamples give the standard error of the ratio's logarithm; the interval is Student's t of
    it, with Welch's degrees of freedom, and grown by n / (n - 1), for a handful of runs varies less
    than what it was drawn from (Hesterberg, The American Statistician 69, 2015). The plain
    percentiles of the resamples are too narrow there: of three runs a side, they hold the truth
    89 times in 100 where they promise 95.
    """
    groups = [[np.asarray(run, dtype=float) for run in group if len(run)] for group in (base, new)]
    if min(map(len, groups)) < LEAST_RUNS:
        return None
    seen = [figure(np.concatenate(group), statistic, weights=_weights(group)) for group in groups]
    random = np.random.default_rng(seed)
    drawn = [_resampled(group, statistic, random) for group in groups]
    if min(seen) <= 0 or min(map(np.min, drawn)) <= 0:
        return None
    estimate = seen[1] / seen[0]
    reach = float(np.exp(_reach(drawn, [len(group) for group in groups], confidence)))
    return Interval(estimate / reach, estimate, estimate * reach)


_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def figure(values: Sequence[float] | _Numbers, statistic: Statistic, **how: Any) -> Any:
    """Return a statistic of values; `how` are the weights, or the axis, as numpy has them.

    A percentile is the smallest value that at least so many of the values do not exceed.
    """
    if statistic == "mean":
        return np.average(values, **how)
    return np.quantile(values, _SHARES[statistic], method="inverted_cdf", **how)


def _weights(group: list[_Numbers]) -> _Numbers:
    return np.concatenate([np.full(len(run), 1 / len(run)) for run in group])


def _resampled(
    group: list[_Numbers], statistic: Statistic, random: np.random.Generator
) -> _Numbers:
    """Return the statistic of many groups like this one: runs drawn anew, and samples of each."""
    pool = np.concatenate(group)
    sizes = np.array([len(run) for run in group])
    begins = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    samples = int(min(_LARGEST, sizes.max()))
    batch = max(1, min(RESAMPLES, _AT_ONCE // (samples * len(group))))
    found = []
    for begin in range(0, RESAMPLES, batch):
        count = min(batch, RESAMPLES - begin)
        runs = random.integers(len(group), size=(count, len(group), 1))
        within = random.random((count, len(group), samples)) * sizes[runs]
        values = pool[begins[runs] + within.astype(np.int64)].reshape(count, -1)
        found.append(figure(values, statistic, axis=1))
    return np.concatenate(found)


def _reach(drawn: list[_Numbers], runs: list[int], confidence: float) -> float:
    """Return how far the interval reaches to either side of the ratio's logarithm."""
    spread = [
        float(np.var(np.log(values))) * n / (n - 1) for values, n in zip(drawn, runs, strict=True)
    ]
    if not sum(spread):
        return 0.0
    from scipy.stats import t  # it takes a second, and a gate without a base has nothing for it

    freedom = sum(spread) ** 2 / sum(s**2 / (n - 1) for s, n in zip(spread, runs, strict=True))
    return float(t.ppf((1 + confidence) / 2, freedom) * sum(spread) ** 0.5)
