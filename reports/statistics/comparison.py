"""Does one version show it more often than the other, or was that chance?"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.statistics.rate import Rate

Outcomes = Iterable[tuple[Hashable, int, bool]]
"""What came of some runs: the test, its seed, and whether it showed the race."""

_Stratum = tuple[Rate, Rate]


@dataclass(frozen=True)
class Comparison:
    """Two rates, and `p`: how often chance alone would set them this far apart, or further.

    `paired` is how many runs of the first had a run of the second with the same test and seed.
    """

    a: Rate
    b: Rate
    p: float
    paired: int = 0

    def differs(self, confidence: float = 0.95) -> bool:
        """Tell whether chance is ruled out at that confidence."""
        return self.p <= 1 - confidence

    def text(self, a: str, b: str, confidence: float = 0.95) -> str:
        """Say it of the versions `a` and `b`."""
        counts = f"{self.a.hits} of {self.a.trials} against {self.b.hits} of {self.b.trials}"
        if self.differs(confidence) and self.a.share != self.b.share:
            more = self.a.share > self.b.share
            first, second = (a, b) if more else (b, a)
            if not more:
                counts = " against ".join(reversed(counts.split(" against ")))
            return f"{first} shows it more often than {second}: {counts}, {_chance(self.p)}"
        return f"{a} and {b} cannot be told apart: {counts}, {_chance(self.p)}"


def compare(a: Rate, b: Rate) -> Comparison:
    """Compare runs that have nothing but their test in common: Fisher's exact test, two-sided."""
    return Comparison(a, b, _chance_of([(a, b)]))


def compare_outcomes(a: Outcomes, b: Outcomes) -> Comparison:
    """Compare the runs of two versions, those of the same test and seed with each other.

    One exact test serves, conditional and stratified (Mantel and Haenszel, 1959; exact after
    Gart, Biometrika 57, 1970): a stratum holds the runs of one test and seed, and within it any
    run could have been either version's, if versions made no difference. Where each stratum holds
    one run of each this is McNemar's exact test, where there is one stratum it is Fisher's, and
    repetitions of a seed count fully. Runs whose seed the other version lacks are compared with
    each other within their test. Runs of a test that the other version lacks tell nothing.

    Barnard's test would find a little more in the smallest samples; it has no strata.
    """
    first, second = _by_seed(a), _by_seed(b)
    pairs = first.keys() & second.keys()
    strata = [(first[key], second[key]) for key in pairs]
    rest = [_by_test(group, pairs) for group in (first, second)]
    strata += [(rest[0][test], rest[1][test]) for test in rest[0].keys() & rest[1].keys()]
    return Comparison(
        a=sum((one for one, _ in strata), Rate(0, 0)),
        b=sum((other for _, other in strata), Rate(0, 0)),
        p=_chance_of(strata),
        paired=sum(min(first[key].trials, second[key].trials) for key in pairs),
    )


def _by_seed(outcomes: Outcomes) -> dict[tuple[Hashable, int], Rate]:
    found: defaultdict[tuple[Hashable, int], Rate] = defaultdict(lambda: Rate(0, 0))
    for test, seed, shown in outcomes:
        found[test, seed] += Rate(int(shown), 1)
    return dict(found)


def _by_test(
    group: dict[tuple[Hashable, int], Rate], without: set[tuple[Hashable, int]]
) -> dict[Hashable, Rate]:
    found: defaultdict[Hashable, Rate] = defaultdict(lambda: Rate(0, 0))
    for key, rate in group.items():
        if key not in without:
            found[key[0]] += rate
    return dict(found)


def _chance_of(strata: Sequence[_Stratum]) -> float:
    """Return how probable, by chance, is what is no more probable than what was seen."""
    from scipy.stats import hypergeom

    chances: NDArray[np.float64] = np.ones(1)
    seen = 0
    for a, b in strata:
        trials, hits = a.trials + b.trials, a.hits + b.hits
        low, high = max(0, hits - b.trials), min(hits, a.trials)
        chances = np.convolve(
            chances, hypergeom.pmf(np.arange(low, high + 1), trials, hits, a.trials)
        )
        seen += a.hits - low
    return float(min(1.0, chances[chances <= chances[seen] * (1 + 1e-7)].sum()))


def _chance(p: float) -> str:
    if p >= 0.001:
        return f"p = {p:.2g}"
    return f"p < 1e{math.floor(math.log10(p)) + 1}" if p else "p < 1e-300"
