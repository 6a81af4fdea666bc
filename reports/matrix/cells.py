"""What the runs of one Airflow say to one question: the cells of the matrix."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reports.records import TestName
from reports.statistics import Rate, percent
from reports.trials import Trial

Status = Literal["reproduced", "clean", "unconfirmed", "not applicable"]

_GRAVITY: tuple[Status, ...] = ("reproduced", "unconfirmed", "clean", "not applicable")


@dataclass(frozen=True, order=True)
class Question:
    """A column of the matrix: a scenario, or a flood or fault by its test's name in words."""

    is_scenario: bool
    name: str


@dataclass(frozen=True, order=True)
class Variant:
    """One test of a question, whatever the Airflow: a scenario's are its permutations."""

    question: Question
    permutation: str = ""

    @property
    def name(self) -> str:
        """Say which one it is: "57618 fan-out"."""
        return f"{self.question.name} {self.permutation}".strip()


def variant(test: TestName, scenarios: Collection[str]) -> Variant:
    """Return what a test asks; one without a record has left its name alone."""
    for scenario in sorted(scenarios, key=len, reverse=True):
        if test.parameters.startswith(f"{scenario}-"):
            return Variant(Question(True, scenario), test.parameters.removeprefix(f"{scenario}-"))
    words = test.function.removeprefix("test_").replace("_", " ")
    inside = f" ({test.parameters})" if test.parameters else ""
    return Variant(Question(False, words + inside))


@dataclass(frozen=True)
class Cell:
    """What one Airflow's runs say to one question.

    `rate` counts the runs that can tell: those that showed the known race, of those and the valid
    ones. `unknown` could not tell. `others`: broken promises that are not the race's, by number of
    runs; where a flood ended at one of them, nothing is known of the race. `never_shown`: tests
    that force the race, on a release that is known to have it, and never showed it. `known`:
    whether there is a race that the question is about; a fault is about all promises.
    """

    status: Status
    rate: Rate
    unknown: int = 0
    others: tuple[tuple[str, int], ...] = ()
    never_shown: tuple[str, ...] = ()
    known: bool = True
    affected: bool = False
    by_design: bool = False
    seeds: frozenset[int] = frozenset()
    outcomes: tuple[tuple[str, int, bool], ...] = ()

    def text(self, *, bounds: bool = True) -> str:
        """Say it in one line: "clean: 0 of 20, at most 13.9 %"."""
        parts = [self._rate(bounds)] if self.rate.trials else []
        if broken := sum(number for _, number in self.others):
            parts.append(f"{broken} broke {'another' if self.known else 'a'} promise")
        if self.unknown:
            parts.append(f"{self.unknown} unknown")
        return f"{self.status}: {', '.join(parts)}" if parts else self.status

    def _rate(self, bounds: bool) -> str:
        if not self.known:
            return f"{self.rate.trials} valid"
        seen = f"{self.rate.hits} of {self.rate.trials}"
        if not bounds or self.rate.hits == self.rate.trials:
            return seen
        if self.rate.hits == 0:
            return f"{seen}, at most {percent(self.rate.at_most())}"
        low, high = self.rate.interval()
        return f"{seen}, {percent(low)} to {percent(high)}"


def cell(variants: Mapping[Variant, Sequence[Trial]]) -> Cell:
    """Judge all trials of one Airflow that put the same question.

    Each of its tests is judged for itself, and the gravest counts: a scenario is not clean while
    one of its permutations could not tell.
    """
    parts = [_cell(variant, trials) for variant, trials in sorted(variants.items())]
    others: Counter[str] = Counter()
    for part in parts:
        others.update(dict(part.others))
    return Cell(
        status=min((part.status for part in parts), key=_GRAVITY.index),
        rate=sum((part.rate for part in parts), Rate(0, 0)),
        unknown=sum(part.unknown for part in parts),
        others=tuple(sorted(others.items())),
        never_shown=tuple(name for part in parts for name in part.never_shown),
        known=any(part.known for part in parts),
        affected=any(part.affected for part in parts),
        by_design=any(part.by_design for part in parts),
        seeds=frozenset().union(*(part.seeds for part in parts)),
        outcomes=tuple(outcome for part in parts for outcome in part.outcomes),
    )


def _cell(variant: Variant, trials: Sequence[Trial]) -> Cell:
    """Judge the trials of one test."""
    records = [trial.record for trial in trials if trial.record]
    telling = [record for record in records if record.informative]
    hits = sum(bool(record.shown) for record in telling)
    others = Counter(
        ", ".join(sorted(record.broken))
        for record in records
        if record.verdict == "invalid" and not record.shown
    )
    skipped = sum(trial.skipped for trial in trials if not trial.record)
    known = [record.known for record in records if record.known]
    must = any(race.affected and race.must_show for race in known)
    never_shown = bool(must and telling and not hits)
    status: Status = "clean" if telling and not others and not never_shown else "unconfirmed"
    if hits:
        status = "reproduced"
    elif skipped == len(trials):
        status = "not applicable"
    return Cell(
        status=status,
        rate=Rate(hits, len(telling)),
        unknown=len(trials) - skipped - len(telling) - sum(others.values()),
        others=tuple(others.items()),
        never_shown=(variant.name,) if never_shown else (),
        known=bool(known),
        affected=any(race.affected for race in known),
        by_design=any(race.by_design for race in known),
        seeds=frozenset(record.seed for record in records),
        outcomes=tuple((variant.name, record.seed, bool(record.shown)) for record in telling),
    )
