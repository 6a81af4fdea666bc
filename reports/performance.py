"""Is one release slower than another? Ratios with intervals, never a single number.

Only like is compared with like: the same test, lab, conditions and load, and runs in which
everything that was begun came to its end. A run that a violation or a clear answer cut short has
another load.

Runs of one release that were made in one go share the machine's hour as well, and no interval knows
of that: take turns between the releases, as `--airflow A --airflow B --count N` does under xdist.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from reports.metrics import Metrics, metrics_of
from reports.records import TestRecord
from reports.resampling import Interval, Statistic, bootstrap_ratio, figure

LEAST_RUNS = 3
"""With two runs an interval says no more than "anything"."""


class Load(NamedTuple):
    """What two runs must have in common before their speed can be compared."""

    test: str
    lab: str
    schedulers: int
    workers: str
    task_instances: int
    conditions: str


class Measure(NamedTuple):
    """A figure of a run, and which way is the good one."""

    name: str
    unit: str
    samples: Callable[[Metrics], list[float]]
    statistic: Statistic
    bigger_is_better: bool = False


class FigureChange(NamedTuple):
    """One figure of two releases; `base` and `new` are None where there was no run.

    `ratio` is new / base with its interval, None where it is not known: `reason` says why.
    """

    measure: Measure
    load: Load
    base: float | None
    new: float | None
    base_runs: int
    new_runs: int
    ratio: Interval | None
    reason: str = ""

    def text(self) -> str:
        """Say it: "lag p95: 0.61 s, was 0.55 s (x 1.11, 0.98 to 1.25)"."""
        if self.ratio is None:
            return f"{self.measure.name}: cannot tell, {self.reason}"
        unit = self.measure.unit
        low, estimate, high = self.ratio.low, self.ratio.estimate, self.ratio.high
        seen = f"{self.new:.3g} {unit}, was {self.base:.3g} {unit}"
        return f"{self.measure.name}: {seen} (x {estimate:.2f}, {low:.2f} to {high:.2f})"


_MEASURES = (
    Measure("lag p50", "s", lambda metrics: metrics.lag, "p50"),
    Measure("lag p95", "s", lambda metrics: metrics.lag, "p95"),
    Measure("throughput", "TIs/s", lambda metrics: [metrics.throughput], "mean", True),
    Measure("makespan", "s", lambda metrics: [metrics.makespan], "mean"),
)

_Groups = Mapping[Load, Sequence[Metrics]]


def compare(
    base: Iterable[TestRecord], new: Iterable[TestRecord], confidence: float = 0.95
) -> list[FigureChange]:
    """Return how `new` differs from `base`: four figures for every load that both have run.

    Each interval holds at `confidence` by itself: of twenty figures at 95 %, expect one to be
    off. Loads that only one of the two has run are in it too, without a ratio.
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
                test.name.bare,
                test.lab,
                test.schedulers,
                test.workers,
                metrics.task_instances,
                test.conditions,
            )
            found[load].append(metrics)
    return found


def _change(
    measure: Measure,
    load: Load,
    base: Sequence[Metrics],
    new: Sequence[Metrics],
    confidence: float,
) -> FigureChange:
    before = [measure.samples(metrics) for metrics in base]
    after = [measure.samples(metrics) for metrics in new]
    few = min(len(base), len(new)) < LEAST_RUNS
    ratio = None if few else bootstrap_ratio(before, after, measure.statistic, confidence)
    reason = ""
    if few:
        reason = f"{len(base)} and {len(new)} whole runs, {LEAST_RUNS} of each are needed"
    elif ratio is None:
        reason = "nothing was measured"
    figures = (_figure(before, measure.statistic), _figure(after, measure.statistic))
    return FigureChange(measure, load, *figures, len(base), len(new), ratio, reason)


def _figure(runs: Sequence[Sequence[float]], statistic: Statistic) -> float | None:
    values = [value for run in runs for value in run]
    return float(figure(values, statistic)) if values else None
