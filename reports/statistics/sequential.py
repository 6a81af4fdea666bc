"""Stops asking once the answer is clear."""

import math
from typing import Literal

from reports.statistics.rate import Rate, percent

Decision = Literal["shown", "clean", "open"]


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
            raise ValueError(f"a confidence of {confidence:g} is none")
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
        told = "less than" if self.decision == "clean" else "not yet clear whether"
        return f"{seen}: {told} {percent(self.rate)} at {sure}"
