"""How often something shows itself, and how sure that is."""

import math
from dataclasses import dataclass
from typing import NamedTuple


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
            raise ValueError(f"{self.hits} of {self.trials} is no rate")

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
