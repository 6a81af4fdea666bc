"""What counts can be trusted to say: exact intervals, sequential tests, comparisons.

    Rate          how often something shows itself, and how sure that is
    Comparison    whether one version shows it more often than another, or that was chance
    Sequential    when to stop asking, because the answer is clear

Numbers in, numbers and words out: nothing here knows of runs, tests or Airflow. What scipy has is
taken from it: binomial intervals and the hypergeometric distribution. It has no exact test over
strata and no sequential test. It and numpy are imported where they are used: they take a second,
and every pytest process would wait.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

Outcomes = Iterable[tuple[Hashable, int, bool]]
"""What came of some runs: the test, its seed, and whether it showed the race."""

Decision = Literal["shown", "clean", "open"]

_Key = TypeVar("_Key", bound=Hashable)
_Stratum = tuple["Rate", "Rate"]


class Bounds(NamedTuple):
    """Where a rate lies, from 0 to 1."""

    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """`hits` of `trials`.

    Its intervals are exact, Clopper and Pearson's (Biometrika 26, 1934): with the few runs that a
    release gets, and rates near 0 and 1, approximations promise too much. Exact ones never cover
    less than they say. Raises ValueError for hits that are no part of the trials.
    """

    hits: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.trials:
            raise ValueError(f"{self.hits} of {self.trials} is not a rate")

    def __add__(self, other: "Rate") -> "Rate":
        """Take the trials of both together."""
        return Rate(self.hits + other.hits, self.trials + other.trials)

    @property
    def share(self) -> float:
        """The rate that was seen; 0 where nothing was tried."""
        return self.hits / self.trials if self.trials else 0.0

    def interval(self, confidence: float = 0.95) -> Bounds:
        """Return the two-sided interval; everything from 0 to 1 where nothing was tried."""
        return self._bounds("two-sided", confidence)

    def at_most(self, confidence: float = 0.95) -> float:
        """Return the one-sided upper bound: what "0 of n" is worth.

        Of no hit in n trials it is 1 - (1 - confidence)^(1/n), about 3/n at 95 %: the rule of three
        (Hanley and Lippman-Hand, JAMA 249, 1983).
        """
        return self._bounds("less", confidence).high

    def at_least(self, confidence: float = 0.95) -> float:
        """Return the one-sided lower bound: what "n of n" is worth."""
        return self._bounds("greater", confidence).low

    def _bounds(self, alternative: str, confidence: float) -> Bounds:
        if not self.trials:
            return Bounds(0.0, 1.0)
        from scipy.stats import binomtest

        test = binomtest(self.hits, self.trials, alternative=alternative)
        bounds = test.proportion_ci(confidence, method="exact")
        return Bounds(float(bounds.low), float(bounds.high))

    def text(self, confidence: float = 0.95) -> str:
        """Say it: "3 of 20 (3.2 % to 37.9 %)", "0 of 20 (at most 13.9 %)".

        Where one side is certain, the whole doubt is on the other: the bound is then one-sided.
        """
        if not self.trials:
            return "0 of 0 (nothing is known)"
        if self.hits == 0:
            known = f"at most {percent(self.at_most(confidence))}"
        elif self.hits == self.trials:
            known = f"at least {percent(self.at_least(confidence))}"
        else:
            low, high = self.interval(confidence)
            known = f"{percent(low)} to {percent(high)}"
        return f"{self.hits} of {self.trials} ({known})"


def percent(share: float) -> str:
    """Write a share for people: one decimal, more only where it would read as nothing."""
    value = 100 * share
    decimals = 1 if value >= 0.1 or not value else 1 - math.floor(math.log10(value))
    return f"{value:.{decimals}f} %"


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
        apart = self.differs(confidence)
        if apart and self.a.share < self.b.share:
            return replace(self, a=self.b, b=self.a).text(b, a, confidence)
        counts = f"{self.a.hits} of {self.a.trials} against {self.b.hits} of {self.b.trials}"
        if apart and self.a.share > self.b.share:
            return f"{a} shows it more often than {b}: {counts}, {_chance(self.p)}"
        return f"{a} and {b} cannot be told apart: {counts}, {_chance(self.p)}"


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
    first, second = (
        _added(((test, seed), Rate(int(shown), 1)) for test, seed, shown in group)
        for group in (a, b)
    )
    pairs = first.keys() & second.keys()
    strata = [(first[key], second[key]) for key in pairs]
    rest, others = (
        _added((key[0], rate) for key, rate in group.items() if key not in pairs)
        for group in (first, second)
    )
    strata += [(rest[test], others[test]) for test in rest.keys() & others.keys()]
    return Comparison(
        a=sum((one for one, _ in strata), Rate(0, 0)),
        b=sum((other for _, other in strata), Rate(0, 0)),
        p=_chance_of(strata),
        paired=sum(min(first[key].trials, second[key].trials) for key in pairs),
    )


def _added(rates: Iterable[tuple[_Key, Rate]]) -> dict[_Key, Rate]:
    """Take the rates of each key together."""
    found: defaultdict[_Key, Rate] = defaultdict(lambda: Rate(0, 0))
    for key, rate in rates:
        found[key] += rate
    return dict(found)


def _chance_of(strata: Sequence[_Stratum]) -> float:
    """Return how probable, by chance, is what is no more probable than what was seen."""
    import numpy as np
    from scipy.stats import hypergeom

    chances = np.ones(1)
    seen = 0
    for a, b in strata:
        both = a + b
        stratum = hypergeom(both.trials, both.hits, a.trials)
        low, high = stratum.support()
        chances = np.convolve(chances, stratum.pmf(np.arange(low, high + 1)))
        seen += a.hits - int(low)
    return float(min(1.0, chances[chances <= chances[seen] * (1 + 1e-7)].sum()))


def _chance(p: float) -> str:
    if p >= 0.001:
        return f"p = {p:.2g}"
    return f"p < 1e{math.floor(math.log10(p)) + 1}" if p else "p < 1e-300"


class Sequential:
    """Tells, trial by trial, a race that shows at least at `rate` from one that is not there.

    Wald's sequential probability ratio test (Annals of Mathematical Statistics 16, 1945) of "the
    rate is `rate` or more" against "it is `background` or less"; for what lies between, either
    answer will do. No test of given errors needs fewer trials on average (Wald and Wolfowitz,
    1948), and one of a fixed number that is looked at after every run errs far more often than it
    says. Instead of Wald's approximate limits it stops at those of his inequality, at a ratio of
    1 - `confidence` or its reciprocal: then both errors are at most 1 - `confidence`, however
    often, and after however large a batch, one looks.

    `background` is 0 because a violation is proof: the oracle accuses nobody falsely, so the
    first hit says `shown`, also after `clean` was said. `clean` then needs the trials without a
    hit after which a race of that rate had shown itself: 299 for 1 in 100 at 95 %. What
    can happen without the race, such as a slow start, has a background above 0.

    Raises ValueError for rates that cannot be told apart, and for no confidence.
    """

    def __init__(self, rate: float, confidence: float = 0.95, background: float = 0.0) -> None:
        if not 0 <= background < rate <= 1:
            raise ValueError(f"a rate of {rate:g} cannot be told from one of {background:g}")
        if not 0 < confidence < 1:
            raise ValueError(f"a confidence of {confidence:g} is not between 0 and 1")
        self.rate = rate
        self.confidence = confidence
        self.background = background
        self.seen = Rate(0, 0)
        self.decision: Decision = "open"
        self._hit = math.log(rate / background) if background else math.inf
        self._miss = math.log((1 - rate) / (1 - background)) if rate < 1 else -math.inf
        self._limit = -math.log(1 - confidence)

    @property
    def needed(self) -> int:
        """How many trials decide it if none is a hit."""
        return math.ceil(self._limit / -self._miss - 1e-9) or 1

    def feed(self, hits: int, trials: int) -> Decision:
        """Take the hits of some further trials; returns the decision so far.

        A decision stands, whatever comes after it, but for a hit that is proof.
        """
        self.seen += Rate(hits, trials)
        evidence = self._evidence(self.seen.hits, self.seen.trials - self.seen.hits)
        proof = self.background == 0 and self.seen.hits > 0
        if self.decision == "open" or proof:
            if evidence >= self._limit or proof:
                self.decision = "shown"
            elif evidence <= -self._limit + 1e-9:
                self.decision = "clean"
        return self.decision

    def _evidence(self, hits: int, misses: int) -> float:
        """Return the logarithm of the ratio of both hypotheses' probabilities."""
        against = misses * self._miss if misses else 0.0
        return against + hits * self._hit if hits else against

    def text(self) -> str:
        """Say what was decided: "0 of 299: at most 1.0 % at 95 %"."""
        sure = f"{100 * self.confidence:g} %"
        seen = f"{self.seen.hits} of {self.seen.trials}"
        if self.decision == "clean" and not self.seen.hits:
            return f"{seen}: at most {percent(self.seen.at_most(self.confidence))} at {sure}"
        if self.decision == "shown":
            return f"{seen}: it shows itself"
        doubt = "less than" if self.decision == "clean" else "not yet clear whether"
        return f"{seen}: {doubt} {percent(self.rate)} at {sure}"
