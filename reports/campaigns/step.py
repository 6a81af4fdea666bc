"""One step of a bisect: is the race in this Airflow? Asked again until that is clear.

One run proves that it is. That it is not takes as many runs as the sequential test wants, each of
which could tell, and at least one of every permutation. What cannot be told after some sessions
is skipped, as `git bisect skip` does.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from common.errors import UserError
from reports.matrix.cells import tells
from reports.records import TestRecord
from reports.statistics import Rate, Sequential

log = logging.getLogger(__name__)

Verdict = Literal["reproduced", "clean", "skipped"]

Runner = Callable[[str], Sequence[TestRecord]]
"""Runs one session more on an Airflow; its tests. Raises UserError where that is not possible."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one Airflow: of `trials` runs that could tell, `hits` showed the race."""

    airflow: str
    verdict: Verdict
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
        told = self.rate.text() if self.trials else self.reason
        more = f"; {self.reason}" if self.trials and self.reason else ""
        return f"{self.airflow}: {self.verdict}, {told}{more}"


class Patience(msgspec.Struct, frozen=True):
    """When a step is decided.

    `rate`: how often the race shows itself, at least, where it is. Gated scenarios show theirs
    nearly always; the default is less than that, so that clean takes two runs and not one.
    `sessions`: how many may end without having told anything before the step is skipped.
    """

    rate: float = 0.8
    confidence: float = 0.95
    sessions: int = 3


def decide(
    airflow: str, runner: Runner, patience: Patience, known: Sequence[TestRecord] = ()
) -> Step:
    """Return the step of an Airflow; `known` are the runs that an interrupted bisect left of it."""
    test = Sequential(patience.rate, patience.confidence)
    records: list[TestRecord] = []
    session, mute = list(known), 0
    while True:
        records += session
        if len(builds := {record.build for record in records}) > 1:
            told = ", ".join(sorted(build or "one not told" for build in builds))
            reason = f"its runs are of {len(builds)} builds, {told}, which are not one Airflow"
            return _step(airflow, "skipped", test.seen, records, reason)
        telling = [record for record in session if tells(record)]
        decision = test.feed(sum(record.shows_known for record in telling), len(telling))
        if decision == "shown":
            return _step(airflow, "reproduced", test.seen, records)
        if decision == "clean" and not _untold(records):
            return _step(airflow, "clean", test.seen, records)
        if mute >= patience.sessions:
            return _step(airflow, "skipped", test.seen, records, _why(records))
        try:
            session = list(runner(airflow))
        except UserError as error:
            return _step(airflow, "skipped", test.seen, records, error.message)
        mute = 0 if any(map(tells, session)) and decision == "open" else mute + 1


def _step(
    airflow: str, verdict: Verdict, seen: Rate, records: Sequence[TestRecord], reason: str = ""
) -> Step:
    return Step(
        airflow=airflow,
        verdict=verdict,
        hits=seen.hits,
        trials=seen.trials,
        runs=len(records),
        reason=reason,
    )


def _untold(records: Sequence[TestRecord]) -> set[str]:
    """Return the tests of which no run could tell."""
    return {record.test for record in records} - {r.test for r in records if tells(r)}


def _why(records: Sequence[TestRecord]) -> str:
    """Say, of the runs that could not tell, what most of them were about."""
    mute = [record for record in records if not tells(record)]
    if not mute:
        return "no test ended"
    reasons = Counter(
        f"broke {', '.join(sorted(record.broken))}"
        if record.verdict == "invalid"
        else (record.reasons or ["no reason told"])[0]
        for record in mute
    )
    return f"{len(mute)} of {len(records)} runs could not tell: {reasons.most_common(1)[0][0]}"
