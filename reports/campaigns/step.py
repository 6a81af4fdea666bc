"""One step of a bisect: is the race in this Airflow? Asked again until that is clear.

One run proves that it is. That it is not takes as many runs as the sequential test wants, each of
which could tell, and at least one of every permutation. What is not clear after some sessions
is skipped, as `git bisect skip` does.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from common.errors import UserError
from reports.records import TestRecord
from reports.statistics import Rate, Sequential

Answer = Literal["reproduced", "clean", "skipped"]

Runner = Callable[[str], Sequence[TestRecord]]
"""Runs one session more on an Airflow; its tests. Raises UserError where that is not possible."""


class Tried(msgspec.Struct, frozen=True):
    """What became of one Airflow: of `trials` runs that could tell, `hits` showed the race."""

    airflow: str
    verdict: Answer
    hits: int = 0
    trials: int = 0
    runs: int = 0
    reason: str = ""

    @property
    def rate(self) -> Rate:
        """How often it showed."""
        return Rate(self.hits, self.trials)

    def text(self) -> str:
        """Say it in a line: "3.2.0: clean, 0 of 2 (at most 77.6 %)"."""
        text = self.rate.text() if self.trials else self.reason
        more = f"; {self.reason}" if self.trials and self.reason else ""
        return f"{self.airflow}: {self.verdict}, {text}{more}"


class StopRule(msgspec.Struct, frozen=True):
    """When a step is decided.

    `rate`: how often the race shows itself, at least, where it is. Scenarios show theirs
    nearly always; the default is less than that, so that clean takes two runs and not one.
    `sessions`: how many may end without a conclusive run before the Airflow is skipped.
    """

    rate: float = 0.8
    confidence: float = 0.95
    sessions: int = 3


def decide(airflow: str, runner: Runner, rule: StopRule, known: Sequence[TestRecord] = ()) -> Tried:
    """Decide on an Airflow; `known` are the runs that an interrupted bisect left of it."""
    test = Sequential(rule.rate, rule.confidence)
    records: list[TestRecord] = []

    def tried(verdict: Answer, reason: str = "") -> Tried:
        seen = test.seen
        return Tried(airflow, verdict, seen.hits, seen.trials, len(records), reason)

    session, inconclusive = list(known), 0
    while True:
        records += session
        if len(builds := {record.build for record in records}) > 1:
            names = ", ".join(sorted(build or "one not recorded" for build in builds))
            reason = f"its runs are of {len(builds)} builds, {names}, which are not one Airflow"
            return tried("skipped", reason)
        informative = [record for record in session if record.informative]
        decision = test.feed(sum(bool(record.shown) for record in informative), len(informative))
        if decision == "shown":
            return tried("reproduced")
        if decision == "clean" and not _undecided(records):
            return tried("clean")
        if inconclusive >= rule.sessions:
            return tried("skipped", _why(records))
        try:
            session = list(runner(airflow))
        except UserError as error:
            return tried("skipped", error.message)
        learned = any(record.informative for record in session) and decision == "open"
        inconclusive = 0 if learned else inconclusive + 1


def _undecided(records: Sequence[TestRecord]) -> set[str]:
    """Return the tests of which no run could tell."""
    return {record.test for record in records} - {r.test for r in records if r.informative}


def _why(records: Sequence[TestRecord]) -> str:
    """Say, of the runs that could not tell, what most of them were about."""
    inconclusive = [record for record in records if not record.informative]
    if not inconclusive:
        return "no test ended"
    reasons = Counter(
        f"broke {', '.join(sorted(record.broken))}"
        if record.verdict == "invalid"
        else (record.reasons or ["no reason given"])[0]
        for record in inconclusive
    )
    most = reasons.most_common(1)[0][0]
    return f"{len(inconclusive)} of {len(records)} runs could not tell: {most}"
