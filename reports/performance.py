"""Is one release slower than another? Ratios with intervals, never a single number.

Only like is compared with like: the same test, lab and load, and runs in which everything that
was begun came to its end. A run that a violation or a clear answer cut short has another load.

Runs of one release that were made in one go share the machine's hour as well, and no interval knows
of that: take turns between the releases, as `--airflow A --airflow B --count N` does under xdist.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from reports.metrics import Metrics, metrics_of
from reports.records import TestRecord
from reports.statistics import Interval, Statistic, bootstrap_ratio, quantile

LEAST_RUNS = 3
"""With two runs an interval says no more than "anything"."""


class Load(NamedTuple):
    """What two runs must have in common before their speed can be compared."""

    test: str
    lab: str
    schedulers: int
    workers: str
    task_instances: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of two releases; `base` and `new` in `unit`, None where there was no run.

    `ratio` is new / base with its interval, None where it cannot be told: `reason` says why.
    `bigger_is_better` tells which way is the good one.
    """

    metric: str
    unit: str
    test: str
    lab: str
    schedulers: int
    task_instances: int
    base: float | None
    new: float | None
    base_runs: int
    new_runs: int
    ratio: Interval | None
    reason: str = ""
    bigger_is_better: bool = False

    @property
    def worse(self) -> bool:
        """Whether it has become worse beyond doubt, at the confidence that was asked for."""
        if self.ratio is None:
            return False
        return self.ratio.high < 1 if self.bigger_is_better else self.ratio.low > 1

    @property
    def better(self) -> bool:
        """Whether it has become better beyond doubt."""
        if self.ratio is None:
            return False
        return self.ratio.low > 1 if self.bigger_is_better else self.ratio.high < 1

    def text(self) -> str:
        """Say it: "lag p95: 0.61 s, was 0.55 s (x 1.11, 0.98 to 1.25)"."""
        if self.ratio is None:
            return f"{self.metric}: cannot tell, {self.reason}"
        low, estimate, high = self.ratio.low, self.ratio.estimate, self.ratio.high
        seen = f"{self.new:.3g} {self.unit}, was {self.base:.3g} {self.unit}"
        return f"{self.metric}: {seen} (x {estimate:.2f}, {low:.2f} to {high:.2f})"


class _Measure(NamedTuple):
    name: str
    unit: str
    samples: Callable[[Metrics], list[float]]
    statistic: Statistic
    bigger_is_better: bool = False


_MEASURES = (
    _Measure("lag p50", "s", lambda metrics: metrics.lag, "p50"),
    _Measure("lag p95", "s", lambda metrics: metrics.lag, "p95"),
    _Measure("throughput", "TIs/s", lambda metrics: [metrics.throughput], "mean", True),
    _Measure("makespan", "s", lambda metrics: [metrics.makespan], "mean"),
)

_Groups = Mapping[Load, Sequence[Metrics]]


def compare(
    base: Iterable[TestRecord], new: Iterable[TestRecord], confidence: float = 0.95
) -> list[Change]:
    """Return how `new` differs from `base`: four figures for every load that both have run.

    Each interval holds at `confidence` by itself: of twenty figures at 95 %, expect one to be
    off. Loads that only one of the two has run are told too, as what cannot be told.
    """
    before, after = _by_load(base), _by_load(new)
    loads = sorted(before.keys() | after.keys())
    return [
        _change(measure, load, before.get(load, ()), after.get(load, ()), confidence)
        for load in loads
        for measure in _MEASURES
    ]


def _by_load(tests: Iterable[TestRecord]) -> _Groups:
    found: defaultdict[Load, list[Metrics]] = defaultdict(list)
    for test in tests:
        if test.verdict == "unknown":
            continue
        metrics = metrics_of(test)
        if metrics is not None and metrics.whole:
            load = Load(
                bare_name(test), test.lab, test.schedulers, test.workers, metrics.task_instances
            )
            found[load].append(metrics)
    return found


def _change(
    measure: _Measure,
    load: Load,
    base: Sequence[Metrics],
    new: Sequence[Metrics],
    confidence: float,
) -> Change:
    before = [measure.samples(metrics) for metrics in base]
    after = [measure.samples(metrics) for metrics in new]
    few = min(len(base), len(new)) < LEAST_RUNS
    ratio = None if few else bootstrap_ratio(before, after, measure.statistic, confidence)
    reason = ""
    if few:
        reason = f"{len(base)} and {len(new)} whole runs, {LEAST_RUNS} of each are needed"
    elif ratio is None:
        reason = "nothing was measured"
    return Change(
        metric=measure.name,
        unit=measure.unit,
        test=load.test,
        lab=load.lab,
        schedulers=load.schedulers,
        task_instances=load.task_instances,
        base=_figure(before, measure.statistic),
        new=_figure(after, measure.statistic),
        base_runs=len(base),
        new_runs=len(new),
        ratio=ratio,
        reason=reason,
        bigger_is_better=measure.bigger_is_better,
    )


def _figure(runs: Sequence[Sequence[float]], statistic: Statistic) -> float | None:
    values = [value for run in runs for value in run]
    if statistic == "mean":
        return sum(values) / len(values) if values else None
    return quantile(values, 0.5 if statistic == "p50" else 0.95)


def bare_name(test: TestRecord) -> str:
    """Return what a test is called on every Airflow and lab, whichever repetition it is.

    `test_gated[57618-fan-out-kind-3.0.6-2-20]` is `test_gated[57618-fan-out]`.
    """
    return test.name.bare
